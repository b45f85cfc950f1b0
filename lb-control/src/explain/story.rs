//! What became of a packet on trial, told step by step.

use std::{borrow::Cow, fmt, iter, net::SocketAddr};

use anyhow::Result;
use lb_common::{
    maps::{MethodKind, NextHop, Refusal, SchedulerKind, Server, Service},
    room::Gist,
    state::TICK_SHIFT,
    verdict::{Event, Reason},
    wire::protocol,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    layers::{Layers, mac, protocol_name},
    names::Names,
};
use crate::{
    dataplane::trial::{Fate, Findings, Key, Known, Trial, Tried},
    model::ServiceId,
    network::links::Links,
};

/// A word of ours; one that was read is a copy.
type Word = Cow<'static, str>;

/// A packet and what would become of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Story {
    /// Its number in the capture, from 1 on.
    pub number: usize,
    /// The interface that it comes in by.
    pub interface: String,
    /// What it is.
    pub packet: String,
    /// The service that it is for, if lvs.cf has a name for it.
    #[serde(default)]
    pub service: Option<ServiceId>,
    /// The address and port of its real server, if it has one.
    #[serde(default)]
    #[schema(value_type = Option<String>, example = "10.0.0.11:80")]
    pub server: Option<SocketAddr>,
    /// What was found out, one step after the other.
    pub steps: Vec<Step>,
    /// What its fields become, if it leaves.
    pub changes: Vec<Change>,
    /// `passed`, `dropped`, `held`, `answered`, `forwarded`, or `failed`.
    #[schema(value_type = String)]
    pub verdict: Word,
    /// The interface that it leaves by.
    pub leaves_by: Option<String>,
    /// Why it is not steered: the counter's name.
    #[schema(value_type = Option<String>)]
    pub reason: Option<Word>,
    /// The verdict in words, and in a line of its own each reason with what it means.
    pub conclusion: String,
}

/// A line of a story.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line<'a> {
    /// What it is about, in a word.
    pub what: &'a str,
    /// What there is to say.
    pub said: Cow<'a, str>,
}

/// One step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = StoryStep)]
pub struct Step {
    /// `link`, `packet`, `flow`, `service`, `server`, `next hop`, `event`, or `answer`.
    #[schema(value_type = String)]
    pub what: Word,
    /// What was found.
    pub found: String,
}

/// A field that changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = StoryChange)]
pub struct Change {
    /// Its name.
    pub field: String,
    /// As it came; none in a header that is put round the packet.
    pub before: Option<String>,
    /// As it leaves; none in a header that is taken away.
    pub after: Option<String>,
}

/// What a packet is about.
#[derive(Debug, Clone, Copy, Default)]
struct About {
    service: Option<ServiceId>,
    server: Option<SocketAddr>,
}

/// Those who know what is needed to tell a story.
pub struct Teller<'a> {
    /// The maps.
    pub trial: &'a Trial,
    /// What things are called.
    pub names: &'a Names,
    /// The interfaces.
    pub links: &'a Links,
}

