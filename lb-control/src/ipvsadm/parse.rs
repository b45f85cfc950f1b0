//! From the words of a command line to what it asks for.

mod daemon;
mod flags;
mod server;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{
    address,
    command::{Columns, Command, List, Listed, Service, TunnelKind, Wish},
    complaint::Complaint,
    legality::{self, Given},
    names::Names,
    number::{ipv4, leading, within},
    option::{Kind, Scanner, Tag, Verb},
};
use crate::{
    model::{Family, Method, Protocol, ServiceAddress, ServiceId},
    sync::ipvs::daemon::SyncRole,
};

/// The longest that a client may stay, and a connection be remembered: 31 days, in seconds.
const MAX_TIMEOUT: i64 = 86_400 * 31;

/// How long clients stay if `-p` does not say, in seconds.
const PERSISTENT: u32 = 360;

/// Reads a command line; `words` is without the name of the program.
///
/// # Errors
/// What ipvsadm would say of it.
pub fn parse(program: &str, words: &[String], names: &dyn Names) -> Result<Command, Complaint> {
    let mut scanner = Scanner::new(words);
    let Some(Ok((Tag::Verb(verb), value))) = scanner.option() else {
        return Err(Complaint::try_help(program));
    };
    let mut line = Line::new(verb, names);
    match verb {
        Verb::Help => return Ok(Command::Help),
        Verb::Version => return Ok(Command::Version),
        Verb::StartDaemon => line.role(value, "illegal start-daemon parameter specified")?,
        Verb::StopDaemon => line.role(value, "illegal start_daemon specified")?,
        Verb::AddService
        | Verb::EditService
        | Verb::DeleteService
        | Verb::Flush
        | Verb::List
        | Verb::AddServer
        | Verb::DeleteServer
        | Verb::EditServer
        | Verb::Set
        | Verb::Restore
        | Verb::Save
        | Verb::Zero => {}
    }
    while let Some(option) = scanner.option() {
        match option {
            Ok((tag, value)) => line.take(tag, value.unwrap_or_default(), value, &scanner)?,
            Err(why) => {
                let text = format!("{}: {}", scanner.last(), why.text());
                return Err(Complaint::refused(text));
            }
        }
    }
    let mut left_over = scanner.left_over().into_iter();
    if verb == Verb::Set {
        line.timeouts(&mut left_over)?;
    }
    if let Some(word) = left_over.next() {
        return Err(Complaint::usage(format!("unexpected argument {word}")));
    }
    line.finish()
}

/// What is known so far of a line.
struct Line<'a> {
    verb: Verb,
    names: &'a dyn Names,
    given: Given,
    /// How `-6` is told from what has no mark.
    mark: u32,
    family: Family,
    address: IpAddr,
    port: u16,
    protocol: Option<Protocol>,
    scheduler: String,
    flags: Option<String>,
    persistent: Option<u32>,
    mask: Mask,
    engine: String,
    server: server::Said,
    daemon: daemon::Said,
    timeouts: [u32; 3],
}

/// A mask as it was read; which one holds is decided by the family of the service.
#[derive(Clone, Copy)]
enum Mask {
    V4(Ipv4Addr),
    V6(u8),
}

impl Mask {
    fn address(self) -> IpAddr {
        match self {
            Self::V4(mask) => mask.into(),
            Self::V6(prefix) => {
                let ones = u128::MAX << (128 - u32::from(prefix.clamp(1, 128)));
                Ipv6Addr::from(ones).into()
            }
        }
    }
}

impl<'a> Line<'a> {
    fn new(verb: Verb, names: &'a dyn Names) -> Self {
        Self {
            verb,
            names,
            given: Given::default(),
            mark: 0,
            family: Family::Ipv4,
            address: Ipv4Addr::UNSPECIFIED.into(),
            port: 0,
            protocol: None,
            scheduler: String::new(),
            flags: None,
            persistent: None,
            mask: Mask::V4(Ipv4Addr::BROADCAST),
            engine: String::new(),
            server: server::Said::default(),
            daemon: daemon::Said::default(),
            timeouts: [0; 3],
        }
    }

