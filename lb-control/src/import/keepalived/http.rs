//! `HTTP_GET`: a request to be sent, and what its answer has to look like.

use regex::bytes::RegexBuilder;

use super::{
    checker::Probe,
    known::{self, Within},
    tree::Node,
};
use crate::import::report::Report;

/// What a checker asks for.
#[derive(Debug, Default)]
pub(super) struct Http<'a> {
    urls: Vec<&'a Node>,
    host: Option<&'a str>,
    version: Option<&'a str>,
}

/// What is asked for, and what has to come back.
struct Page<'a> {
    path: &'a str,
    host: Option<&'a str>,
    codes: Vec<(u16, u16)>,
    regex: Option<&'a Node>,
}

impl<'a> Http<'a> {
    /// With the `virtualhost` of the server or the service.
    pub(super) fn new(host: Option<&'a str>) -> Self {
        Self {
            host,
            ..Self::default()
        }
    }

    /// Takes a directive of the checker, if it is one of HTTP.
    pub(super) fn take(&mut self, node: &'a Node) -> bool {
        match node.name() {
            "url" => self.urls.push(node),
            "virtualhost" => self.host = Some(node.value()),
            "http_protocol" => self.version = Some(node.value()),
            _ => return false,
        }
        true
    }

    /// The check that comes nearest.
    pub(super) fn probe(self, report: &mut Report) -> Probe {
        let page = self.page(report);
        if let Some(node) = page.regex {
            let why = format!(
                "`{}`: only the first 4096 bytes of an answer are searched",
                node.written()
            );
            report.left_out(&node.place, why);
        }
        let regex = page.regex.map(Node::value);
        self.request(page.path, &page.codes, page.host, regex)
    }

    /// The same over TLS. keepalived does not look at certificates.
    pub(super) fn secure_probe(self, report: &mut Report) -> Probe {
        let page = self.page(report);
        let range = |(first, last): &(u16, u16)| match first == last {
            true => first.to_string(),
            false => format!("{first}-{last}"),
        };
        let codes: Vec<_> = page.codes.iter().map(range).collect();
        let mut settings = vec![("check", "https".to_owned())];
        let is_said = |path: &&str| *path != "/";
        settings.extend(
            Some(page.path)
                .filter(is_said)
                .map(|path| ("check_path", path.to_owned())),
        );
        settings.extend(page.host.map(|host| ("check_host", host.to_owned())));
        settings.push(("check_status", codes.join(",")));
        settings.extend(
            page.regex
                .map(|regex| ("check_body", regex.value().to_owned())),
        );
        settings.push(("check_verify", "0".to_owned()));
        Probe::Kind(settings)
    }

    /// What is asked for, and what has to come back.
    fn page(&self, report: &mut Report) -> Page<'a> {
        let Some((first, others)) = self.urls.split_first() else {
            return Page {
                path: "/",
                host: self.host,
                codes: vec![(200, 299)],
                regex: None,
            };
        };
        for other in others {
            let why = "a second `url`: one request is made";
            report.left_out(&other.place, why);
        }
        let mut path = "/";
        let mut host = self.host;
        let mut codes = Vec::new();
        let mut regex = None;
        let mut is_plain = true;
        for node in first.inside() {
            match node.name() {
                "path" => path = node.value(),
                "virtualhost" => host = Some(node.value()),
                "status_code" => codes.extend(status_codes(node, report)),
                "regex" => regex = Some(node),
                "digest" => {
                    let why = "`digest`: what a page says is not hashed; a regular expression in `expect` could \
                               look for a part of it";
                    report.left_out(&node.place, why);
                }
                _ => {
                    is_plain &= !node.name().starts_with("regex_");
                    known::tell(Within::Server, node, report);
                }
            }
        }
        if path.is_empty() || path.contains(|c: char| c.is_whitespace() || c.is_control()) {
            let why = format!("the path `{path}` cannot stand in a request; `/` is asked for");
            report.left_out(&first.place, why);
            path = "/";
        }
        if codes.is_empty() {
            codes.push((200, 299));
        }
        let regex = regex.and_then(|node| {
            let usable = is_plain && compiles(node.value());
            if !usable {
                let why = format!(
                    "`{}`: no regular expression that can be carried over",
                    node.written()
                );
                report.left_out(&node.place, why);
            }
            usable.then_some(node)
        });
        Page {
            path,
            host,
            codes,
            regex,
        }
    }

    fn request(
        &self,
        path: &str,
        codes: &[(u16, u16)],
        host: Option<&str>,
        regex: Option<&str>,
    ) -> Probe {
        let (version, close) = match self.version {
            Some("1.1") => ("1.1", "Connection: close\r\n"),
            Some("1.0C") => ("1.0", "Connection: close\r\n"),
            Some(_) | None => ("1.0", ""),
        };
        let host = host.filter(|host| !host.contains(char::is_control));
        let host = host.map_or_else(String::new, |host| format!("Host: {host}\r\n"));
        let mut expect = format!(r"^HTTP/1\.[01] ({})", patterns(codes).join("|"));
        if let Some(regex) = regex {
            expect.push_str(&format!("[^0-9].*({regex})"));
        }
        Probe::Talk {
            send: Some(format!("GET {path} HTTP/{version}\r\n{host}{close}\r\n")),
            expect: Some(expect),
            is_regex: true,
        }
    }
}

/// As `expect` will be read.
fn compiles(regex: &str) -> bool {
    let built = RegexBuilder::new(regex)
        .unicode(false)
        .dot_matches_new_line(true)
        .build();
    built.is_ok()
}

/// `200 204 300-399`.
fn status_codes(node: &Node, report: &mut Report) -> Vec<(u16, u16)> {
    let mut codes = Vec::new();
    for word in node.values() {
        let (first, last) = word.split_once('-').unwrap_or((word, word));
        match (first.parse(), last.parse()) {
            (Ok(first @ 100..=999), Ok(last @ 100..=999)) if first <= last => {
                codes.push((first, last));
            }
            _ => report.left_out(&node.place, format!("`{word}` is no status of HTTP")),
        }
    }
    codes
}

/// Regular expressions for numbers of three digits.
fn patterns(codes: &[(u16, u16)]) -> Vec<String> {
    let mut patterns = Vec::new();
    for &(first, last) in codes {
        for hundred in first / 100..=last / 100 {
            let (from, to) = (first.max(hundred * 100), last.min(hundred * 100 + 99));
            if to - from == 99 {
                patterns.push(format!("{hundred}[0-9][0-9]"));
                continue;
            }
            for ten in from / 10..=to / 10 {
                let (from, to) = (from.max(ten * 10), to.min(ten * 10 + 9));
                patterns.push(match to - from {
                    0 => from.to_string(),
                    _ => format!("{ten}[{}-{}]", from % 10, to % 10),
                });
            }
        }
    }
    patterns
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_fit_the_codes_and_no_others() {
        let table: [&[(u16, u16)]; 6] = [
            &[(200, 299)],
            &[(200, 200), (301, 302)],
            &[(199, 305)],
            &[(100, 999)],
            &[(208, 212)],
            &[(250, 260), (259, 271)],
        ];
        for codes in table {
            let regex = format!("^({})$", patterns(codes).join("|"));
            let regex = regex::Regex::new(&regex).unwrap();
            for code in 100..1000 {
                let wanted = codes
                    .iter()
                    .any(|(first, last)| (*first..=*last).contains(&code));
                assert_eq!(
                    regex.is_match(&code.to_string()),
                    wanted,
                    "{code} of {codes:?}"
                );
            }
        }
    }
}
