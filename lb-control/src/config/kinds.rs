//! What `check = …` and the directives that begin with `check_` ask for.

use std::path::PathBuf;

use super::{
    diagnostic::{Diagnostic, Diagnostics},
    directives::{RECORDS, SERVICES, ServiceKey},
    probe::{self, written},
    settings::{OwnCheckSettings, ServiceSettings},
};
use crate::model::{Check, Expect, Greeting, Grpc, Http, Question, Tls};

/// The numbers of [`RECORDS`].
const RECORD_NUMBERS: [u16; 10] = [1, 28, 5, 15, 2, 12, 6, 33, 16, 255];

/// Which directives have a meaning for which kinds; none stands for all.
const USERS: &[(ServiceKey, &[&str])] = &[
    (ServiceKey::CheckMethod, &["http", "https", "h2c", "h2"]),
    (ServiceKey::CheckPath, &["http", "https", "h2c", "h2"]),
    (ServiceKey::CheckStatus, &["http", "https", "h2c", "h2"]),
    (ServiceKey::CheckBody, &["http", "https", "h2c", "h2"]),
    (
        ServiceKey::CheckHost,
        &["tls", "http", "https", "h2c", "h2", "grpc", "grpcs", "smtp"],
    ),
    (ServiceKey::CheckSni, &["tls", "https", "h2", "grpcs"]),
    (ServiceKey::CheckVerify, &["tls", "https", "h2", "grpcs"]),
    (ServiceKey::CheckCa, &["tls", "https", "h2", "grpcs"]),
    (ServiceKey::CheckExpiry, &["tls", "https", "h2", "grpcs"]),
    (ServiceKey::CheckName, &["dns", "grpc", "grpcs"]),
    (ServiceKey::CheckType, &["dns"]),
    (ServiceKey::CheckRcode, &["dns"]),
    (ServiceKey::CheckAnswer, &["dns"]),
    (ServiceKey::CheckUser, &["mysql", "postgresql"]),
    (ServiceKey::Send, &["tcp", "udp", "tls"]),
    (ServiceKey::Expect, &["tcp", "udp", "tls"]),
    (ServiceKey::UseRegex, &["tcp", "udp", "tls"]),
    (ServiceKey::SendProgram, &[]),
];

/// What a service that says `check` asks for.
pub(super) fn check(
    kind: &str,
    settings: &ServiceSettings<'_>,
    expect: Option<Expect>,
    diagnostics: &mut Diagnostics,
) -> Check {
    let mut maker = Maker {
        settings,
        check: &settings.ours.check,
        diagnostics,
    };
    maker.tell_unused(kind);
    let send = || {
        let text = written(settings.send.as_ref());
        text.map(|text| probe::unescape(text).into_bytes())
    };
    match kind {
        "tls" => Check::Tls {
            tls: maker.tls(),
            send: send(),
            expect,
        },
        "http" | "https" | "h2c" | "h2" => maker.http(kind),
        "grpc" | "grpcs" => Check::Grpc(Grpc {
            tls: (kind == "grpcs").then(|| maker.tls()),
            host: maker.host(),
            service: maker.check.name.clone(),
        }),
        "dns" => maker.dns(),
        "icmp" => Check::Icmp,
        "smtp" => Check::Greeting(Greeting::Smtp { name: maker.host() }),
        "mysql" => Check::Greeting(Greeting::MySql { user: maker.user() }),
        "postgresql" => Check::Greeting(Greeting::PostgreSql { user: maker.user() }),
        "redis" => Check::Greeting(Greeting::Redis),
        // `tcp` and `udp`, which are the protocol; see `Checked`.
        _ => Check::Talk {
            send: send(),
            expect,
        },
    }
}

struct Maker<'a, 'd> {
    settings: &'a ServiceSettings<'d>,
    check: &'a OwnCheckSettings,
    diagnostics: &'a mut Diagnostics,
}

