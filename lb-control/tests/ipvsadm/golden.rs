//! Listings and messages as ipvsadm 1.31 prints them.

use super::{
    director::{Ended, Fixed, run},
    fixture,
};

const LISTINGS: &str = include_str!("../data/ipvsadm-listings.txt");
const ERRORS: &str = include_str!("../data/ipvsadm-errors.txt");

/// Commands, what they print, and how they end.
fn examples(text: &str) -> Vec<(&str, String, u8)> {
    let mut examples = Vec::new();
    let mut printed = String::new();
    let mut command = "";
    for line in text.lines() {
        if let Some(line) = line.strip_prefix("$ ipvsadm ") {
            command = line;
            printed.clear();
        } else if let Some(status) = line
            .strip_prefix("[exit ")
            .and_then(|line| line.strip_suffix(']'))
        {
            examples.push((command, printed.clone(), status.parse().unwrap()));
        } else {
            printed += &format!("{line}\n");
        }
    }
    examples
}

#[test]
fn listings_are_those_of_ipvsadm_to_the_byte() {
    let examples = examples(LISTINGS);
    assert!(examples.len() >= 15, "{} listings", examples.len());
    for (command, printed, status) in examples {
        let mut director = Fixed::with(fixture::table());
        director.connections = fixture::connections();
        let words: Vec<&str> = command.split_ascii_whitespace().collect();
        let ended = run(&mut director, &words);
        // No connection is told apart by SIP: see `connections.rs` for that line.
        let printed = match command {
            "-Lnc --persistent-conn" => printed.replace(
                "10.0.0.11:5060   sip                call-1234@host",
                "10.0.0.11:5060",
            ),
            // Of thresholds and sync daemons ipvsadm writes nothing: see `restore.rs`.
            "-S -n" => {
                let daemons = ["master", "backup"].map(|role| {
                    format!("--start-daemon {role} --mcast-interface eth1 --syncid 51\n")
                });
                let printed = printed.replace("-m -w 100\n", "-m -w 100 -x 1000 -y 750\n");
                daemons.concat() + &printed
            }
            _ => printed,
        };
        assert_eq!(ended.out, printed, "{command}");
        assert_eq!(
            (ended.err.as_str(), ended.status),
            ("", status),
            "{command}"
        );
    }
}

#[test]
fn messages_are_those_of_ipvsadm() {
    let examples = examples(ERRORS);
    assert!(examples.len() >= 18, "{} messages", examples.len());
    for (command, err, status) in examples {
        let mut director = Fixed::with(fixture::table());
        let words: Vec<&str> = command.split_ascii_whitespace().collect();
        let ended = run(&mut director, &words);
        let out = String::new();
        // It was called by another name.
        let err = err.replace("./ipvsadm", "ipvsadm");
        assert_eq!(ended, Ended { out, err, status }, "{command}");
        assert_eq!(director.changes(), [], "{command}");
    }
}
