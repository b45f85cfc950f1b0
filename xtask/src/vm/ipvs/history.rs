//! A history: a virtual service of IPVS, and what happens to it, one event after the other.

use std::{
    fmt::{self, Display, Formatter},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

/// A service and what happens to it.
#[derive(Clone, Debug)]
pub(super) struct History {
    /// What it shows, in a few words.
    pub(super) title: String,
    pub(super) service: Service,
    pub(super) events: Vec<Event>,
}

/// A virtual service.
#[derive(Clone, Debug)]
pub(super) struct Service {
    pub(super) protocol: Protocol,
    pub(super) front: Front,
    pub(super) scheduler: &'static str,
    /// As after `ipvsadm -b`.
    pub(super) flags: Option<&'static str>,
    pub(super) persistence: Option<Persistence>,
    /// One packet, one connection (`ipvsadm -o`).
    pub(super) one_packet: bool,
}

/// What clients send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    Tcp,
    Udp,
}

/// What is balanced: one address, or all packets with a mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Front {
    Address(SocketAddr),
    /// Every packet of a marked history has the mark 7, whichever its destination.
    Mark4,
    Mark6,
}

/// Clients come back to their server.
#[derive(Clone, Copy, Debug)]
pub(super) struct Persistence {
    pub(super) seconds: u32,
    /// As after `ipvsadm -M`.
    pub(super) mask: Option<&'static str>,
}

/// A real server has a letter by which it is known.
pub(super) type Name = char;

/// What a real server is given.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms {
    pub(super) weight: u32,
    /// `ipvsadm -x`; 0 is none.
    pub(super) upper: u32,
    /// `ipvsadm -y`; 0 is three quarters of the upper one.
    pub(super) lower: u32,
}

/// One thing that happens.
#[derive(Clone, Debug)]
pub(super) enum Event {
    Add(Name, SocketAddr, Terms),
    Set(Name, Terms),
    Remove(Name),
    /// A packet from a client to the service.
    Packet(Packet),
    /// These connections are silent until IPVS has forgotten them.
    End(Vec<Tuple>),
    /// All connections are forgotten, persistence too.
    Idle,
    /// How many connections each server has.
    Counts,
    /// A setting below `/proc/sys/net/ipv4/vs`.
    Setting(&'static str, &'static str),
    Remark(&'static str),
}

/// From where to where.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Tuple {
    pub(super) client: SocketAddr,
    pub(super) front: SocketAddr,
}

/// A packet of a client.
#[derive(Clone, Copy, Debug)]
pub(super) struct Packet {
    pub(super) step: Step,
    pub(super) tuple: Tuple,
}

/// What a packet does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// A SYN, or a datagram.
    New,
    /// An ACK, or one more datagram.
    Again,
    /// FIN and ACK.
    Fin,
    /// RST.
    Reset,
}

impl Terms {
    pub(super) fn weight(weight: u32) -> Self {
        Self {
            weight,
            upper: 0,
            lower: 0,
        }
    }
}

/// The virtual address of services that have one.
const FRONT4: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 100));
const FRONT6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x64));
const PORT: u16 = 80;

impl History {
    /// A UDP service: every connection is inactive.
    pub(super) fn udp(title: &str, scheduler: &'static str) -> Self {
        Self::of(
            Protocol::Udp,
            Front::Address((FRONT4, PORT).into()),
            title,
            scheduler,
        )
    }

    /// A TCP service: connections are active from the SYN to a FIN.
    pub(super) fn tcp(title: &str, scheduler: &'static str) -> Self {
        Self {
            service: Service {
                protocol: Protocol::Tcp,
                ..Self::udp(title, scheduler).service
            },
            ..Self::udp(title, scheduler)
        }
    }

    /// As [`History::udp`], of IPv6.
    pub(super) fn udp6(title: &str, scheduler: &'static str) -> Self {
        Self::of(
            Protocol::Udp,
            Front::Address((FRONT6, PORT).into()),
            title,
            scheduler,
        )
    }

    /// As [`History::tcp`], of IPv6.
    pub(super) fn tcp6(title: &str, scheduler: &'static str) -> Self {
        Self::of(
            Protocol::Tcp,
            Front::Address((FRONT6, PORT).into()),
            title,
            scheduler,
        )
    }

