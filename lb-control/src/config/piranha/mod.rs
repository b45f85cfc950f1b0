//! lvs.cf as the parser of Piranha 0.8.6 read it, with its faults: what `lb check --strict` answers.
//!
//! It is a parser of its own, and knows nothing of the superset beside it: made to be the same, not to be
//! good. It went through the file line by line, put values where they belong, and stopped at the first
//! error. What it did not look at it did not complain about: missing braces at the end, words behind a
//! closing brace, numbers that make no sense.

mod answer;
mod scanner;
mod words;

use std::net::Ipv4Addr;

pub use self::answer::{Answer, Configuration, Fault, Global, Refusal, Server, Service};
use self::{
    scanner::{Line, LineEnds, Scanner, Token},
    words::{Value, Words, list},
};
use super::names::Names;

/// What Piranha would have answered to a file.
pub fn parse(bytes: &[u8], names: &mut dyn Names) -> Answer {
    if bytes.is_empty() {
        return Answer::Refused(Refusal {
            fault: Fault::Empty,
            line: 0,
            place: 0..0,
        });
    }
    let mut parser = Parser::new(names);
    for line in Scanner::new(text(bytes), LineEnds::AsPiranha) {
        if let Err(refusal) = parser.line(&line) {
            return Answer::Refused(refusal);
        }
    }
    Answer::Loaded(Box::new(parser.finish()))
}

/// All lines that Piranha would have refused, had it gone on, whatever the ends of the lines are; at most
/// `most` of them.
pub fn refusals(bytes: &[u8], names: &mut dyn Names, most: usize) -> Vec<Refusal> {
    let mut parser = Parser::new(names);
    let mut refusals = Vec::new();
    let mut is_brace_owed = false;
    for line in Scanner::new(text(bytes), LineEnds::Any) {
        let first = line.tokens.as_ref().ok().and_then(|tokens| tokens.first());
        let is_brace = first.is_some_and(|token| token.is("{"));
        if std::mem::take(&mut is_brace_owed) && is_brace {
            continue;
        }
        if let Err(refusal) = parser.line(&line) {
            is_brace_owed = parser.open_anyway(&line);
            refusals.push(refusal);
            if refusals.len() == most {
                break;
            }
        }
    }
    refusals
}

/// To C, a file ends at its first byte that is 0.
fn text(bytes: &[u8]) -> &[u8] {
    bytes.split(|byte| *byte == 0).next().unwrap_or_default()
}

struct Parser<'n> {
    names: &'n mut dyn Names,
    configuration: Configuration,
    /// The blocks that are open.
    service: Option<(Kind, Service)>,
    server: Option<Server>,
}

#[derive(Clone, Copy)]
enum Kind {
    Virtual,
    Failover,
}

impl Kind {
    fn named(token: &Token<'_>) -> Option<Self> {
        match token.text {
            b"virtual" => Some(Self::Virtual),
            b"failover" => Some(Self::Failover),
            _ => None,
        }
    }
}

impl<'n> Parser<'n> {
    fn new(names: &'n mut dyn Names) -> Self {
        Self {
            names,
            configuration: Configuration::default(),
            service: None,
            server: None,
        }
    }

    fn line(&mut self, line: &Line<'_>) -> Result<(), Refusal> {
        let refusal = |fault, place| Refusal {
            fault,
            line: line.number,
            place,
        };
        let tokens = match &line.tokens {
            Ok(tokens) => tokens,
            // In a block the scanner's complaint was not listened to.
            Err(place) if self.service.is_some() => {
                return Err(refusal(Fault::Missing, place.clone()));
            }
            Err(place) => return Err(refusal(Fault::Quotation, place.clone())),
        };
        let Some(first) = tokens.first() else {
            return Ok(());
        };
        let done = if let Some(server) = &mut self.server {
            match first.is("}") {
                true => {
                    self.close_server();
                    Ok(())
                }
                false => server_directive(server, first, tokens, self.names),
            }
        } else if let Some((_, service)) = &mut self.service {
            match first.text {
                b"}" => {
                    self.close_service();
                    Ok(())
                }
                b"server" => header(tokens).map(|name| {
                    self.server = Some(Server {
                        name,
                        address: Ipv4Addr::UNSPECIFIED,
                        active: 0,
                        // As it stands here: a `port` further down is for the servers behind it.
                        port: service.port,
                        weight: 1,
                    });
                }),
                _ => service_directive(service, first, tokens, self.names),
            }
        } else if let Some(kind) = Kind::named(first) {
            header(tokens).map(|name| self.service = Some((kind, Service::new(name))))
        } else {
            let global = &mut self.configuration.global;
            global_directive(global, first, tokens, self.names)
        };
        done.map_err(|(index, fault)| {
            let token = tokens.get(index).unwrap_or(first);
            let end = match fault == Fault::Unexpected {
                true => line.place.end,
                false => token.place.end,
            };
            refusal(fault, token.place.start..end)
        })
    }

