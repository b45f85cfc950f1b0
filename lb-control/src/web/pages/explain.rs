//! What would become of a packet: somebody describes one, and the daemon has the program try it.

use std::{
    fmt::Display,
    net::{IpAddr, SocketAddr},
    str::FromStr,
};

use axum::{response::Response, routing::get};
use maud::{Markup, html};
use serde::Deserialize;

use super::{
    super::{
        form::{Asked, Field, encoded},
        frame::Area,
        problem::sentence,
        router::Page,
        visit::Visit,
        words,
    },
    control::service_path,
    drops::tabs,
    routing::row_id,
};
use crate::{
    control::client,
    explain::{
        explainer::Wanted,
        story::{Line, Story},
        tuple::{Transport, Unfit},
    },
    model::{Protocol, ServiceAddress, ServiceId},
    status::{StatusReport, columns::Tone},
};

/// Its path.
const PATH: &str = "/explain";

/// Where packets come from unless somebody says otherwise: addresses that are nobody's (RFC 5737, RFC 3849).
const SOMEBODY: [&str; 2] = ["198.51.100.7", "2001:db8::7"];

/// And from which port.
const SOME_PORT: &str = "40000";

pub(in crate::web) fn pages() -> Vec<Page> {
    vec![Page::new(PATH, get(show))]
}

/// The page with a packet for a service.
pub(super) fn path_for(service: ServiceId) -> String {
    format!("{PATH}?service={}", encoded(&service.to_string()))
}

/// A packet as it is typed, or a service that one is to be for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
struct Typed {
    service: String,
    protocol: String,
    from: String,
    from_port: String,
    to: String,
    to_port: String,
    flags: String,
    interface: String,
    /// Somebody wants to know.
    #[serde(rename = "do")]
    what: String,
}

/// What is wrong with what was typed, by field.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Wrong(Vec<(&'static str, String)>);

impl Wrong {
    fn of(&self, field: &str) -> Option<&str> {
        let found = self.0.iter().find(|(name, _)| *name == field);
        found.map(|(_, text)| text.as_str())
    }

    /// A value out of a field; none if it is wrong.
    fn read<T: FromStr>(&mut self, field: &'static str, text: &str, like: &str) -> Option<T> {
        let read = text.trim().parse().ok();
        if read.is_none() {
            self.0.push((field, like.to_owned()));
        }
        read
    }
}

impl Typed {
    /// What stands in the form at first: a packet for the service that is asked for, else for the first one.
    fn filled(self, report: Option<&StatusReport>) -> Self {
        let services = report.map_or(&[][..], |report| &report.services);
        let wanted: Option<ServiceId> = self.service.parse().ok();
        let addresses = || services.iter().filter_map(address);
        let of_wanted = services
            .iter()
            .find(|one| Some(one.service) == wanted)
            .and_then(address);
        let wanted = wanted.and_then(|wanted| wanted.address().copied());
        let Some(to) = of_wanted.or(wanted).or_else(|| addresses().next()) else {
            return Self {
                protocol: Transport::default().word().to_owned(),
                from: SOMEBODY[0].to_owned(),
                from_port: SOME_PORT.to_owned(),
                ..self
            };
        };
        Self {
            protocol: to.protocol.to_string().to_lowercase(),
            from: SOMEBODY[usize::from(to.address.is_ipv6())].to_owned(),
            from_port: SOME_PORT.to_owned(),
            to: to.address.to_string(),
            to_port: to.port.to_string(),
            ..self
        }
    }

    /// The packet.
    fn wanted(&self, report: Option<&StatusReport>) -> Result<Wanted, Wrong> {
        const ADDRESS: &str = "An address, such as 192.0.2.10 or 2001:db8::10.";
        const PORT: &str = "A port, from 0 to 65535.";
        let mut wrong = Wrong::default();
        let protocol = Transport::named(&self.protocol);
        if protocol.is_none() {
            wrong.0.push(("protocol", "One of these.".to_owned()));
        }
        let from: Option<IpAddr> = wrong.read("from", &self.from, ADDRESS);
        let from_port = wrong.read("from_port", &self.from_port, PORT);
        let to: Option<IpAddr> = wrong.read("to", &self.to, ADDRESS);
        let to_port = wrong.read("to_port", &self.to_port, PORT);
        let interface = Some(self.interface.trim()).filter(|name| !name.is_empty());
        let is_known = |name: &str| interfaces(report).any(|one| one == name);
        if interface.is_some_and(|name| !is_known(name)) {
            let text = "The program is on no such interface.".to_owned();
            wrong.0.push(("interface", text));
        }
        let (Some(protocol), Some(from), Some(from_port), Some(to), Some(to_port), true) =
            (protocol, from, from_port, to, to_port, wrong.0.is_empty())
        else {
            return Err(wrong);
        };
        let flags = Some(self.flags.trim().to_ascii_uppercase()).filter(|flags| !flags.is_empty());
        let wanted = Wanted {
            protocol,
            source: SocketAddr::new(from, from_port),
            destination: SocketAddr::new(to, to_port),
            flags,
            interface: interface.map(str::to_owned),
        };
        match wanted.tuple() {
            Ok(_) => Ok(wanted),
            Err(unfit) => {
                let field = match unfit {
                    Unfit::Families => "to",
                    Unfit::NotTcp | Unfit::Letter(_) => "flags",
                };
                wrong.0.push((field, sentence(&unfit.to_string())));
                Err(wrong)
            }
        }
    }
}

