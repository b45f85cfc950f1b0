//! What is said of services and real servers on the command line: `lb service` and `lb server`.

use std::{
    net::{IpAddr, SocketAddr},
    str::FromStr,
};

use clap::{
    Args, CommandFactory as _, ValueEnum,
    builder::{
        BoolishValueParser, NonEmptyStringValueParser, PossibleValuesParser, TypedValueParser,
    },
    error::ErrorKind,
};

use crate::{
    control::{
        change::{ServerTerms, ServiceTerms},
        name::Written,
    },
    model::{
        Family, Forwarding, Protocol, Refusal, Scheduler, SchedulerFlags, Selector, ServiceAddress,
        ServiceId, Tunnel,
    },
};

/// What is said of a service.
#[derive(Debug, Clone, Args)]
pub(super) struct ServiceArgs {
    /// What it is called.
    #[arg(long, value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
    name: Option<String>,
    /// Who gets the next connection; wlc if nothing is said.
    #[arg(short, long, value_name = "SCHEDULER", value_parser = scheduler())]
    scheduler: Option<Scheduler>,
    /// How a hashing scheduler works; several with commas.
    #[arg(long, value_name = "FLAGS", value_delimiter = ',', value_enum)]
    flags: Vec<Flag>,
    /// How long a client stays with its server after its last connection; 0 for not at all.
    #[arg(short, long, value_name = "SECONDS")]
    persistent: Option<u32>,
    /// Clients whose addresses this mask makes equal are one: an address, or /LENGTH.
    #[arg(long, value_name = "MASK")]
    mask: Option<Mask>,
    /// The persistence engine: it is kept for ipvsadm to list; clients are told apart by their addresses.
    #[arg(long, value_name = "NAME", value_parser = PossibleValuesParser::new(["sip", "none"]))]
    engine: Option<String>,
    /// Every datagram is scheduled by itself.
    #[arg(long, value_name = "yes|no", num_args = 0..=1, require_equals = true,
          default_missing_value = "yes", value_parser = BoolishValueParser::new())]
    one_packet: Option<bool>,
    /// What belongs to a group, repeatable: PROTOCOL:ADDRESS[:PORT[-LAST]], without a port all of them.
    #[arg(long = "match", value_name = "SELECTOR", value_parser = selector)]
    matches: Vec<Selector>,
    #[command(flatten)]
    forwarding: ForwardingArgs,
    /// What clients get while there is no server; reset if nothing is said.
    #[arg(long, value_enum)]
    refuse: Option<Refuse>,
    /// How long a server that leaves may finish what it has; 30 if nothing is said.
    #[arg(long, value_name = "SECONDS")]
    drain: Option<u32>,
    /// The server that clients get while there is no other; without a port that of the client.
    #[arg(long, value_name = "ADDRESS[:PORT]")]
    sorry_server: Option<Address>,
}

/// What is said of a real server.
#[derive(Debug, Clone, Args)]
pub(super) struct ServerArgs {
    /// What it is called.
    #[arg(long, value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
    name: Option<String>,
    /// Its share of connections, 0 for no new ones; 1 if nothing is said.
    #[arg(short, long)]
    weight: Option<u16>,
    /// With as many connections it gets no more; 0 for no limit.
    #[arg(long, visible_alias = "u-threshold", value_name = "CONNECTIONS")]
    upper: Option<u32>,
    /// With fewer it gets some again; 0 for three quarters of the upper threshold.
    #[arg(long, visible_alias = "l-threshold", value_name = "CONNECTIONS")]
    lower: Option<u32>,
    #[command(flatten)]
    forwarding: ForwardingArgs,
}

