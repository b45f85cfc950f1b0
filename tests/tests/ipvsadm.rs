//! The recorded listings and complaints of ipvsadm 1.31, by `lb` in its place, from a running daemon.

use std::{ffi::OsString, net::TcpStream};

use anyhow::{Context, Result, ensure};
use lb_tests::{Family, Method, Plan, Service, Site, Stage, client, on_stage};

/// What ipvsadm listed of one table, command by command. Connections and counters are those of the record.
const LISTINGS: &str = include_str!("../../lb-control/tests/data/ipvsadm-listings.txt");
/// What it complained of.
const COMPLAINTS: &str = include_str!("../../lb-control/tests/data/ipvsadm-errors.txt");

/// What the record has daemons of, as ours saves it.
const DAEMONS: [&str; 2] = [
    "--start-daemon master --mcast-interface eth1 --syncid 51\n",
    "--start-daemon backup --mcast-interface eth1 --syncid 51\n",
];

/// A recorded command, what it printed, and its exit status.
struct Recorded {
    words: String,
    printed: String,
    status: i32,
}

#[test]
fn a_table_is_restored_and_listed_as_by_ipvsadm() {
    on_stage(|lab, lb| {
        let stage = stage(lab, lb)?;
        // One of the servers is the director itself.
        let router = stage.network.router();
        router.ip("address add 10.0.0.13/32 dev lo")?;
        let saved = recorded(LISTINGS)
            .into_iter()
            .find(|recorded| recorded.words == "-S -n")
            .context("nothing is saved in the record")?;
        router.write("/run/saved", &saved.printed)?;
        shell(
            &stage,
            "ln -s \"$0\" /run/ipvsadm-restore; /run/ipvsadm-restore < /run/saved",
        )?;
        for daemon in DAEMONS {
            let (code, text) = typed(&stage, daemon.trim_end())?;
            ensure!((code, text.as_str()) == (0, ""), "{daemon}: {code}: {text}");
        }
        // What ipvsadm does not save.
        let limits = "-e -t 192.0.2.10:80 -r 10.0.0.12:80 -m -w 100 -x 1000 -y 750";
        let (code, text) = typed(&stage, limits)?;
        ensure!((code, text.as_str()) == (0, ""), "{limits}: {code}: {text}");
        stage
            .director
            .await_status("the local server is found", |_| {
                let listing = typed(&stage, "-Ln");
                listing.is_ok_and(|(_, text)| text.contains("Local"))
            })?;
        let mut seen = 0;
        for Recorded {
            words,
            printed,
            status,
        } in recorded(LISTINGS)
        {
            let Some(expected) = at_rest(&words, &printed) else {
                continue;
            };
            let (code, text) = typed(&stage, &words)?;
            ensure!(
                (code, text.as_str()) == (status, expected.as_str()),
                "ipvsadm {words}\n{text}\ninstead of\n{expected}"
            );
            seen += 1;
        }
        ensure!(seen >= 15, "{seen} listings");
        Ok(())
    });
}

/// The rows of connections, which a record cannot foresee: what is in a column is known, and how wide it is.
#[test]
fn connections_are_listed_as_by_ipvsadm() {
    on_stage(|lab, lb| {
        let plan = Plan {
            servers: 1,
            ..Plan::new(Method::Nat)
        };
        let site = Site::new(Method::Nat).with(Service {
            directives: vec!["persistent = 300".to_owned()],
            ..Service::web(Family::V4, 1)
        });
        let stage = Stage::set(lab, lb, plan, &site)?;
        stage.await_servers()?;
        shell(&stage, "ln -s \"$0\" /run/ipvsadm")?;
        let vip = Family::V4.vip();
        let client = &stage.network.client;
        let mut stream = client.inside(|| Ok(TcpStream::connect((vip, 80))?))?;
        client::ask(&mut stream)?;
        let from = stream.local_addr()?;
        let server = format!("{}:80", Family::V4.server(0));
        let virtual_server = format!("{vip}:80");
        let (code, text) = typed(&stage, "-Lnc")?;
        ensure!(code == 0, "{text}");
        let head = "IPVS connection entries\npro expire state       source             virtual            destination\n";
        let rows = text.strip_prefix(head).context("another head")?;
        let row = |protocol, state: &str, source: String| {
            // How long it will be remembered is anything.
            format!("{protocol:<3} {state:<11} {source:<18} {virtual_server:<18} {server}")
        };
        let mut wanted = vec![
            row("TCP", "ESTABLISHED", from.to_string()),
            // The client stays with its server.
            row("TCP", "NONE", format!("{}:0", from.ip())),
        ];
        let mut found = Vec::new();
        for line in rows.lines() {
            let time = line.get(4..9).unwrap_or_default();
            let digits = time.bytes().filter(u8::is_ascii_digit).count();
            ensure!(digits == 4 && time.as_bytes()[2] == b':', "{line}");
            found.push(format!("{}{}", &line[..4], &line[11..]));
        }
        found.sort();
        wanted.sort();
        ensure!(found == wanted, "{text}\ninstead of {wanted:#?}");
        Ok(())
    });
}