impl Teller<'_> {
    /// The story of a frame that came in by the interface of this number.
    ///
    /// # Errors
    /// If the maps cannot be read.
    pub fn tell(
        &self,
        number: usize,
        interface: u32,
        frame: &[u8],
        tried: &Tried,
    ) -> Result<Story> {
        let layers = Layers::of(frame, None);
        let mut steps = link_steps(&layers);
        let (mut gue, mut about) = (None, About::default());
        match &tried.findings {
            Some(findings) => {
                let server = self.decision(findings, tried, &mut steps, &mut about)?;
                gue = server.filter(|server| server.method == MethodKind::GUE);
            }
            None => steps.push(step("packet", why_not_balanced(&layers, tried))),
        }
        for event in &tried.events {
            steps.push(step("event", event_text(*event)));
        }
        let after = Layers::of(&tried.frame, gue.map(|server| server.tunnel_port.get()));
        let is_answer = tried.events.contains(&Event::Answered);
        if is_answer {
            steps.push(step("answer", answer_text(&after)));
        }
        let leaves_by = match tried.fate {
            Fate::Back => Some(self.interface(interface)),
            Fate::Away(other) => Some(self.interface(other)),
            Fate::Passed | Fate::Dropped | Fate::Failed => None,
        };
        let reason = tried.reasons.first().copied();
        let verdict = match tried.fate {
            Fate::Back | Fate::Away(_) if is_answer => "answered",
            Fate::Back | Fate::Away(_) => "forwarded",
            Fate::Passed => "passed",
            Fate::Dropped if tried.events.contains(&Event::Held) => "held",
            Fate::Dropped => "dropped",
            Fate::Failed => "failed",
        };
        Ok(Story {
            number,
            interface: self.interface(interface),
            packet: layers.to_string(),
            service: about.service,
            server: about.server,
            steps,
            changes: if leaves_by.is_some() && !is_answer {
                changes(&layers, &after)
            } else {
                Vec::new()
            },
            verdict: verdict.into(),
            conclusion: conclusion(verdict, leaves_by.as_deref(), &tried.reasons),
            leaves_by,
            reason: reason.map(|reason| reason.name().into()),
        })
    }

    /// Flow or service, scheduler, server and next hop. The server, if there is one.
    fn decision(
        &self,
        findings: &Findings,
        tried: &Tried,
        steps: &mut Vec<Step>,
        about: &mut About,
    ) -> Result<Option<Server>> {
        let known = self.trial.flow(&findings.key)?;
        let destination = known.map_or(findings.key, |flow| flow.request).destination;
        about.service = self.names.id(destination, findings.key.protocol);
        let id = match (&findings.service, known) {
            (Some(service), known) => {
                if let Some(flow) = known.filter(|_| findings.gist.has(Gist::STALE)) {
                    steps.push(step("flow", format!("{}; it is over", flow_text(&flow))));
                } else {
                    steps.push(step("flow", "none is known: this packet would begin one"));
                }
                steps.push(step("service", self.service_text(&findings.key, service)?));
                let is_refused = tried.reasons.contains(&Reason::NoFlow);
                if is_refused && findings.key.protocol == protocol::TCP {
                    steps.push(step("scheduler", "not asked: this segment begins nothing"));
                } else {
                    let text = self.choice_text(findings, service);
                    steps.push(step("scheduler", text));
                }
                findings.server
            }
            (None, Some(flow)) => {
                steps.push(step("flow", flow_text(&flow)));
                Some(flow.server)
            }
            (None, None) => {
                steps.push(step("flow", "none is known"));
                steps.push(step(
                    "service",
                    format!("none has {}", findings.key.destination),
                ));
                None
            }
        };
        let Some(id) = id else {
            return Ok(None);
        };
        let Some(server) = self.trial.server(id)? else {
            steps.push(step("server", format!("number {id} is there no longer")));
            return Ok(None);
        };
        let socket = SocketAddr::new(
            std::net::IpAddr::from(server.address),
            match server.port.get() {
                0 => destination.port(),
                port => port,
            },
        );
        about.server = Some(socket);
        let mut text = format!("{}, {}", self.names.server(socket), method_text(&server));
        if server.weight == 0 {
            text.push_str(", weight 0: it gets no new flows");
        } else {
            text.push_str(&format!(", weight {}", server.weight));
        }
        steps.push(step("server", text));
        if known.is_none_or(|flow| !flow.is_reply) && server.method != MethodKind::LOCAL {
            steps.push(step("next hop", self.hop_text(&server.hop)));
        }
        Ok(Some(server))
    }

    fn service_text(&self, key: &Key, service: &Service) -> Result<String> {
        let mut text = format!("{} {}", protocol_name(key.protocol), key.destination);
        if let Some(name) = self.names.service(key.destination, key.protocol) {
            text.push_str(&format!(" \"{name}\""));
        }
        if !self.trial.has_exactly(key.destination, key.protocol)? {
            text.push_str(", by a range of ports");
        }
        if service.slots == 0 {
            text.push_str(", without an available real server: its clients get ");
            text.push_str(refusal_text(service.refusal));
        }
        Ok(text)
    }

    fn choice_text(&self, findings: &Findings, service: &Service) -> String {
        let key = &findings.key;
        let known = self.names.scheduler(key.destination, key.protocol);
        let name = known.unwrap_or_else(|| scheduler_text(service.scheduler));
        match (findings.server, findings.gist.has(Gist::SCHEDULED)) {
            (Some(_), false) => {
                format!("not asked ({name}): the client stays with the server that it had")
            }
            (Some(_), true) => format!("{name} chooses"),
            (None, _) => format!("{name} finds no server"),
        }
    }

    fn hop_text(&self, hop: &NextHop) -> String {
        if hop.interface == 0 {
            return "not known: no route, or the neighbour does not answer".to_owned();
        }
        let mut text = format!("{} by {}", mac(&hop.mac), self.interface(hop.interface));
        if hop.vlan != 0 {
            text.push_str(&format!(", VLAN {}", hop.vlan));
        }
        if hop.mtu != 0 {
            text.push_str(&format!(", MTU {}", hop.mtu));
        }
        text
    }

    fn interface(&self, index: u32) -> String {
        match self.links.at(index) {
            Some(link) => link.name.clone(),
            None => format!("interface {index}"),
        }
    }
}