/// How packets reach real servers.
#[derive(Debug, Clone, Args)]
struct ForwardingArgs {
    /// How packets reach real servers; of a new service direct, of a server as its service says.
    #[arg(short, long, value_enum)]
    method: Option<MethodName>,
    /// What stands round the packets of a tunnel; ipip if nothing is said.
    #[arg(long, value_enum, requires = "method")]
    tunnel_type: Option<TunnelType>,
    /// The UDP port of the server's end of a gue tunnel.
    #[arg(long, value_name = "PORT", requires = "tunnel_type",
          value_parser = clap::value_parser!(u16).range(1..))]
    tunnel_port: Option<u16>,
    /// Packets of a gre or gue tunnel have a checksum.
    #[arg(long, requires = "tunnel_type")]
    tunnel_checksum: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum MethodName {
    /// Masquerading.
    Nat,
    /// Masquerading at both ends.
    Fullnat,
    /// Only the hardware address is rewritten.
    Direct,
    /// The packet travels inside another.
    Tunnel,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum TunnelType {
    Ipip,
    Gre,
    Gue,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Flag {
    /// Another server, if the one that was found is not available.
    #[value(alias = "sh-fallback", alias = "mh-fallback")]
    Fallback,
    /// The client's port is hashed too.
    #[value(alias = "sh-port", alias = "mh-port")]
    Port,
    /// IPVS's own placement for mh.
    #[value(alias = "mh-compat")]
    Compat,
    /// None of these.
    None,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Refuse {
    /// A reset for TCP, an ICMP port unreachable for all else.
    Reset,
    /// An ICMP port unreachable.
    Unreachable,
    /// Nothing.
    Drop,
}

fn scheduler() -> impl TypedValueParser<Value = Scheduler> {
    PossibleValuesParser::new(Scheduler::ALL.map(Scheduler::name)).try_map(|name| {
        let mut all = Scheduler::ALL.into_iter();
        all.find(|one| one.name() == name)
            .ok_or("there is no such scheduler")
    })
}

/// What goes together is known only after all of it was read.
pub(super) fn wrong_usage(text: &str) -> ! {
    super::Command::command()
        .error(ErrorKind::ArgumentConflict, text)
        .exit()
}

impl ServiceArgs {
    /// What was said of a service of this family.
    ///
    /// # Errors
    /// What does not go together.
    pub(super) fn terms(self, family: Family) -> Result<ServiceTerms, String> {
        let Self {
            name,
            scheduler,
            flags,
            persistent,
            mask,
            engine,
            one_packet,
            matches,
            forwarding,
            refuse,
            drain,
            sorry_server,
        } = self;
        Ok(ServiceTerms {
            name,
            scheduler,
            flags: (!flags.is_empty()).then(|| SchedulerFlags {
                fallback: flags.contains(&Flag::Fallback),
                port: flags.contains(&Flag::Port),
                compat: flags.contains(&Flag::Compat),
            }),
            persistent,
            mask: mask.map(|mask| mask.address(family)).transpose()?,
            engine: engine.map(|engine| match engine.as_str() {
                "none" => String::new(),
                _ => engine,
            }),
            one_packet,
            matches: (!matches.is_empty()).then_some(matches),
            forwarding: forwarding.forwarding()?,
            refuse: refuse.map(|refuse| match refuse {
                Refuse::Reset => Refusal::Reset,
                Refuse::Unreachable => Refusal::Unreachable,
                Refuse::Drop => Refusal::Drop,
            }),
            drain,
            sorry_server: sorry_server.map(|address| address.socket(0)),
        })
    }
}

impl ServerArgs {
    /// What was said.
    ///
    /// # Errors
    /// What does not go together.
    pub(super) fn terms(self) -> Result<ServerTerms, String> {
        let Self {
            name,
            weight,
            upper,
            lower,
            forwarding,
        } = self;
        Ok(ServerTerms {
            name,
            forwarding: forwarding.forwarding()?,
            weight,
            upper,
            lower,
        })
    }
}

impl ForwardingArgs {
    fn forwarding(&self) -> Result<Option<Forwarding>, String> {
        let Some(method) = self.method else {
            return Ok(None);
        };
        if method != MethodName::Tunnel && self.tunnel_type.is_some() {
            return Err("only --method tunnel has a --tunnel-type".to_owned());
        }
        let checksum = self.tunnel_checksum;
        let tunnel = match (self.tunnel_type, self.tunnel_port) {
            (None | Some(TunnelType::Ipip), None) if checksum => {
                return Err("an ipip tunnel has no checksum".to_owned());
            }
            (None | Some(TunnelType::Ipip), None) => Tunnel::Ipip,
            (Some(TunnelType::Gre), None) => Tunnel::Gre { checksum },
            (Some(TunnelType::Gue), Some(port)) => Tunnel::Gue { port, checksum },
            (Some(TunnelType::Gue), None) => {
                return Err("a gue tunnel needs --tunnel-port".to_owned());
            }
            (None | Some(TunnelType::Ipip | TunnelType::Gre), Some(_)) => {
                return Err("only a gue tunnel has a --tunnel-port".to_owned());
            }
        };
        Ok(Some(match method {
            MethodName::Nat => Forwarding::Nat,
            MethodName::Fullnat => Forwarding::FullNat,
            MethodName::Direct => Forwarding::Direct,
            MethodName::Tunnel => Forwarding::Tunnel { tunnel },
        }))
    }
}

/// A mask, or how many of its bits are ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mask {
    Address(IpAddr),
    Length(u32),
}

impl FromStr for Mask {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "a mask is like 255.255.255.0, ffff:ffff:: or /24".to_owned();
        match text.strip_prefix('/') {
            Some(length) => length.parse().map(Self::Length).map_err(|_| wrong()),
            None => text.parse().map(Self::Address).map_err(|_| wrong()),
        }
    }
}

impl Mask {
    fn address(self, family: Family) -> Result<IpAddr, String> {
        let too_long = |length, bits| format!("/{length} is longer than an address of {bits} bits");
        match (self, family) {
            (Self::Address(address), _) => Ok(address),
            (Self::Length(length), Family::Ipv4) => match 32_u32.checked_sub(length) {
                Some(zeros) => {
                    let bits = u32::MAX.checked_shl(zeros).unwrap_or(0);
                    Ok(IpAddr::V4(bits.into()))
                }
                None => Err(too_long(length, 32)),
            },
            (Self::Length(length), Family::Ipv6) => match 128_u32.checked_sub(length) {
                Some(zeros) => {
                    let bits = u128::MAX.checked_shl(zeros).unwrap_or(0);
                    Ok(IpAddr::V6(bits.into()))
                }
                None => Err(too_long(length, 128)),
            },
        }
    }
}

/// An address, and a port if one is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Address {
    address: IpAddr,
    port: Option<u16>,
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(socket) = text.parse::<SocketAddr>() {
            return Ok(Self {
                address: socket.ip(),
                port: Some(socket.port()),
            });
        }
        let address = text.trim_start_matches('[').trim_end_matches(']');
        match address.parse() {
            Ok(address) => Ok(Self {
                address,
                port: None,
            }),
            Err(_) => Err("an address is like 10.0.0.1, 10.0.0.1:80 or [fd00::1]:80".to_owned()),
        }
    }
}