    fn close_server(&mut self) {
        if let (Some(server), Some((_, service))) = (self.server.take(), &mut self.service) {
            service.servers.push(server);
        }
    }

    fn close_service(&mut self) {
        self.close_server();
        match self.service.take() {
            Some((Kind::Virtual, service)) => self.configuration.virtuals.push(service),
            Some((Kind::Failover, service)) => self.configuration.failovers.push(service),
            None => {}
        }
    }

    /// Blocks that are open at the end are closed without a word.
    fn finish(mut self) -> Configuration {
        self.close_service();
        let Configuration { mut global, .. } = self.configuration;
        if global.primary_private.is_unspecified() && !global.primary.is_unspecified() {
            global.primary_private = global.primary;
            global.backup_private = global.backup;
        }
        Configuration {
            global,
            ..self.configuration
        }
    }

    /// After a refused line that was to open a block, the block is open if what is in it is to be
    /// understood. Whether its brace may be on the next line.
    fn open_anyway(&mut self, line: &Line<'_>) -> bool {
        let word = |token: &Token<'_>| String::from_utf8_lossy(token.text).into_owned();
        let tokens = line.tokens.as_deref().unwrap_or_default();
        let Some(first) = tokens.first() else {
            return false;
        };
        let name = tokens.get(1).map(word).unwrap_or_default();
        let is_closed = tokens.last().is_some_and(|last| last.is("}"));
        if is_closed {
            return false;
        }
        match (Kind::named(first), first.is("server")) {
            (Some(kind), _) if self.service.is_none() => {
                self.service = Some((kind, Service::new(name)));
            }
            (None, true) if self.service.is_some() && self.server.is_none() => {
                self.server = Some(Server {
                    name,
                    address: Ipv4Addr::UNSPECIFIED,
                    active: 0,
                    port: 0,
                    weight: 1,
                });
            }
            (_, _) => return false,
        }
        tokens.len() < 3
    }
}

