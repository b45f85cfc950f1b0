//! What is measured: one kind of packet, in one state of the tables.

use std::fmt;

use clap::ValueEnum;
use lb_control::model::{Protocol, Scheduler};
use lb_tests::Family;

use crate::frame::Packet;

/// One measurement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Case {
    /// How packets reach real servers.
    pub(crate) method: Method,
    /// The family of clients, services and servers.
    pub(crate) family: Family,
    /// TCP or UDP.
    pub(crate) protocol: Protocol,
    /// What comes.
    pub(crate) traffic: Traffic,
    /// How many virtual services there are; packets go to all of them alike.
    pub(crate) services: u32,
    /// How many real servers each of them has.
    pub(crate) servers: u32,
    /// Who gets new flows.
    pub(crate) scheduler: Scheduler,
}

/// How packets reach real servers, or where they come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Method {
    /// Masquerading, packets to the real server.
    Nat,
    /// Masquerading, the real server's replies.
    #[value(skip)]
    Reply,
    /// Direct routing.
    Direct,
    /// IP in IP.
    Tunnel,
    /// A tunnel with UDP and GUE headers.
    Gue,
}

/// What comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Traffic {
    /// Packets to an address that is no service's.
    Foreign,
    /// Packets of so many established flows, drawn by lot.
    Established(u32),
    /// First packets of flows for which there is room.
    New,
    /// First packets of flows while established ones fill the table.
    Full,
    /// First packets of flows while those that are half-open have all the room that they may have.
    Flood,
    /// First packets of so many flows, drawn by lot, when there are so many in a second that a hashing
    /// scheduler remembers none.
    Stateless(u32),
}

impl Method {
    pub(crate) const ALL: [Self; 5] = [
        Self::Nat,
        Self::Reply,
        Self::Direct,
        Self::Tunnel,
        Self::Gue,
    ];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Nat => "nat",
            Self::Reply => "nat-reply",
            Self::Direct => "direct",
            Self::Tunnel => "tunnel",
            Self::Gue => "gue",
        }
    }

    /// Whether addresses are rewritten: such a flow takes two entries of the table.
    pub(crate) const fn is_masquerading(self) -> bool {
        matches!(self, Self::Nat | Self::Reply)
    }
}

impl fmt::Display for Traffic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Foreign => write!(f, "foreign"),
            Self::Established(flows) => write!(f, "established-{flows}"),
            Self::New => write!(f, "new"),
            Self::Full => write!(f, "full"),
            Self::Flood => write!(f, "flood"),
            Self::Stateless(flows) => write!(f, "stateless-{flows}"),
        }
    }
}

/// As it is named on the command line: the words of the case, what is ordinary left out.
impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let family = match self.family {
            Family::V4 => "v4",
            Family::V6 => "v6",
        };
        let protocol = self.protocol.to_string().to_lowercase();
        let (method, traffic) = (self.method.name(), self.traffic);
        write!(f, "{method}-{family}-{protocol}-{traffic}")?;
        if self.services != 1 {
            write!(f, "-{}-services", self.services)?;
        }
        if self.servers != ordinary_servers(self.method) {
            write!(f, "-{}-servers", self.servers)?;
        }
        if self.scheduler != ORDINARY_SCHEDULER {
            write!(f, "-{}", self.scheduler.name())?;
        }
        Ok(())
    }
}

/// How many flows the established ones are.
const FLOWS: [u32; 5] = [1, 1_024, 16_384, 131_072, 1_048_576];
const FAMILIES: [Family; 2] = [Family::V4, Family::V6];
const ORDINARY_SCHEDULER: Scheduler = Scheduler::Mh;

/// With masquerading one: whose replies come is known then.
const fn ordinary_servers(method: Method) -> u32 {
    if method.is_masquerading() { 1 } else { 3 }
}

impl Case {
    /// One service with an ordinary number of real servers.
    pub(crate) const fn new(
        method: Method,
        family: Family,
        protocol: Protocol,
        traffic: Traffic,
    ) -> Self {
        Self {
            method,
            family,
            protocol,
            traffic,
            services: 1,
            servers: ordinary_servers(method),
            scheduler: ORDINARY_SCHEDULER,
        }
    }