impl Address {
    /// With this port if none is said.
    pub(super) fn socket(self, port: u16) -> SocketAddr {
        SocketAddr::new(self.address, self.port.unwrap_or(port))
    }
}

/// What a service that there is not yet is known by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NewService(pub(super) ServiceId);

impl FromStr for NewService {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match Written::parse(text) {
            Some(Written::Id(id)) => Ok(Self(id)),
            Some(Written::Socket(socket)) => Ok(Self(ServiceId::Address(ServiceAddress {
                address: socket.ip(),
                port: socket.port(),
                protocol: Protocol::Tcp,
            }))),
            None => Err(
                "a new service is like tcp:192.0.2.10:80, udp:[2001:db8::1]:53 or fwm:7; \
                         --name says what it is called"
                    .to_owned(),
            ),
        }
    }
}

/// The port of servers of which no port is said.
pub(super) fn usual_port(service: ServiceId) -> u16 {
    service.address().map_or(0, |address| address.port)
}

/// A server that comes with its service: `ADDRESS[:PORT][,weight=N][,upper=N][,lower=N][,name=NAME]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NewServer {
    pub(super) address: Address,
    pub(super) terms: ServerTerms,
}

impl FromStr for NewServer {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut words = text.split(',');
        let address = words.next().unwrap_or_default().parse()?;
        let mut terms = ServerTerms::default();
        for word in words {
            let (name, value) = word.split_once('=').unwrap_or((word, ""));
            let wrong = || format!("“{word}” is not like weight=3");
            match name {
                "weight" => terms.weight = Some(value.parse().map_err(|_| wrong())?),
                "upper" => terms.upper = Some(value.parse().map_err(|_| wrong())?),
                "lower" => terms.lower = Some(value.parse().map_err(|_| wrong())?),
                "name" if !value.is_empty() => terms.name = Some(value.to_owned()),
                _ => {
                    let known = "weight, upper, lower or name";
                    return Err(format!("“{word}” is none of {known}, with a value"));
                }
            }
        }
        Ok(Self { address, terms })
    }
}

