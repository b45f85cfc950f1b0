//! What a client asks, with the programs that anyone would use: curl and dig.

use std::{
    collections::BTreeMap,
    io::{Read, Write},
    net::{IpAddr, TcpStream},
};

use anyhow::{Context, Result, bail, ensure};

use crate::{dns, host::Host};

/// The outcome of one request.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// The status of the answer; nothing if there was no answer.
    pub status: Option<u16>,
    /// The real server that answered.
    pub server: Option<String>,
    /// How long it took.
    pub seconds: f64,
    /// What curl has to say if it failed.
    pub error: String,
}

impl Answer {
    /// Whether a real server answered well.
    pub fn is_good(&self) -> bool {
        self.status == Some(200) && self.server.is_some()
    }
}

/// One line per request, for [`parse`].
const REPORT: &str = "%{http_code}\t%header{real-server}\t%{time_total}\t%{errormsg}\n";
/// In seconds; what lasts longer has failed.
const PATIENCE: &str = "3";
/// A long transfer has failed when nothing has come for so many seconds.
const STALL: &str = "10";

/// Asks once.
pub fn get(host: &Host, url: &str) -> Result<Answer> {
    get_many(host, url, 1, 1)?
        .pop()
        .context("curl reported nothing")
}

/// Asks `count` times, each in a connection of its own, up to `parallel` at a time.
pub fn get_many(host: &Host, url: &str, count: u32, parallel: u32) -> Result<Vec<Answer>> {
    get_many_with(host, url, count, parallel, &["--max-time", PATIENCE])
}

/// The same with options of curl's, such as `--max-time` and `--interface`.
pub fn get_many_with(
    host: &Host,
    url: &str,
    count: u32,
    parallel: u32,
    options: &[&str],
) -> Result<Vec<Answer>> {
    let (most, address) = (parallel.to_string(), format!("{url}?[1-{count}]"));
    let arguments = [
        "--silent",
        "--no-progress-meter",
        "--parallel",
        "--parallel-immediate",
        "--parallel-max",
        &most,
        "--header",
        "Connection: close",
        "--output",
        "/dev/null",
        "--write-out",
        REPORT,
        "--url",
        // Brackets of IPv6 addresses would be ranges to curl, were they not escaped.
        &escape_host(&address, count),
    ];
    // It fails if any request has failed; each tells on its own line.
    let output = host.output("curl", arguments.iter().chain(options))?;
    let report = String::from_utf8_lossy(&output.stdout);
    let answers = report.lines().map(parse).collect::<Result<Vec<_>>>()?;
    if answers.len() != count as usize {
        let complaint = String::from_utf8_lossy(&output.stderr);
        bail!(
            "curl reported {} of {count} requests: {}",
            answers.len(),
            complaint.trim()
        );
    }
    Ok(answers)
}

/// Downloads and gives the SHA-256 of what came.
pub fn sha256(host: &Host, url: &str) -> Result<String> {
    let pipe = "set -o pipefail; curl --silent --show-error --globoff --connect-timeout \"$1\" \
                --speed-limit 1 --speed-time \"$1\" \"$0\" | sha256sum";
    let sum = host.run("bash", ["-c", pipe, url, STALL])?;
    Ok(sum
        .split_whitespace()
        .next()
        .context("sha256sum printed nothing")?
        .to_owned())
}

/// Uploads to `to` what it downloads from `from`. The real server that took it.
pub fn pass_on(host: &Host, from: &str, to: &str) -> Result<String> {
    let pipe = "set -o pipefail; curl --silent --show-error --globoff --connect-timeout \"$2\" \
                --speed-limit 1 --speed-time \"$2\" \"$0\" | \
                curl --silent --show-error --globoff --connect-timeout \"$2\" \
                --speed-limit 1 --speed-time \"$2\" --fail --upload-file - \
                --output /dev/null --write-out '%header{real-server}' \"$1\"";
    host.run("bash", ["-c", pipe, from, to, STALL])
}

/// Asks on a connection that stays open. The server that answers.
pub fn ask(stream: &mut TcpStream) -> Result<String> {
    stream.write_all(b"GET / HTTP/1.1\r\nHost: lab\r\n\r\n")?;
    let mut answer = String::new();
    let mut part = [0; 4096];
    // The page is the name of the server in a line.
    while answer
        .split_once("\r\n\r\n")
        .is_none_or(|(_, page)| !page.ends_with('\n'))
    {
        let length = stream.read(&mut part)?;
        ensure!(length > 0, "the connection ended after {answer:?}");
        answer.push_str(&String::from_utf8_lossy(&part[..length]));
    }
    let (_, page) = answer.split_once("\r\n\r\n").context("no page")?;
    Ok(page.trim().to_owned())
}

/// Asks a name server who it is.
pub fn dig(host: &Host, server: IpAddr) -> Result<String> {
    let server = format!("@{server}");
    let answer = host.run(
        "dig",
        ["+short", "+time=2", "+tries=1", &server, "TXT", dns::NAME],
    )?;
    Ok(answer.trim().trim_matches('"').to_owned())
}

/// An error that tells of the first failure, if there is any.
pub fn all_good(answers: &[Answer]) -> Result<()> {
    let bad: Vec<_> = answers.iter().filter(|answer| !answer.is_good()).collect();
    let first = bad
        .first()
        .map(|answer| format!("{:?} {}", answer.status, answer.error));
    ensure!(
        bad.is_empty(),
        "{} of {} requests failed, first: {}",
        bad.len(),
        answers.len(),
        first.unwrap_or_default()
    );
    Ok(())
}

/// How many good answers each real server gave.
pub fn shares(answers: &[Answer]) -> BTreeMap<String, u32> {
    let mut shares = BTreeMap::new();
    for server in answers
        .iter()
        .filter(|answer| answer.is_good())
        .flat_map(|a| &a.server)
    {
        *shares.entry(server.clone()).or_default() += 1;
    }
    shares
}

/// Keeps curl from taking the brackets of an IPv6 address for a range, as it would only at the
/// range that we add.
fn escape_host(address: &str, count: u32) -> String {
    let range = format!("[1-{count}]");
    match address.strip_suffix(&range) {
        Some(rest) => rest.replace('[', "\\[").replace(']', "\\]") + &range,
        None => address.to_owned(),
    }
}

fn parse(line: &str) -> Result<Answer> {
    let mut fields = line.splitn(4, '\t');
    let mut next = || {
        fields
            .next()
            .with_context(|| format!("curl reported “{line}”"))
    };
    let status = next()?.parse().ok().filter(|status| *status != 0);
    let server = Some(next()?.to_owned()).filter(|server| !server.is_empty());
    let seconds = next()?
        .parse()
        .with_context(|| format!("curl reported “{line}”"))?;
    Ok(Answer {
        status,
        server,
        seconds,
        error: next()?.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_reports_of_curl() {
        let good = parse("200\trs1\t0.001\t").unwrap();
        assert!(good.is_good());
        assert_eq!(good.server.as_deref(), Some("rs1"));
        let bad = parse("000\t\t0.5\tFailed to connect").unwrap();
        assert!(!bad.is_good());
        assert_eq!(bad.error, "Failed to connect");
    }

    #[test]
    fn only_our_range_is_a_range() {
        assert_eq!(
            escape_host("http://[fd00::1]/?[1-7]", 7),
            "http://\\[fd00::1\\]/?[1-7]"
        );
    }
}