impl Maker<'_, '_> {
    fn tls(&mut self) -> Tls {
        let authorities = self.check.ca.as_ref().map(PathBuf::from);
        if authorities.as_ref().is_some_and(|path| path.is_relative()) {
            self.error(ServiceKey::CheckCa, "not a path from the root", "/etc/…");
        }
        if authorities.is_some() && !self.check.verify {
            let message = "`check_ca` is ignored: `check_verify = 0` takes every certificate";
            self.warn(ServiceKey::CheckCa, message, "remove one of them");
        }
        let name = self.check.sni.clone();
        let name = name.or_else(|| self.host().map(|host| without_port(&host).to_owned()));
        let is_name =
            |name: &str| tokio_rustls::rustls::pki_types::ServerName::try_from(name).is_ok();
        if name.as_deref().is_some_and(|name| !is_name(name)) {
            let key = match self.check.sni {
                Some(_) => ServiceKey::CheckSni,
                None => ServiceKey::CheckHost,
            };
            self.error(
                key,
                "no certificate could be for this",
                "a host name or an address",
            );
        }
        Tls {
            name,
            verify: self.check.verify,
            authorities,
            warn_days: self.number(ServiceKey::CheckExpiry, self.check.expiry, 0, 36_500),
        }
    }

    fn http(&mut self, kind: &str) -> Check {
        let path = &self.check.path;
        if !path.starts_with('/') || !path.bytes().all(|byte| byte.is_ascii_graphic()) {
            let help = "it begins with `/`; blanks and other bytes as %20";
            self.error(ServiceKey::CheckPath, "no path of a page", help);
        }
        let is_head = self.check.method == "HEAD";
        let body = self.check.body.as_deref().and_then(|text| {
            probe::expect(text, true)
                .map_err(|reason| {
                    let message = format!("`check_body` is not a regular expression: {reason}");
                    self.error(ServiceKey::CheckBody, &message, "e.g. \"^OK\"");
                })
                .ok()
        });
        if is_head && body.is_some() {
            let message = "`check_body` has nothing to look at: HEAD asks for no body";
            self.error(ServiceKey::CheckBody, message, "`check_method = GET`");
        }
        Check::Http(Http {
            is_two: matches!(kind, "h2c" | "h2"),
            tls: matches!(kind, "https" | "h2").then(|| self.tls()),
            is_head,
            path: path.clone(),
            host: self.host(),
            status: self.status(),
            body,
        })
    }

    fn dns(&mut self) -> Check {
        let name = self.check.name.trim_end_matches('.');
        let fits = |label: &str| !label.is_empty() && label.len() < 64;
        if !name.is_empty() && (name.len() > 253 || !name.split('.').all(fits)) {
            self.error(
                ServiceKey::CheckName,
                "no name of DNS",
                "like www.example.com",
            );
        }
        let place = RECORDS.iter().position(|name| *name == self.check.record);
        let kind = place.and_then(|place| RECORD_NUMBERS.get(place));
        Check::Dns(Question {
            name: name.to_owned(),
            kind: kind.copied().unwrap_or_default(),
            rcode: match self.check.rcode {
                "NOERROR" => Some(0),
                "NXDOMAIN" => Some(3),
                "REFUSED" => Some(5),
                _ => None,
            },
            answer: self.check.answer.clone(),
        })
    }