    /// Takes in an option. Those that are read in an order that matters are so with ipvsadm too.
    fn take(
        &mut self,
        tag: Tag,
        text: &str,
        value: Option<&str>,
        scanner: &Scanner<'_>,
    ) -> Result<(), Complaint> {
        match tag {
            Tag::Verb(_) => {
                let text = format!("invalid option `{}'", scanner.last());
                return Err(Complaint::usage(text));
            }
            Tag::Sort => {}
            Tag::Service(protocol) => {
                self.given.add(Kind::ServiceAddress)?;
                self.protocol = Some(protocol);
                let place = address::parse(text, self.protocol, self.names);
                let (address, port) = place.ok_or_else(|| {
                    Complaint::usage("illegal virtual server address[:port] specified")
                })?;
                self.address = address;
                self.family = Family::of(address);
                if self.family == Family::Ipv6 {
                    self.mask = Mask::V6(128);
                }
                self.port = port.unwrap_or(self.port);
            }
            Tag::Mark => {
                self.given.add(Kind::ServiceAddress)?;
                self.protocol = Some(Protocol::Tcp);
                self.mark = within(text, 1, u32::MAX.into()).ok_or_else(|| {
                    Complaint::usage(format!("invalid fwmark value `{text}' specified"))
                })?;
            }
            Tag::Ipv6 if self.mark == 0 => {
                // With an empty line after it, as ipvsadm prints it.
                return Err(Complaint::usage("-6 used before -f\n"));
            }
            Tag::Ipv6 => {
                self.family = Family::Ipv6;
                self.mask = Mask::V6(128);
            }
            Tag::Forwarding(method) => {
                self.given.add(Kind::ForwardingMethod)?;
                self.server.method = method;
            }
            Tag::Once(kind) => {
                self.given.add(kind)?;
                self.once(kind, text, value)?;
            }
        }
        Ok(())
    }

    fn once(&mut self, kind: Kind, text: &str, value: Option<&str>) -> Result<(), Complaint> {
        match kind {
            Kind::Scheduler => text.clone_into(&mut self.scheduler),
            Kind::Engine => text.clone_into(&mut self.engine),
            Kind::SchedulerFlags => self.flags = Some(text.to_owned()),
            Kind::Persistent => {
                self.persistent = Some(match value {
                    Some(text) => timeout(text, 1)?,
                    None => PERSISTENT,
                });
            }
            Kind::Netmask => self.mask = self.netmask(text)?,
            Kind::RealServer
            | Kind::Weight
            | Kind::UpperThreshold
            | Kind::LowerThreshold
            | Kind::TunType
            | Kind::TunPort => self.server_option(kind, text)?,
            Kind::McastInterface
            | Kind::SyncId
            | Kind::SyncMaxlen
            | Kind::McastGroup
            | Kind::McastPort
            | Kind::McastTtl => self.daemon.take(kind, text)?,
            // That they were given is all there is to say.
            Kind::Numeric
            | Kind::Connection
            | Kind::ServiceAddress
            | Kind::ForwardingMethod
            | Kind::Timeout
            | Kind::Daemon
            | Kind::Stats
            | Kind::Rate
            | Kind::Thresholds
            | Kind::PersistentConn
            | Kind::NoSort
            | Kind::Exact
            | Kind::OnePacket
            | Kind::TunInfo
            | Kind::TunNocsum
            | Kind::TunCsum
            | Kind::TunRemcsum => {}
        }
        Ok(())
    }

    fn netmask(&self, text: &str) -> Result<Mask, Complaint> {
        match self.family {
            Family::Ipv4 => {
                let mask = ipv4(text).or_else(|| match text {
                    "" => None,
                    text => self.names.address(text),
                });
                mask.map(Mask::V4).ok_or_else(|| {
                    Complaint::usage("illegal virtual server persistent mask specified")
                })
            }
            Family::Ipv6 => u8::try_from(leading(text))
                .ok()
                .filter(|prefix| (1..=128).contains(prefix))
                .map(Mask::V6)
                .ok_or_else(|| Complaint::usage("illegal ipv6 netmask specified")),
        }
    }

    fn role(&mut self, value: Option<&str>, otherwise: &str) -> Result<(), Complaint> {
        self.daemon.role = match value {
            Some("master") => SyncRole::Master,
            Some("backup") => SyncRole::Backup,
            _ => return Err(Complaint::usage(otherwise)),
        };
        Ok(())
    }