/// Where packets for a service go, if such a packet can be made up.
fn address(service: &crate::status::ServiceStatus) -> Option<ServiceAddress> {
    let protocol = service.protocol?;
    let can_be = matches!(protocol, Protocol::Tcp | Protocol::Udp | Protocol::Sctp);
    can_be.then_some(ServiceAddress {
        address: service.address?,
        port: service.port?,
        protocol,
    })
}

fn interfaces(report: Option<&StatusReport>) -> impl Iterator<Item = &str> {
    let interfaces = report.map_or(&[][..], |report| &report.interfaces);
    interfaces.iter().map(|one| one.name.as_str())
}

async fn show(visit: Visit, Asked(typed): Asked<Typed>) -> Response {
    let now = visit.app.live.now().await;
    let report = now.report.as_deref();
    let (typed, asked) = match typed.what.is_empty() {
        true => (typed.filled(report), None),
        false => {
            let wanted = typed.wanted(report);
            (typed, Some(wanted))
        }
    };
    let (wrong, answer) = match asked {
        None => (Wrong::default(), None),
        Some(Err(wrong)) => (wrong, None),
        Some(Ok(wanted)) => {
            let told = client::explain(&visit.app.socket, &wanted).await;
            (Wrong::default(), Some((wanted, told)))
        }
    };
    let body = html! {
        (tabs(PATH))
        p { "Describe a packet: the data plane's own program tries it on the tables in use and tells what it would do. \
             Nothing is sent, remembered or counted." }
        @if !wrong.0.is_empty() {
            p class="notice failed" role="alert" id="wrong" { "Nothing was tried: see below." }
        }
        (form(&typed, &wrong, report))
        @match &answer {
            None => {},
            Some((wanted, Ok(story))) => (told(wanted, story)),
            Some((_, Err(why))) => p class="notice failed" role="alert" id="untried" {
                strong { "It was not tried: " } (sentence(&format!("{why:#}")))
            },
        }
    };
    visit.page(Area::Drops, "What would become of a packet", &body)
}

fn form(typed: &Typed, wrong: &Wrong, report: Option<&StatusReport>) -> Markup {
    let transports = Transport::ALL.map(|one| (one.word(), one.word().to_uppercase()));
    let mut ways = vec![("", "the first with the program on it")];
    ways.extend(interfaces(report).map(|name| (name, name)));
    let field = |name, label, value| Field::new(name, label).value(value).error(wrong.of(name));
    html! {
        form method="get" action=(PATH) class="card" id="packet" {
            div class="packet" {
                (field("protocol", "Protocol", &typed.protocol).choice(&transports))
                (field("flags", "TCP flags", &typed.flags).hint("Of FSRPAU; S if empty.").text())
                (field("interface", "Comes in by", &typed.interface).choice(&ways))
            }
            div class="packet" {
                (field("from", "From address", &typed.from).required().text())
                (field("from_port", "From port", &typed.from_port).required().number(65_535))
                (field("to", "To address", &typed.to).required().text())
                (field("to_port", "To port", &typed.to_port).required().number(65_535))
            }
            p class="buttons" { button type="submit" class="main" name="do" value="explain" { "Explain" } }
        }
    }
}

/// The story, in the words of the command.
fn told(wanted: &Wanted, story: &Story) -> Markup {
    html! {
        section class="card" aria-labelledby="story" {
            div class="headed" {
                h2 id="story" tabindex="-1" { (verdict(&story.verdict)) " " (story.packet) }
                span class="soft" { "in by " (story.interface) }
            }
            dl class="facts story" {
                @for line in story.lines() {
                    dt { (line.what) }
                    dd { (said(&line, story)) }
                }
            }
        }
        p class="soft" { "On this node, root gets the same by " code { (command(wanted)) } }
    }
}

fn said(line: &Line<'_>, story: &Story) -> Markup {
    let link = |path: &dyn Display| html! { a href=(path) { (line.said) } };
    match (line.what, story.service, story.server) {
        ("service", Some(service), _) => link(&service_path(service)),
        ("server", Some(service), Some(server)) => {
            let row = row_id(service, Some(server));
            link(&format_args!("{}#{row}", service_path(service)))
        }
        ("reason", ..) => link(&"/drops"),
        _ => html! { (line.said) },
    }
}

fn verdict(verdict: &str) -> Markup {
    match verdict {
        "forwarded" => words::badge(Tone::Good, "→", verdict),
        "answered" => words::badge(Tone::Between, "↩", verdict),
        "held" => words::badge(Tone::Between, "◑", verdict),
        "passed" => words::badge(Tone::Faint, "↑", verdict),
        _ => words::badge(Tone::Bad, "✕", verdict),
    }
}