fn link_steps(layers: &Layers) -> Vec<Step> {
    let fields = layers.link.iter();
    let fields: Vec<_> = fields
        .map(|field| format!("{} {}", field.name, field.value))
        .collect();
    vec![step("link", fields.join(", "))]
}

/// Why nothing was found out about a packet.
fn why_not_balanced(layers: &Layers, tried: &Tried) -> String {
    if let (true, Some(rest)) = (tried.reasons.is_empty(), &layers.rest) {
        return format!("{rest}: nothing that is balanced");
    }
    match layers.inner() {
        Some(packet) if packet.is_later_fragment => {
            "a fragment other than the first: it has no ports, and follows the first one".to_owned()
        }
        Some(packet) if matches!(packet.protocol, protocol::ICMP | protocol::ICMPV6) => {
            "a message of ICMP, judged by itself".to_owned()
        }
        Some(packet) if tried.reasons.is_empty() => {
            format!("{} is not balanced", protocol_name(packet.protocol))
        }
        _ => "it is not understood".to_owned(),
    }
}

fn flow_text(flow: &Known) -> String {
    let whose = if flow.is_reply {
        "known, a reply to"
    } else {
        "known, from"
    };
    let seconds = |ticks: u32| (u64::from(ticks) << TICK_SHIFT) as f64 / 1e9;
    // Another CPU may have stamped it a moment after we read the clock.
    let silent = if flow.silent > u32::MAX / 2 {
        0
    } else {
        flow.silent
    };
    format!(
        "{whose} {}: {}, silent for {:.1} s of {:.0} s",
        flow.request.source,
        flow.state.name(),
        seconds(silent),
        seconds(flow.timeout)
    )
}

fn method_text(server: &Server) -> &'static str {
    match server.method {
        MethodKind::NAT if server.has(Server::SOURCE_NAT) => "masqueraded at both ends",
        MethodKind::NAT => "masqueraded",
        MethodKind::DIRECT => "by direct routing",
        MethodKind::TUNNEL => "by a tunnel (IP in IP)",
        MethodKind::GRE => "by a tunnel (GRE)",
        MethodKind::GUE => "by a tunnel (GUE)",
        MethodKind::LOCAL => "this router itself",
        _ => "by a method that this lb does not know",
    }
}

fn scheduler_text(kind: SchedulerKind) -> &'static str {
    match kind {
        SchedulerKind::TURNS => "round robin",
        SchedulerKind::LEAST_LOADED => "wlc",
        SchedulerKind::SOURCE_HASH => "sh",
        SchedulerKind::LEAST_CONNECTIONS => "lc",
        SchedulerKind::SHORTEST_DELAY => "sed",
        SchedulerKind::NEVER_QUEUE => "nq",
        SchedulerKind::FAILOVER => "fo",
        SchedulerKind::OVERFLOW => "ovf",
        SchedulerKind::TWO_CHOICES => "twos",
        SchedulerKind::DESTINATION_HASH => "dh",
        SchedulerKind::MAGLEV | SchedulerKind::MAGLEV_COMPAT => "mh",
        SchedulerKind::LOCALITY => "lblc",
        SchedulerKind::LOCALITY_SET => "lblcr",
        _ => "a scheduler that this lb does not know",
    }
}