    /// The ones that tell most.
    pub(crate) fn important() -> Vec<Self> {
        use Method::{Direct, Gue, Nat, Reply, Tunnel};
        use Protocol::{Tcp, Udp};
        use Traffic::{Established, Flood, Foreign, Full, New, Stateless};

        let mut cases = Vec::new();
        for family in FAMILIES {
            let mut add = |method, protocol, traffic| {
                cases.push(Self::new(method, family, protocol, traffic));
            };
            add(Tunnel, Tcp, Foreign);
            for flows in FLOWS {
                add(Tunnel, Tcp, Established(flows));
            }
            add(Tunnel, Udp, Established(1));
            for traffic in [New, Full, Flood, Stateless(1), Stateless(1 << 20)] {
                add(Tunnel, Tcp, traffic);
            }
            add(Gue, Tcp, Established(1));
            add(Gue, Tcp, Established(131_072));
            for method in [Direct, Nat, Reply] {
                for flows in [1, 1_024, 131_072, 1_048_576] {
                    add(method, Tcp, Established(flows));
                }
            }
            add(Direct, Tcp, New);
            add(Nat, Tcp, New);
        }
        let tunnel = |traffic| Self::new(Tunnel, Family::V4, Tcp, traffic);
        for traffic in [Foreign, Established(16_384), New] {
            for services in [1, 64, 10_000] {
                cases.push(Self {
                    services,
                    scheduler: Scheduler::Rr,
                    ..tunnel(traffic)
                });
            }
            cases.push(Self {
                servers: 1_000,
                ..tunnel(traffic)
            });
        }
        cases
    }

    /// Every one that there is.
    pub(crate) fn all() -> Vec<Self> {
        let mut cases = Self::important();
        let mut traffics = vec![
            Traffic::Foreign,
            Traffic::New,
            Traffic::Full,
            Traffic::Flood,
        ];
        traffics.extend(FLOWS.map(Traffic::Established));
        for (services, servers) in [(1, 3), (1, 1_000), (64, 3), (64, 1_000), (10_000, 3)] {
            for method in Method::ALL {
                for family in FAMILIES {
                    for protocol in [Protocol::Tcp, Protocol::Udp] {
                        for traffic in &traffics {
                            let case = Self::new(method, family, protocol, *traffic);
                            cases.extend(case.with(services, servers));
                        }
                    }
                }
            }
        }
        let mut each = Vec::new();
        for case in cases {
            if !each.contains(&case) {
                each.push(case);
            }
        }
        each
    }

    /// How many flows are established before; `None` if it is about others.
    pub(crate) const fn flows(&self) -> Option<u32> {
        match self.traffic {
            Traffic::Established(flows) => Some(flows),
            Traffic::Foreign
            | Traffic::New
            | Traffic::Full
            | Traffic::Flood
            | Traffic::Stateless(_) => None,
        }
    }

    /// The packets that are measured.
    pub(crate) const fn packet(&self) -> Packet {
        match self.traffic {
            Traffic::Foreign => Packet::Foreign,
            Traffic::Established(_) if matches!(self.method, Method::Reply) => Packet::Reply,
            Traffic::Established(_) => Packet::Request,
            Traffic::New | Traffic::Full | Traffic::Flood | Traffic::Stateless(_) => {
                Packet::Opening
            }
        }
    }

    /// With so many services and servers, if that can be.
    fn with(self, services: u32, servers: u32) -> Option<Self> {
        let is_reply = self.method == Method::Reply;
        let begins = !matches!(self.traffic, Traffic::Established(_));
        if is_reply && begins || self.method.is_masquerading() && servers > 3 {
            return None;
        }
        Some(Self {
            services,
            servers: if servers == 3 { self.servers } else { servers },
            // A Maglev table for each of so many would not fit.
            scheduler: if services > 1 {
                Scheduler::Rr
            } else {
                self.scheduler
            },
            ..self
        })
    }

    /// Whether all of these are in its name, each as a word or several.
    pub(crate) fn is_meant_by(&self, words: &[String]) -> bool {
        has_words(&self.to_string(), words)
    }
}

/// Whether all of these are in a name, each as a word or several.
pub(crate) fn has_words(name: &str, words: &[String]) -> bool {
    let name = format!("-{name}-");
    words.iter().all(|word| name.contains(&format!("-{word}-")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_case_is_meant_by_words_of_its_name() {
        let case = Case {
            services: 64,
            ..Case::new(
                Method::Reply,
                Family::V6,
                Protocol::Udp,
                Traffic::Established(1_024),
            )
        };
        assert_eq!(
            case.to_string(),
            "nat-reply-v6-udp-established-1024-64-services"
        );
        let table: [(&[&str], bool); 7] = [
            (&[], true),
            (&["nat"], true),
            (&["udp", "v6"], true),
            (&["established-1024"], true),
            (&["established-1"], false),
            (&["nat", "tcp"], false),
            (&["1024-64"], true),
        ];
        for (words, is_meant) in table {
            let words: Vec<_> = words.iter().map(|word| (*word).to_owned()).collect();
            assert_eq!(case.is_meant_by(&words), is_meant, "{words:?}");
        }
    }

    #[test]
    fn no_two_cases_have_one_name() {
        let mut names: Vec<_> = Case::all().iter().map(Case::to_string).collect();
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all);
        for case in Case::important() {
            assert!(names.contains(&case.to_string()), "{case}");
        }
    }
}
