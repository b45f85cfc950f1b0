//! Command lines and lists of commands that were changed at random: whatever is read ends with an answer.

use super::{
    director::{FewNames, Fixed, run},
    restore::restore,
};

/// How many of each are tried.
const ROUNDS: u64 = 20_000;

/// What they are made of.
const SEEDS: &[&str] = &[
    "-A -t 192.0.2.10:80 -s mh -b mh-fallback,mh-port -p 300 -M 255.255.255.0",
    "-a -t [2001:db8::80]:80 -r [2001:db8::a0a0]:8080 -m -w 65535 -x 10 -y 5",
    "-E -f 4294967295 -6 -s sh -b sh-port -o --pe sip",
    "-a -f 7 -r 10.0.0.22:443 -i -w 5 --tun-type gue --tun-port 6080 --tun-csum",
    "--set 900 120 300",
    "--start-daemon master --mcast-interface eth1 --syncid 7 --mcast-group 224.0.0.81",
    "-Lnc --persistent-conn -- x",
    "-L -t web.example.org:http --stats --exact",
    "ipvsadm -D -u 0x7f.1:domain",
    "# nothing\n\n-C\r\n-Z",
];

/// The same numbers each time.
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: usize) -> usize {
        // Knuth's MMIX; the high half is the good one.
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let high = usize::try_from(self.0 >> 33).unwrap_or_default();
        high % limit.max(1)
    }

    fn text(&mut self) -> String {
        const BITS: &[&str] = &[
            "-",
            "--",
            "=",
            ":",
            "[",
            "]",
            ",",
            " ",
            "\n",
            "\0",
            "é",
            "99999999999999999999",
            "-1",
            "0",
            "#",
            "-t",
            "-r",
            "-p",
            "%",
            "::",
            "١",
        ];
        let mut text: Vec<char> = SEEDS[self.below(SEEDS.len())].chars().collect();
        for _ in 0..=self.below(6) {
            let at = self.below(text.len() + 1);
            match self.below(4) {
                0 if at < text.len() => {
                    text.remove(at);
                }
                1 => text.truncate(at),
                2 => {
                    let other = SEEDS[self.below(SEEDS.len())];
                    let word = other.split(' ').nth(self.below(9)).unwrap_or(" ");
                    text.splice(at..at, word.chars());
                }
                _ => {
                    text.splice(at..at, BITS[self.below(BITS.len())].chars());
                }
            }
        }
        text.into_iter().collect()
    }
}

#[test]
fn no_command_line_is_too_odd() {
    let mut chance = Chance(5);
    for _ in 0..ROUNDS {
        let text = chance.text();
        let words: Vec<&str> = text.split(' ').collect();
        let mut director = Fixed::default();
        let ended = run(&mut director, &words);
        let is_silent = ended.err.is_empty();
        assert!(
            is_silent == (ended.status == 0) || !director.changes().is_empty(),
            "{text:?}"
        );
        if ended.status != 0 {
            assert_eq!(director.changes(), [], "{text:?}");
        }
    }
}

#[test]
fn no_list_is_half_done() {
    let mut chance = Chance(7);
    for _ in 0..ROUNDS {
        let mut text = String::new();
        for _ in 0..=chance.below(3) {
            text += &chance.text();
            text += "\n";
        }
        let mut director = Fixed::default();
        let ended = restore(&mut director, &text);
        let lines = lb_control::ipvsadm::read("ipvsadm", &text, &FewNames);
        let made = director.changes().len();
        match lines {
            Ok(lines) if ended.status == 0 => assert_eq!(made, lines.len(), "{text:?}"),
            Ok(_) => assert_eq!(made, 0, "{text:?}"),
            Err(complaint) => {
                assert_eq!((made, ended.status), (0, complaint.status), "{text:?}");
                assert!(complaint.text.starts_with("line "), "{text:?}");
            }
        }
    }
}