fn event_text(event: Event) -> String {
    format!("it would be counted as `{}`", event.name())
}

fn answer_text(answer: &Layers) -> String {
    format!("its sender gets: {answer}")
}

/// How the verdict is told.
fn conclusion(verdict: &'static str, leaves_by: Option<&str>, reasons: &[Reason]) -> String {
    let mut text = match (verdict, leaves_by) {
        ("answered", Some(interface)) => format!("refused, and answered by {interface}"),
        ("forwarded", Some(interface)) => format!("leaves by {interface}"),
        ("passed", _) => "goes up to the kernel's own stack, unchanged".to_owned(),
        ("held", _) => "waits in the daemon for the first fragment".to_owned(),
        ("dropped", _) => "ends here".to_owned(),
        _ => "the program failed".to_owned(),
    };
    for reason in reasons {
        text.push_str(&format!("\n{}: {}", reason.name(), reason.meaning()));
    }
    text
}

/// What this refusal of a service sends.
const fn refusal_text(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::RESET => "a reset, or an ICMP message for what is not TCP",
        Refusal::UNREACHABLE => "an ICMP message",
        _ => "nothing",
    }
}

/// The fields that change from one frame to the other.
fn changes(before: &Layers, after: &Layers) -> Vec<Change> {
    let mut changes = Vec::new();
    let outer = after.packets.len().saturating_sub(before.packets.len());
    let mut compare = |old: &[super::layers::Field], new: &[super::layers::Field]| {
        for field in new {
            let was = old.iter().find(|other| other.name == field.name);
            if was.is_none_or(|was| was.value != field.value) {
                changes.push(Change {
                    field: field.name.to_owned(),
                    before: was.map(|was| was.value.clone()),
                    after: Some(field.value.clone()),
                });
            }
        }
        for field in old {
            if !new.iter().any(|other| other.name == field.name) {
                changes.push(Change {
                    field: field.name.to_owned(),
                    before: Some(field.value.clone()),
                    after: None,
                });
            }
        }
    };
    compare(&before.link, &after.link);
    for (old, new) in before.packets.iter().zip(after.packets.iter().skip(outer)) {
        compare(&old.fields, &new.fields);
    }
    for packet in after.packets.iter().take(outer) {
        changes.push(Change {
            field: "outer header".to_owned(),
            before: None,
            after: Some(packet.summary.clone()),
        });
    }
    changes
}

fn step(what: &'static str, found: impl Into<String>) -> Step {
    Step {
        what: what.into(),
        found: found.into(),
    }
}

impl Story {
    /// What was found out, what becomes different, and how it ends: the lines below the first one.
    pub fn lines(&self) -> impl Iterator<Item = Line<'_>> {
        let steps = self.steps.iter().map(|step| Line {
            what: &step.what,
            said: Cow::Borrowed(&step.found),
        });
        let changes = self.changes.iter().map(|change| {
            let before = change.before.as_deref().unwrap_or("none");
            let after = change.after.as_deref().unwrap_or("none");
            Line {
                what: "rewrite",
                said: Cow::Owned(format!("{}: {before} -> {after}", change.field)),
            }
        });
        let words = ["verdict"].into_iter().chain(iter::repeat("reason"));
        let conclusion = words.zip(self.conclusion.lines()).map(|(what, said)| Line {
            what,
            said: Cow::Borrowed(said),
        });
        steps.chain(changes).chain(conclusion)
    }
}

impl fmt::Display for Story {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{}. {} (in by {})",
            self.number, self.packet, self.interface
        )?;
        for Line { what, said } in self.lines() {
            writeln!(f, "  {what:<11}{said}")?;
        }
        Ok(())
    }
}