    fn timeouts<'w>(&mut self, words: &mut impl Iterator<Item = &'w str>) -> Result<(), Complaint> {
        let said: Vec<&str> = words.by_ref().take(3).collect();
        let [tcp, tcp_fin, udp] = said[..] else {
            return Err(Complaint::usage("--set option requires 3 timeout values"));
        };
        self.timeouts = [timeout(tcp, 0)?, timeout(tcp_fin, 0)?, timeout(udp, 0)?];
        Ok(())
    }

    fn id(&self) -> ServiceId {
        match (self.mark, self.protocol) {
            (0, protocol) => ServiceId::Address(ServiceAddress {
                address: self.address,
                port: self.port,
                protocol: protocol.unwrap_or(Protocol::Tcp),
            }),
            (mark, _) => ServiceId::Mark {
                mark,
                family: self.family,
            },
        }
    }

    /// The service, if one was named.
    fn id_given(&self) -> Option<ServiceId> {
        self.given.has(Kind::ServiceAddress).then(|| self.id())
    }

    fn finish(mut self) -> Result<Command, Complaint> {
        if self.scheduler.is_empty() {
            "wlc".clone_into(&mut self.scheduler);
        }
        let flags = match &self.flags {
            Some(text) => flags::parse(text, &self.scheduler)?,
            None => 0,
        };
        legality::check(self.verb, self.given)?;
        let wish = match self.verb {
            Verb::Help => return Ok(Command::Help),
            Verb::Version => return Ok(Command::Version),
            Verb::List => return self.list().map(Command::List),
            Verb::Save => {
                let numeric = self.given.has(Kind::Numeric);
                return Ok(Command::Save { numeric });
            }
            Verb::Restore => return Ok(Command::Restore),
            Verb::StartDaemon => Wish::StartDaemon(self.daemon.role, self.daemon.daemon()),
            Verb::StopDaemon => Wish::StopDaemon(self.daemon.role, self.daemon.syncid),
            Verb::AddService => Wish::AddService(self.service(flags)?),
            Verb::EditService => Wish::EditService(self.service(flags)?),
            Verb::DeleteService => Wish::DeleteService(self.id()),
            Verb::AddServer => Wish::AddServer(self.server()?),
            Verb::EditServer => Wish::EditServer(self.server()?),
            Verb::DeleteServer => Wish::DeleteServer(self.id(), self.server_at()),
            Verb::Flush => Wish::Clear,
            Verb::Zero => Wish::Zero(self.id_given()),
            Verb::Set => {
                let [tcp, tcp_fin, udp] = self.timeouts;
                Wish::SetTimeouts { tcp, tcp_fin, udp }
            }
        };
        Ok(Command::Change(wish))
    }

    fn service(self, flags: u32) -> Result<Service, Complaint> {
        let one_packet = self.given.has(Kind::OnePacket);
        if self.mark == 0 && self.port == 0 && self.persistent.is_none() {
            return Err(Complaint::usage(
                "Zero port specified for non-persistent service",
            ));
        }
        if one_packet && self.mark == 0 && self.protocol != Some(Protocol::Udp) {
            return Err(Complaint::usage(
                "One-Packet Scheduling is only for UDP virtual services",
            ));
        }
        Ok(Service {
            service: self.id(),
            scheduler: self.scheduler,
            flags,
            persistent: self.persistent,
            mask: self.mask.address(),
            one_packet,
            engine: self.engine,
        })
    }

    fn list(self) -> Result<List, Complaint> {
        let given = self.given;
        let tables = [Kind::Stats, Kind::Rate, Kind::Thresholds];
        let others = [Kind::Timeout, Kind::Daemon];
        let conflicts = (given.has_any(&tables)
            && (given.has_any(&others) || given.has(Kind::Connection)))
            || (given.has_any(&others) && given.has(Kind::PersistentConn));
        if conflicts {
            return Err(Complaint::usage("options conflicts in the list command"));
        }
        let what = if given.has(Kind::Connection) {
            let engines = given.has(Kind::PersistentConn);
            Listed::Connections { engines }
        } else if given.has(Kind::Timeout) {
            Listed::Timeouts
        } else if given.has(Kind::Daemon) {
            Listed::Daemons
        } else {
            let of = self.id_given();
            let columns = columns(given);
            Listed::Table { of, columns }
        };
        Ok(List {
            what,
            numeric: given.has(Kind::Numeric),
            sorted: !given.has(Kind::NoSort),
            exact: given.has(Kind::Exact),
        })
    }
}

/// Of several columns that are asked for, the first here is shown.
fn columns(given: Given) -> Columns {
    const ORDER: [(Kind, Columns); 5] = [
        (Kind::Stats, Columns::Stats),
        (Kind::Rate, Columns::Rate),
        (Kind::Thresholds, Columns::Thresholds),
        (Kind::PersistentConn, Columns::Persistent),
        (Kind::TunInfo, Columns::Tunnels),
    ];
    let found = ORDER.iter().find(|(kind, _)| given.has(*kind));
    found.map_or(Columns::Plain, |(_, columns)| *columns)
}

fn timeout(text: &str, least: i64) -> Result<u32, Complaint> {
    within(text, least, MAX_TIMEOUT)
        .ok_or_else(|| Complaint::usage(format!("invalid timeout value `{text}' specified")))
}