/// How a shell says it.
fn command(wanted: &Wanted) -> String {
    let Wanted {
        protocol,
        source,
        destination,
        flags,
        interface,
    } = wanted;
    let mut text = format!(
        "lb explain --tuple \"{} {source} {destination}",
        protocol.word()
    );
    if let Some(flags) = flags {
        text.push_str(" flags ");
        text.push_str(flags);
    }
    text.push('"');
    if let Some(interface) = interface {
        text.push_str(" --interface ");
        text.push_str(interface);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{explain::story::Step, status::testing};

    const EVIL: &str = "\"><script>alert(1)</script>";

    fn typed() -> Typed {
        Typed {
            protocol: "tcp".to_owned(),
            from: "198.51.100.7".to_owned(),
            from_port: "40000".to_owned(),
            to: " 192.0.2.10 ".to_owned(),
            to_port: "80".to_owned(),
            ..Typed::default()
        }
    }

    fn wrong_fields(typed: &Typed) -> Vec<&'static str> {
        let wrong = typed.wanted(Some(&testing::report())).unwrap_err();
        wrong.0.into_iter().map(|(field, _)| field).collect()
    }

    #[test]
    fn what_is_wrong_is_told_at_its_field() {
        let set = |field: &str, value: &str| {
            let mut typed = typed();
            let value = value.to_owned();
            match field {
                "protocol" => typed.protocol = value,
                "from" => typed.from = value,
                "from_port" => typed.from_port = value,
                "to" => typed.to = value,
                "to_port" => typed.to_port = value,
                "flags" => typed.flags = value,
                "interface" => typed.interface = value,
                other => panic!("{other}"),
            }
            typed
        };
        let table = [
            ("protocol", "gre"),
            ("from", "nobody"),
            ("from_port", "65536"),
            ("to", ""),
            ("to", "2001:db8::10"),
            ("to_port", "-1"),
            ("flags", "SX"),
            ("interface", "eth77"),
        ];
        for (field, value) in table {
            assert_eq!(wrong_fields(&set(field, value)), [field], "{value}");
        }
        let many = Typed {
            from: String::new(),
            ..set("to_port", EVIL)
        };
        assert_eq!(wrong_fields(&many), ["from", "to_port"]);
        let udp = Typed {
            flags: "S".to_owned(),
            ..set("protocol", "udp")
        };
        assert_eq!(wrong_fields(&udp), ["flags"]);
    }

    #[test]
    fn a_packet_is_what_was_typed() {
        let wanted = Typed {
            flags: "fa".to_owned(),
            ..typed()
        };
        let wanted = wanted.wanted(None).unwrap();
        assert_eq!(
            command(&wanted),
            "lb explain --tuple \"tcp 198.51.100.7:40000 192.0.2.10:80 flags FA\""
        );
    }

    #[test]
    fn the_form_begins_with_a_service() {
        let report = testing::report();
        let service = &report.services[0];
        let filled = Typed {
            service: service.service.to_string(),
            ..Typed::default()
        };
        let filled = filled.filled(Some(&report));
        assert_eq!(filled.to, service.address.unwrap().to_string());
        let wanted = filled.wanted(Some(&report)).unwrap();
        assert_eq!(Some(wanted.destination.port()), service.port);
        let nothing = Typed::default().filled(None);
        assert_eq!(
            (nothing.protocol.as_str(), nothing.to.as_str()),
            ("tcp", "")
        );
        let another = Typed {
            service: "UDP [2001:db8::53]:53".to_owned(),
            ..Typed::default()
        };
        let another = another.filled(None);
        assert_eq!(
            (
                another.protocol.as_str(),
                another.from.as_str(),
                another.to_port.as_str()
            ),
            ("udp", "2001:db8::7", "53")
        );
    }

    #[test]
    fn whatever_is_typed_or_told_stays_text() {
        let evil = || EVIL.to_owned();
        let typed = Typed {
            service: evil(),
            protocol: evil(),
            from: evil(),
            from_port: evil(),
            to: evil(),
            to_port: evil(),
            flags: evil(),
            interface: evil(),
            what: evil(),
        };
        let wrong = typed.wanted(None).unwrap_err();
        let story = Story {
            number: 1,
            interface: evil(),
            packet: evil(),
            service: "TCP 192.0.2.10:80".parse().ok(),
            server: "10.0.0.11:80".parse().ok(),
            steps: ["service", "server", EVIL]
                .map(|what| Step {
                    what: what.into(),
                    found: evil(),
                })
                .to_vec(),
            changes: Vec::new(),
            verdict: EVIL.into(),
            leaves_by: None,
            reason: Some(EVIL.into()),
            conclusion: format!("{EVIL}\n{EVIL}"),
        };
        let wanted = self::typed().wanted(None).unwrap();
        for markup in [form(&typed, &wrong, None), told(&wanted, &story)] {
            let text = markup.into_string();
            assert!(!text.contains("<script"), "{text}");
        }
        let text = told(&wanted, &story).into_string();
        assert!(
            text.contains("href=\"/service?id=TCP%20192.0.2.10:80\""),
            "{text}"
        );
        assert!(
            text.contains("#s-tcp-192-0-2-10-80--10-0-0-11-80\""),
            "{text}"
        );
    }
}