/// `virtual NAME {`: its name.
fn header(tokens: &[Token<'_>]) -> Value<String> {
    match tokens {
        [_, name, brace] if brace.is("{") => Ok(String::from_utf8_lossy(name.text).into_owned()),
        [_, _, _] => Err((2, Fault::Argument)),
        [_, _, _, ..] => Err((3, Fault::Unexpected)),
        _ => Err((tokens.len().saturating_sub(1), Fault::Missing)),
    }
}

fn global_directive(
    global: &mut Global,
    name: &Token<'_>,
    tokens: &[Token<'_>],
    names: &mut dyn Names,
) -> Value<()> {
    let one = || Words::new(tokens, 1);
    match name.text {
        b"serial_no" => global.serial_no = one()?.integer()?,
        b"primary" => global.primary = one()?.own_host(names)?,
        b"primary_private" => global.primary_private = one()?.own_host(names)?,
        b"primary_shared" => global.primary_shared = Some(one()?.string()),
        b"backup" => global.backup = one()?.host(names)?,
        b"backup_private" => global.backup_private = one()?.own_host(names)?,
        b"backup_shared" => global.backup_shared = Some(one()?.string()),
        b"backup_active" => global.backup_active = one()?.boolean()?,
        b"heartbeat" => global.heartbeat = one()?.boolean()?,
        b"heartbeat_port" => global.heartbeat_port = one()?.port(names)?,
        b"keepalive" => global.keepalive = one()?.integer()?,
        b"deadtime" => global.deadtime = one()?.integer()?,
        b"service" => global.service = one()?.choice(&["lvs", "fos"])?,
        b"network" => global.network = one()?.choice(&["nat", "direct", "tunnel"])?,
        b"nat_router" => {
            let words = Words::new(tokens, 2)?;
            global.nat_router = words.host(names)?;
            global.nat_router_dev = Some(words.device());
        }
        b"nat_nmask" => global.nat_nmask = one()?.mask()?,
        b"monitor_links" => global.monitor_links = one()?.integer()?,
        b"syncdaemon" => global.syncdaemon = one()?.boolean()?,
        b"syncd_iface" => global.syncd_iface = one()?.string(),
        b"syncd_id" => global.syncd_id = one()?.integer()?,
        b"tcp_timeout" => global.tcp_timeout = one()?.integer()?,
        b"tcpfin_timeout" => global.tcpfin_timeout = one()?.integer()?,
        b"udp_timeout" => global.udp_timeout = one()?.integer()?,
        b"hard_shutdown" => global.hard_shutdown = one()?.boolean()?,
        b"active_cmd" => global.active_cmd = Some(one()?.string()),
        b"inactive_cmd" => global.inactive_cmd = Some(one()?.string()),
        b"rsh_command" => global.rsh_command = one()?.string(),
        b"debug_level" => global.debug_level = one()?.string(),
        b"ipvsadm" => global.ipvsadm = one()?.string(),
        b"reservation_conflict_action" => {
            let action = one()?.choice(&["nothing", "preempt"])?;
            global.reservation_conflict_action = Some(action);
        }
        b"sync" => drop(one()?.boolean()?),
        _ => return Err((0, Fault::Command)),
    }
    Ok(())
}

fn service_directive(
    service: &mut Service,
    name: &Token<'_>,
    tokens: &[Token<'_>],
    names: &mut dyn Names,
) -> Value<()> {
    const SCHEDULERS: [&str; 8] = ["rr", "wrr", "lc", "wlc", "lblc", "lblcr", "dh", "sh"];
    let one = || Words::new(tokens, 1);
    match name.text {
        b"active" => service.active = one()?.boolean()?,
        b"address" => {
            let words = Words::new(tokens, 2)?;
            service.address = words.host(names)?;
            service.dev = Some(words.device());
        }
        b"vip_nmask" => service.vip_nmask = one()?.mask()?,
        b"port" => service.port = one()?.port(names)?,
        b"protocol" => service.protocol = one()?.choice(&["tcp", "udp"])?,
        b"fwmark" => service.fwmark = one()?.integer()?.cast_unsigned(),
        b"scheduler" => service.scheduler = one()?.choice(&SCHEDULERS)?,
        b"persistent" => service.persistent = one()?.integer()?,
        b"pmask" => service.pmask = one()?.persistence_mask(),
        b"sorry_server" => service.sorry_server = one()?.dotted()?,
        b"send" => service.send = Some(one()?.quoted()),
        b"expect" => service.expect = Some(one()?.quoted()),
        b"use_regex" => service.use_regex = one()?.boolean()?,
        b"send_program" => service.send_program = Some(one()?.quoted()),
        b"timeout" => service.timeout = one()?.integer()?,
        b"reentry" => service.reentry = one()?.integer()?,
        b"quiesce_server" => service.quiesce_server = one()?.boolean()?,
        b"load_monitor" => service.load_monitor = Some(one()?.string()),
        b"client_monitor" => service.client_monitor = one()?.string(),
        b"start_cmd" => service.start_cmd = Some(one()?.quoted()),
        b"stop_cmd" => service.stop_cmd = Some(one()?.quoted()),
        b"master" => drop(one()?.host(names)?),
        b"dirs" => list(tokens)?,
        _ => return Err((0, Fault::Command)),
    }
    Ok(())
}

fn server_directive(
    server: &mut Server,
    name: &Token<'_>,
    tokens: &[Token<'_>],
    names: &mut dyn Names,
) -> Value<()> {
    let one = || Words::new(tokens, 1);
    match name.text {
        b"address" => server.address = one()?.host(names)?,
        b"active" => server.active = one()?.boolean()?,
        b"weight" => server.weight = one()?.integer()?,
        b"port" => server.port = one()?.integer()?,
        _ => return Err((0, Fault::Command)),
    }
    Ok(())
}