/// `PROTOCOL:ADDRESS[:PORT[-LAST]]`.
fn selector(text: &str) -> Result<Selector, String> {
    let wrong = || {
        "a selector is like tcp:192.0.2.10:80, udp:192.0.2.10:5000-5100, tcp:192.0.2.10 or \
         esp:192.0.2.10"
            .to_owned()
    };
    let (word, rest) = text.split_once(':').ok_or_else(wrong)?;
    let protocol = [
        Protocol::Tcp,
        Protocol::Udp,
        Protocol::Sctp,
        Protocol::Ah,
        Protocol::Esp,
    ]
    .into_iter()
    .find(|protocol| word.eq_ignore_ascii_case(&protocol.to_string()))
    .ok_or_else(wrong)?;
    let (rest, last) = match rest.rsplit_once('-') {
        Some((rest, last)) => (rest, Some(last.parse().map_err(|_| wrong())?)),
        None => (rest, None),
    };
    let address: Address = rest.parse().map_err(|_: String| wrong())?;
    let (first, last) = match (protocol, address.port, last) {
        // They have no ports.
        (Protocol::Ah | Protocol::Esp, None, None) => (0, 0),
        (Protocol::Ah | Protocol::Esp, _, _) | (_, None, Some(_)) => return Err(wrong()),
        (_, None | Some(0), None) => (0, u16::MAX),
        (_, Some(port), last) => (port, last.unwrap_or(port)),
    };
    Ok(Selector {
        address: address.address,
        protocol,
        first,
        last,
    })
}

#[cfg(test)]
mod tests {
    use clap::{Command, FromArgMatches as _};

    use super::*;

    fn service(arguments: &[&str]) -> Result<ServiceTerms, String> {
        let command = ServiceArgs::augment_args(Command::new("lb").no_binary_name(true));
        let matches = command
            .try_get_matches_from(arguments)
            .map_err(|error| error.to_string())?;
        let arguments = ServiceArgs::from_arg_matches(&matches).unwrap();
        arguments.terms(Family::Ipv4)
    }

    fn server(arguments: &[&str]) -> Result<ServerTerms, String> {
        let command = ServerArgs::augment_args(Command::new("lb").no_binary_name(true));
        let matches = command
            .try_get_matches_from(arguments)
            .map_err(|error| error.to_string())?;
        ServerArgs::from_arg_matches(&matches).unwrap().terms()
    }