    fn host(&mut self) -> Option<String> {
        let host = self.check.host.clone()?;
        if !host
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && byte != b'/')
        {
            let help = "a host name or an address, perhaps with `:` and a port";
            self.error(ServiceKey::CheckHost, "no host could be called so", help);
        }
        Some(host)
    }

    fn user(&mut self) -> String {
        let user = self.check.user.clone();
        if user.is_empty() || user.len() > 32 || user.contains(char::is_control) {
            self.error(
                ServiceKey::CheckUser,
                "no name of a user",
                "1 to 32 characters",
            );
        }
        user
    }

    /// `200`, `200-299,404`.
    fn status(&mut self) -> Vec<(u16, u16)> {
        let code = |text: &str| {
            let code = text.trim().parse::<u16>().ok();
            code.filter(|code| (100..=999).contains(code))
        };
        let range = |part: &str| {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let range = (code(first)?, code(last)?);
            (range.0 <= range.1).then_some(range)
        };
        let ranges: Option<Vec<_>> = self.check.status.split(',').map(range).collect();
        ranges.unwrap_or_else(|| {
            let help = "like 200, or 200-299,404";
            self.error(ServiceKey::CheckStatus, "these are no status codes", help);
            Vec::new()
        })
    }

    fn number(&mut self, key: ServiceKey, number: i32, least: u32, most: u32) -> u32 {
        number_of(self.settings, key, number, (least, most), self.diagnostics)
    }

    /// Tells of directives that this kind of check does not look at.
    fn tell_unused(&mut self, kind: &str) {
        for (key, kinds) in USERS {
            if !self.settings.block.says(*key) || kinds.contains(&kind) {
                continue;
            }
            let name = name(*key);
            let message = format!("`{name}` is ignored: `check = {kind}` does not look at it");
            self.warn(*key, &message, "remove one of them");
        }
    }

    fn error(&mut self, key: ServiceKey, message: &str, help: &str) {
        let span = self.settings.block.place(key);
        self.diagnostics.error(span, message, help);
    }

    fn warn(&mut self, key: ServiceKey, message: &str, help: &str) {
        let span = self.settings.block.place(key);
        self.diagnostics
            .push(Diagnostic::warning(span, message).help(help));
    }
}

/// Tells of directives that have a meaning only with a `check`.
pub(super) fn tell_without_kind(settings: &ServiceSettings<'_>, diagnostics: &mut Diagnostics) {
    let of_all = [
        ServiceKey::Send,
        ServiceKey::Expect,
        ServiceKey::UseRegex,
        ServiceKey::SendProgram,
    ];
    for (key, _) in USERS {
        if of_all.contains(key) || !settings.block.says(*key) {
            continue;
        }
        let message = format!("`{}` has no effect without `check`", name(*key));
        let span = settings.block.place(*key);
        diagnostics.push(Diagnostic::warning(span, message).help("e.g. `check = https`"));
    }
}

fn name(key: ServiceKey) -> &'static str {
    let entry = SERVICES.iter().find(|entry| entry.key == key);
    entry.map_or("", |entry| entry.name)
}

/// A number within its bounds, else it is told.
pub(super) fn number_of(
    settings: &ServiceSettings<'_>,
    key: ServiceKey,
    number: i32,
    (least, most): (u32, u32),
    diagnostics: &mut Diagnostics,
) -> u32 {
    let found = u32::try_from(number).ok();
    found
        .filter(|number| (least..=most).contains(number))
        .unwrap_or_else(|| {
            let span = settings.block.place(key);
            let message = format!("{number} is out of range");
            diagnostics.error(span, message, &format!("{least} to {most}"));
            least
        })
}

/// A host without the port behind it.
fn without_port(host: &str) -> &str {
    if let Some(rest) = host.strip_prefix('[') {
        return rest.split(']').next().unwrap_or(rest);
    }
    match host.split_once(':') {
        Some((name, port)) if !port.contains(':') => name,
        Some(_) | None => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_lose_their_ports() {
        let table = [
            ("a.example", "a.example"),
            ("a.example:8443", "a.example"),
            ("192.0.2.1:80", "192.0.2.1"),
            ("2001:db8::1", "2001:db8::1"),
            ("[2001:db8::1]:80", "2001:db8::1"),
        ];
        for (written, meant) in table {
            assert_eq!(without_port(written), meant);
        }
    }

    #[test]
    fn each_type_of_record_has_a_number() {
        assert_eq!(RECORDS.len(), RECORD_NUMBERS.len());
    }
}