    /// UDP to any address, by mark.
    pub(super) fn mark(title: &str, scheduler: &'static str) -> Self {
        Self::of(Protocol::Udp, Front::Mark4, title, scheduler)
    }

    /// As [`History::mark`], of TCP.
    pub(super) fn mark_tcp(title: &str, scheduler: &'static str) -> Self {
        Self::of(Protocol::Tcp, Front::Mark4, title, scheduler)
    }

    /// As [`History::mark`], of IPv6.
    pub(super) fn mark6(title: &str, scheduler: &'static str) -> Self {
        Self::of(Protocol::Udp, Front::Mark6, title, scheduler)
    }

    fn of(protocol: Protocol, front: Front, title: &str, scheduler: &'static str) -> Self {
        Self {
            title: title.to_owned(),
            service: Service {
                protocol,
                front,
                scheduler,
                flags: None,
                persistence: None,
                one_packet: false,
            },
            events: Vec::new(),
        }
    }

    pub(super) fn flags(mut self, flags: &'static str) -> Self {
        self.service.flags = Some(flags);
        self
    }

    pub(super) fn persistent(mut self, seconds: u32, mask: Option<&'static str>) -> Self {
        self.service.persistence = Some(Persistence { seconds, mask });
        self
    }

    pub(super) fn one_packet(mut self) -> Self {
        self.service.one_packet = true;
        self
    }

    pub(super) fn event(mut self, event: Event) -> Self {
        self.events.push(event);
        self
    }

    /// Servers `a`, `b`, … with these weights, at addresses that follow each other.
    pub(super) fn weights(self, weights: &[u32]) -> Self {
        let servers = ('a'..).zip(weights);
        servers.fold(self, |history, (name, weight)| history.add(name, *weight))
    }

    pub(super) fn add(self, name: Name, weight: u32) -> Self {
        self.add_with(name, Terms::weight(weight))
    }

    pub(super) fn add_with(self, name: Name, terms: Terms) -> Self {
        let number = name as u16 - 'a' as u16 + 1;
        let address = match self.service.front.is_ipv6() {
            false => IpAddr::V4(Ipv4Addr::new(10, 1, 0, number as u8)),
            true => IpAddr::V6(Ipv6Addr::new(0xfd00, 1, 0, 0, 0, 0, 0, number)),
        };
        let port = match self.service.front {
            Front::Address(_) => PORT,
            Front::Mark4 | Front::Mark6 => 0,
        };
        self.add_at(name, (address, port).into(), terms)
    }

    pub(super) fn add_at(self, name: Name, address: SocketAddr, terms: Terms) -> Self {
        self.event(Event::Add(name, address, terms))
    }

    pub(super) fn weight(self, name: Name, weight: u32) -> Self {
        self.event(Event::Set(name, Terms::weight(weight)))
    }

    pub(super) fn remove(self, name: Name) -> Self {
        self.event(Event::Remove(name))
    }

    pub(super) fn counts(self) -> Self {
        self.event(Event::Counts)
    }

    pub(super) fn remark(self, text: &'static str) -> Self {
        self.event(Event::Remark(text))
    }

    /// New connections of these clients.
    pub(super) fn connect(self, clients: impl IntoIterator<Item = u16>) -> Self {
        self.packets(Step::New, clients)
    }

    /// New connections of these clients, each of which is used at once.
    pub(super) fn established(self, clients: impl IntoIterator<Item = u16>) -> Self {
        clients.into_iter().fold(self, |history, client| {
            history.connect([client]).again([client])
        })
    }

    /// Connections of these clients that are given up at once, and inactive then.
    pub(super) fn closing(self, clients: impl IntoIterator<Item = u16>) -> Self {
        clients.into_iter().fold(self, |history, client| {
            history.connect([client]).fin([client])
        })
    }

    pub(super) fn again(self, clients: impl IntoIterator<Item = u16>) -> Self {
        self.packets(Step::Again, clients)
    }

    pub(super) fn fin(self, clients: impl IntoIterator<Item = u16>) -> Self {
        self.packets(Step::Fin, clients)
    }

    pub(super) fn reset(self, clients: impl IntoIterator<Item = u16>) -> Self {
        self.packets(Step::Reset, clients)
    }