#[test]
fn complaints_are_those_of_ipvsadm() {
    on_stage(|lab, lb| {
        let stage = stage(lab, lb)?;
        let table = recorded(COMPLAINTS);
        ensure!(table.len() > 15, "{} complaints", table.len());
        for Recorded {
            words,
            printed,
            status,
        } in table
        {
            let (code, text) = typed(&stage, &words)?;
            ensure!(
                (code, &text) == (status, &printed),
                "ipvsadm {words}: {code}: {text}"
            );
        }
        // Those of the kernel: what is typed, and what it says.
        for (words, status, complaint) in [
            ("-A -t 192.0.2.1:80", 0, ""),
            ("-A -t 192.0.2.1:80", 255, "Service already exists\n"),
            ("-D -t 192.0.2.2:80", 255, "No such service\n"),
            ("-E -t 192.0.2.2:80 -s rr", 255, "No such service\n"),
            (
                "-a -t 192.0.2.2:80 -r 10.0.0.1",
                255,
                "Service not defined\n",
            ),
            ("-a -t 192.0.2.1:80 -r 10.0.0.1", 0, ""),
            (
                "-a -t 192.0.2.1:80 -r 10.0.0.1",
                255,
                "Destination already exists\n",
            ),
            (
                "-e -t 192.0.2.1:80 -r 10.0.0.9",
                255,
                "No such destination\n",
            ),
            (
                "-d -t 192.0.2.1:80 -r 10.0.0.9",
                255,
                "No such destination\n",
            ),
            ("-d -t 192.0.2.1:80 -r 10.0.0.1", 0, ""),
            ("-D -t 192.0.2.1:80", 0, ""),
            ("-L -n -t 192.0.2.1:80", 1, "No such process\n"),
            ("--stop-daemon master", 255, "No daemon is running\n"),
            (
                "--start-daemon master --mcast-interface eth9",
                255,
                "No such device\n",
            ),
            ("--start-daemon master --mcast-interface eth0", 0, ""),
            (
                "--start-daemon master --mcast-interface eth1",
                255,
                "Daemon has already run\n",
            ),
            (
                "-L --daemon",
                0,
                "master sync daemon (mcast=eth0, syncid=0, maxlen=1472, group=224.0.0.81, port=8848, ttl=1)\n",
            ),
            ("--stop-daemon backup", 255, "No daemon is running\n"),
            ("--stop-daemon master", 0, ""),
            ("-L --daemon", 0, ""),
        ] {
            let (code, text) = typed(&stage, words)?;
            ensure!(
                (code, text.as_str()) == (status, complaint),
                "ipvsadm {words}: {code}: {text}"
            );
        }
        Ok(())
    });
}

fn stage(lab: &lb_tests::Lab, lb: &std::path::Path) -> Result<Stage> {
    let plan = Plan {
        servers: 1,
        ..Plan::new(Method::Nat)
    };
    let stage = Stage::set(lab, lb, plan, &Site::new(Method::Nat))?;
    shell(&stage, "ln -s \"$0\" /run/ipvsadm")?;
    Ok(stage)
}

/// What a listing looks like while there are no connections and nothing was counted; nothing if it cannot be
/// had in that way.
fn at_rest(words: &str, printed: &str) -> Option<String> {
    // How far the terms of a server go in a row, in characters; behind it stand numbers.
    let (terms, numbers): (usize, fn() -> String) = match words {
        "-Ln" | "-Ln -t 192.0.2.10:80" | "-Ln -f 9 -6" => (49, || format!("{:<10} {:<10}", 0, 0)),
        "-Ln --thresholds" => (56, || format!("{:<10} {:<10}", 0, 0)),
        "-Ln --tun-info" => (63, || format!("{:<10} {:<10}", 0, 0)),
        "-Ln --persistent-conn" => (44, || format!("{:<11} {:<10} {:<10}", 0, 0, 0)),
        "-Ln --stats" | "-Ln --stats --exact" | "-Ln --rate" => {
            (33, || format!("{:>9}{:>9}{:>9}{:>9}{:>9}", 0, 0, 0, 0, 0))
        }
        "-S -n" => {
            let limits = "-r 10.0.0.12:80 -m -w 100";
            let printed = printed.replace(limits, &format!("{limits} -x 1000 -y 750"));
            return Some(DAEMONS.concat() + &printed);
        }
        "-L --timeout" | "-v" => return Some(printed.to_owned()),
        // There are no connections.
        "-Lnc" | "-Lnc --persistent-conn" => {
            let head: Vec<_> = printed.lines().take(2).collect();
            return Some(head.join("\n") + "\n");
        }
        "-L --daemon" => return Some(printed.to_owned()),
        _ => return None,
    };
    let counts_services = terms == 33;
    let row = |(place, line): (usize, &str)| {
        let is_row = line.starts_with("  -> ") || counts_services;
        match line.get(..terms).filter(|_| is_row && place > 2) {
            Some(terms) => format!("{terms}{}\n", numbers()),
            None => format!("{line}\n"),
        }
    };
    Some(printed.lines().enumerate().map(row).collect())
}

/// What stands in a record: `$ ipvsadm WORDS`, what it printed, `[exit N]`.
fn recorded(text: &str) -> Vec<Recorded> {
    let mut found = Vec::new();
    for block in text.split("$ ipvsadm ").skip(1) {
        let (words, rest) = block.split_once('\n').unwrap_or((block, ""));
        let (printed, status) = rest.split_once("[exit ").unwrap_or((rest, "0]"));
        let digits = status.split(']').next().unwrap_or_default();
        found.push(Recorded {
            words: words.to_owned(),
            printed: printed.to_owned(),
            status: digits.parse().unwrap_or(-1),
        });
    }
    found
}

/// Types `./ipvsadm WORDS` on the router. The exit status, and what is printed.
fn typed(stage: &Stage, words: &str) -> Result<(i32, String)> {
    let script = format!("cd /run && ./ipvsadm {words} 2>&1");
    let output = stage.network.router().output("sh", ["-c", &script])?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok((output.status.code().unwrap_or(-1), text))
}

/// Runs a script on the router, to which `lb` is `$0`.
fn shell(stage: &Stage, script: &str) -> Result<()> {
    let program = stage.director.program().as_os_str().to_owned();
    let words: [OsString; 3] = ["-c".into(), script.into(), program];
    stage.network.router().run("sh", words).map(drop)
}