    #[test]
    fn options_are_terms() {
        let table: [(&[&str], &str); 11] = [
            (&[], "{}"),
            (
                &["-s", "mh", "--flags", "fallback,mh-port"],
                r#"{"scheduler":"mh","flags":{"fallback":true,"port":true,"compat":false}}"#,
            ),
            (
                &["--flags", "none"],
                r#"{"flags":{"fallback":false,"port":false,"compat":false}}"#,
            ),
            (
                &["-p", "300", "--mask", "/24"],
                r#"{"persistent":300,"mask":"255.255.255.0"}"#,
            ),
            (&["--mask", "255.255.0.0"], r#"{"mask":"255.255.0.0"}"#),
            (&["--engine", "none"], r#"{"engine":""}"#),
            (&["--one-packet"], r#"{"one_packet":true}"#),
            (&["--one-packet=no"], r#"{"one_packet":false}"#),
            (
                &[
                    "-m",
                    "tunnel",
                    "--tunnel-type",
                    "gue",
                    "--tunnel-port",
                    "6080",
                ],
                r#"{"forwarding":{"method":"tunnel","tunnel":{"gue":{"port":6080,"checksum":false}}}}"#,
            ),
            (
                &["--method", "fullnat", "--refuse", "drop", "--drain", "5"],
                r#"{"forwarding":{"method":"fullnat"},"refuse":"drop","drain":5}"#,
            ),
            (
                &["--sorry-server", "10.0.0.9", "--name", "web"],
                r#"{"name":"web","sorry_server":"10.0.0.9:0"}"#,
            ),
        ];
        for (arguments, expected) in table {
            let terms = service(arguments).unwrap_or_else(|error| panic!("{arguments:?}: {error}"));
            assert_eq!(
                serde_json::to_string(&terms).unwrap(),
                expected,
                "{arguments:?}"
            );
        }
        let terms = server(&["-w", "3", "--upper", "100", "--lower", "50", "-m", "nat"]).unwrap();
        assert_eq!(
            serde_json::to_string(&terms).unwrap(),
            r#"{"forwarding":{"method":"nat"},"weight":3,"upper":100,"lower":50}"#
        );
    }

    #[test]
    fn what_does_not_go_together_is_refused() {
        let table: [(&[&str], &str); 9] = [
            (&["-s", "best"], "best"),
            (
                &["--mask", "/33"],
                "/33 is longer than an address of 32 bits",
            ),
            (&["--mask", "24"], "a mask is like"),
            (&["--tunnel-type", "gre"], "--method"),
            (
                &["-m", "nat", "--tunnel-type", "gre"],
                "only --method tunnel",
            ),
            (&["-m", "tunnel", "--tunnel-type", "gue"], "--tunnel-port"),
            (
                &["-m", "tunnel", "--tunnel-type", "gre", "--tunnel-port", "1"],
                "only a gue tunnel",
            ),
            (
                &["-m", "tunnel", "--tunnel-type", "ipip", "--tunnel-checksum"],
                "no checksum",
            ),
            (&["--match", "icmp:192.0.2.10"], "a selector is like"),
        ];
        for (arguments, expected) in table {
            let error = service(arguments).unwrap_err();
            assert!(error.contains(expected), "{arguments:?}: {error}");
        }
    }

    #[test]
    fn selectors_are_ranges_of_ports() {
        let table = [
            ("tcp:192.0.2.10:80", Some("TCP 192.0.2.10:80")),
            ("udp:192.0.2.10:5000-5100", Some("UDP 192.0.2.10:5000-5100")),
            ("tcp:[2001:db8::1]:80", Some("TCP [2001:db8::1]:80")),
            ("tcp:192.0.2.10", Some("TCP 192.0.2.10 (all ports)")),
            ("tcp:2001:db8::1", Some("TCP 2001:db8::1 (all ports)")),
            ("esp:192.0.2.10", Some("ESP 192.0.2.10")),
            ("esp:192.0.2.10:80", None),
            ("tcp:192.0.2.10-90", None),
            ("tcp:192.0.2.10:80-x", None),
            ("192.0.2.10:80", None),
        ];
        for (text, expected) in table {
            let found = selector(text).map(|selector| selector.to_string());
            assert_eq!(found.ok().as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn servers_come_with_their_service() {
        let server: NewServer = "10.0.0.1:8080,weight=3,name=rs1".parse().unwrap();
        assert_eq!(server.address.socket(80), ([10, 0, 0, 1], 8080).into());
        assert_eq!(server.terms.weight, Some(3));
        assert_eq!(server.terms.name.as_deref(), Some("rs1"));
        let server: NewServer = "fd00::1".parse().unwrap();
        assert_eq!(server.address.socket(80).to_string(), "[fd00::1]:80");
        for wrong in [
            "rs1",
            "10.0.0.1,3",
            "10.0.0.1,weight=heavy",
            "10.0.0.1,color=red",
            "",
        ] {
            assert!(wrong.parse::<NewServer>().is_err(), "{wrong}");
        }
    }
}