    /// The connections of these clients end; they have to be established, or of UDP.
    pub(super) fn end(self, clients: impl IntoIterator<Item = u16>) -> Self {
        let tuples = clients.into_iter().map(|client| self.tuple(client));
        let event = Event::End(tuples.collect());
        self.event(event)
    }

    /// A packet from a client to a destination of one's own choice.
    pub(super) fn packet(self, step: Step, client: SocketAddr, front: SocketAddr) -> Self {
        let tuple = Tuple { client, front };
        self.event(Event::Packet(Packet { step, tuple }))
    }

    /// A new connection from an address of one's own choice.
    pub(super) fn connect_from(self, client: SocketAddr) -> Self {
        let front = self.tuple(0).front;
        self.packet(Step::New, client, front)
    }

    /// New connections of client 0 to the destinations of these numbers.
    pub(super) fn connect_to(self, destinations: impl IntoIterator<Item = u16>) -> Self {
        destinations.into_iter().fold(self, |history, number| {
            let tuple = history.toward(number);
            history.packet(Step::New, tuple.client, tuple.front)
        })
    }

    /// The same, each connection used at once.
    pub(super) fn established_to(self, destinations: impl IntoIterator<Item = u16>) -> Self {
        destinations.into_iter().fold(self, |history, number| {
            let tuple = history.toward(number);
            history.packet(Step::New, tuple.client, tuple.front).packet(
                Step::Again,
                tuple.client,
                tuple.front,
            )
        })
    }

    fn packets(self, step: Step, clients: impl IntoIterator<Item = u16>) -> Self {
        clients.into_iter().fold(self, |history, client| {
            let tuple = history.tuple(client);
            history.event(Event::Packet(Packet { step, tuple }))
        })
    }

    fn tuple(&self, client: u16) -> Tuple {
        let front = match self.service.front {
            Front::Address(front) => front,
            Front::Mark4 | Front::Mark6 => self.destination(0),
        };
        Tuple {
            client: self.client(client),
            front,
        }
    }

    /// A connection to a destination; its own client port makes it another one than those before.
    fn toward(&self, number: u16) -> Tuple {
        let mut client = self.client(0);
        client.set_port(1024 + self.events.len() as u16);
        Tuple {
            client,
            front: self.destination(number),
        }
    }

    /// Clients of consecutive numbers have different addresses and different ports.
    fn client(&self, number: u16) -> SocketAddr {
        let [high, low] = [number / 250, number % 250 + 1];
        let address = match self.service.front.is_ipv6() {
            false => IpAddr::V4(Ipv4Addr::new(198, 18, high as u8, low as u8)),
            true => IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0xc, high, 0, 0, 0, low)),
        };
        (address, 1024 + number).into()
    }

    fn destination(&self, number: u16) -> SocketAddr {
        let [high, low] = [number / 250, number % 250 + 1];
        let address = match self.service.front.is_ipv6() {
            false => IpAddr::V4(Ipv4Addr::new(10, 5, high as u8, low as u8)),
            true => IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 5, high, 0, 0, 0, low)),
        };
        (address, PORT).into()
    }
}

impl Front {
    pub(super) fn is_ipv6(self) -> bool {
        match self {
            Self::Address(address) => address.is_ipv6(),
            Self::Mark4 => false,
            Self::Mark6 => true,
        }
    }
}

impl Display for Service {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let protocol = match self.protocol {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
        };
        write!(f, "service {protocol} ")?;
        match self.front {
            Front::Address(address) => write!(f, "{address}")?,
            Front::Mark4 | Front::Mark6 => write!(f, "mark")?,
        }
        write!(f, " {}", self.scheduler)?;
        if let Some(flags) = self.flags {
            write!(f, " flags {flags}")?;
        }
        if let Some(Persistence { seconds, mask }) = self.persistence {
            write!(f, " persistent {seconds}")?;
            if let Some(mask) = mask {
                write!(f, " mask {mask}")?;
            }
        }
        if self.one_packet {
            write!(f, " ops")?;
        }
        Ok(())
    }
}

impl Display for Terms {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "weight {}", self.weight)?;
        if self.upper > 0 || self.lower > 0 {
            write!(f, " upper {} lower {}", self.upper, self.lower)?;
        }
        Ok(())
    }
}

impl Display for Step {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::New => "new",
            Self::Again => "again",
            Self::Fin => "fin",
            Self::Reset => "reset",
        })
    }
}
