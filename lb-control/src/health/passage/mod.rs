//! Checks at virtual addresses, by the way that packets of clients take: to one server's hardware address, or to it in
//! a tunnel, and straight back to the director (`check_at = vip`).
//!
//! - `framing`: what is done to frames. Bytes in, bytes out.
//! - `register`: which port belongs to which check. No socket and no clock.
//! - `filter`: the kernel hands up no more than concerns us.
//! - `ways`: how servers are reached.
//! - `relay`: frames from the cable to servers, and answers back.
//!
//! The conversation itself is the kernel's TCP or UDP, in a network namespace where the virtual address is nobody's
//! ([`Enclave`]); so every kind of check that speaks one of them is the same there.
//! [Decision 35](../../../../docs/decisions/0035-the-vip-is-probed-from-a-namespace-of-its-own.md) has the reasons.

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, OnceLock, PoisonError},
    thread,
    time::{Duration, Instant},
};

use lb_common::maps;
use nix::{ifaddrs::getifaddrs, sys::socket::LinkAddr};
use socket2::{SockAddr, Socket, Type};
use tokio::{
    net::{TcpSocket, TcpStream, UdpSocket},
    sync::{Mutex as Turn, oneshot},
};

use self::{register::Register, relay::Ears, ways::Ways};
use super::{Failure, Step};
use crate::{
    desired::reached_by,
    model::{Forwarding, RealServer},
    network::{
        enclave::{Enclave, domain},
        next_hop::Resolution,
        packets,
    },
};

mod filter;
mod framing;
mod register;
mod relay;
mod ways;

/// How long a server whose way is not known is waited for.
const PATIENCE: Duration = Duration::from_secs(1);

/// How long packets of a check are taken along after its limit: the ends of connections.
const AFTERWARDS: Duration = Duration::from_secs(15);

/// The pause after which it is tried again to make what could not be made.
const AGAIN: Duration = Duration::from_secs(10);

/// A server that is checked at virtual addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Through {
    /// The virtual addresses; never none.
    pub addresses: Vec<IpAddr>,
    /// The real server.
    pub server: SocketAddr,
    /// How packets reach it.
    pub forwarding: Forwarding,
}

/// Which way a check goes.
pub(super) enum Way {
    /// That of packets of clients.
    Passage(Passage),
    /// The server is the director itself, which is asked without any detour.
    Local,
}

/// The way to one server.
pub(super) struct Passage {
    hall: Arc<Hall>,
    server: maps::Server,
    link: LinkAddr,
    /// The address that the director sends from, of the server's family.
    source: Option<IpAddr>,
    /// How long the register keeps a check that says nothing.
    idle: Duration,
}

/// What all such checks have in common: one for each process.
struct Hall {
    enclave: Enclave,
    register: Mutex<Register>,
    ways: Ways,
    ears: Ears,
    /// Where frames leave, by the index of the interface.
    links: Mutex<HashMap<u32, LinkAddr>>,
}

static HALL: OnceLock<Arc<Hall>> = OnceLock::new();

/// Why there is no hall, and since when; whoever has this makes one.
static MISSING: Turn<Option<(Instant, String)>> = Turn::const_new(None);

/// Makes what such checks take, unless it is there.
///
/// # Errors
/// Why that cannot be; the check was not made then.
async fn hall() -> Result<Arc<Hall>, Failure> {
    if let Some(hall) = HALL.get() {
        return Ok(Arc::clone(hall));
    }
    let mut missing = MISSING.lock().await;
    if let Some(hall) = HALL.get() {
        return Ok(Arc::clone(hall));
    }
    if let Some((since, why)) = &*missing
        && since.elapsed() < AGAIN
    {
        return Err(Failure::Untried { error: why.clone() });
    }
    match build().await {
        Ok(hall) => Ok(Arc::clone(HALL.get_or_init(|| hall))),
        Err(why) => {
            let error = format!("no way to virtual addresses (check_at = vip): {why}");
            *missing = Some((Instant::now(), error.clone()));
            Err(Failure::Untried { error })
        }
    }
}

/// Starts the thread that everything goes through. It stays in the network namespace of the caller's, and ends with the
/// process.
async fn build() -> Result<Arc<Hall>, String> {
    let (told, built) = oneshot::channel();
    let spawned = thread::Builder::new()
        .name("passage".to_owned())
        .spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            match runtime {
                Ok(runtime) => runtime.block_on(relay::run(told)),
                Err(error) => drop(told.send(Err(error.to_string()))),
            }
        });
    spawned.map_err(|error| error.to_string())?;
    built
        .await
        .unwrap_or_else(|_ended| Err("its thread has ended".to_owned()))
}

impl Through {
    /// The way to the server as it is now, for a check at `address` that may take so long.
    ///
    /// # Errors
    /// If there is none: the server's failure, or the director's.
    pub(super) async fn way(&self, address: SocketAddr, limit: Duration) -> Result<Way, Failure> {
        let hall = hall().await?;
        let failure = |error: String| Failure::Step {
            step: Step::Connect,
            server: address,
            error,
        };
        let way = hall.ways.to(self.server.ip(), PATIENCE.min(limit)).await;
        let source = match &way {
            Some(Resolution::Resolved(hop)) => hop.source,
            Some(Resolution::Local) => return Ok(Way::Local),
            Some(Resolution::Unresolved { reason }) => return Err(failure(reason.clone())),
            None => return Err(failure(format!("no way to {} yet", self.server.ip()))),
        };
        let real = RealServer::new("", self.server, self.forwarding, 1);
        let server = reached_by(way.as_ref(), &real, address.port());
        if server.hop.interface == 0 {
            let why = format!("no address to send from to {}", self.server.ip());
            return Err(failure(why));
        }
        let link = hall.link(server.hop.interface).map_err(failure)?;
        Ok(Way::Passage(Passage {
            hall,
            server,
            link,
            source,
            idle: limit + AFTERWARDS,
        }))
    }
}

impl Passage {
    /// A connection to a virtual address.
    ///
    /// # Errors
    /// As connecting has them; [`io::ErrorKind::Unsupported`] if the director cannot.
    pub(super) async fn stream(&self, to: SocketAddr) -> io::Result<TcpStream> {
        let socket = self.socket(to, Type::STREAM).await?;
        TcpSocket::from_std_stream(socket.into()).connect(to).await
    }

    /// A socket for datagrams to a virtual address, and from there.
    ///
    /// # Errors
    /// As [`Self::stream`].
    pub(super) async fn datagrams(&self, to: SocketAddr) -> io::Result<UdpSocket> {
        let socket = self.socket(to, Type::DGRAM).await?;
        let socket = UdpSocket::from_std(socket.into())?;
        socket.connect(to).await?;
        Ok(socket)
    }

    /// A socket whose packets to a virtual address go to this server.
    async fn socket(&self, to: SocketAddr, kind: Type) -> io::Result<Socket> {
        let source = self.source_for(to.ip())?;
        let port = self.enrol(source, to, kind)?;
        let socket = self.hall.enclave.socket(domain(source), kind).await?;
        socket.bind(&SockAddr::from(SocketAddr::new(source, port)))?;
        Ok(socket)
    }

    fn enrol(&self, source: IpAddr, to: SocketAddr, kind: Type) -> io::Result<u16> {
        let now = Instant::now();
        let entry = register::Entry {
            protocol: protocol(kind),
            source,
            to,
            server: self.server,
            link: self.link,
            idle: self.idle,
            until: now + self.idle,
        };
        let mut register = lock(&self.hall.register);
        let Some((port, is_new)) = register.enrol(entry, now) else {
            let text = "too many checks at virtual addresses are under way";
            return Err(unable(text));
        };
        if is_new {
            // Before the first packet goes.
            self.hall.ears.hear(&register)?;
        }
        Ok(port)
    }

    /// The director's own address that the server is to answer to.
    fn source_for(&self, virtual_address: IpAddr) -> io::Result<IpAddr> {
        let is_of_family = |address: &IpAddr| {
            address.is_ipv4() == virtual_address.is_ipv4() && *address != virtual_address
        };
        if let Some(source) = self.source.filter(is_of_family) {
            return Ok(source);
        }
        // In a tunnel of the other family, or where routes prefer the virtual address itself.
        let index = self.link.ifindex();
        own_address(index, virtual_address).ok_or_else(|| {
            unable(&format!(
                "the director has no address of its own from which it could ask {virtual_address}"
            ))
        })
    }
}

/// An address of the interface that is of the same family as a virtual one, and of a whole network: floating addresses
/// are mostly hosts of their own.
fn own_address(index: usize, virtual_address: IpAddr) -> Option<IpAddr> {
    let entries: Vec<_> = getifaddrs().ok()?.collect();
    let name = entries.iter().find_map(|entry| {
        let link = entry.address.as_ref()?.as_link_addr()?;
        (link.ifindex() == index).then_some(&entry.interface_name)
    })?;
    entries
        .iter()
        .filter(|entry| entry.interface_name == *name)
        .find_map(|entry| {
            let address = entry.address.as_ref()?;
            let mask = entry.netmask.as_ref()?;
            if virtual_address.is_ipv4() {
                let address = address.as_sockaddr_in()?.ip();
                let is_host = mask.as_sockaddr_in()?.ip().is_broadcast();
                (!is_host && address != virtual_address).then_some(IpAddr::V4(address))
            } else {
                let address = address.as_sockaddr_in6()?.ip();
                let is_host = mask.as_sockaddr_in6()?.ip().to_bits() == u128::MAX;
                let is_global = !address.is_unicast_link_local();
                (!is_host && is_global && address != virtual_address).then_some(IpAddr::V6(address))
            }
        })
}

impl Hall {
    /// Where frames leave by the interface of this index.
    fn link(&self, index: u32) -> Result<LinkAddr, String> {
        let mut links = lock(&self.links);
        if let Some(link) = links.get(&index) {
            return Ok(*link);
        }
        let link = packets::numbered(index).map_err(|why| why.to_string())?;
        links.insert(index, link);
        Ok(link)
    }
}

/// The number of a protocol in IP headers.
fn protocol(kind: Type) -> u8 {
    if kind == Type::STREAM {
        lb_common::wire::protocol::TCP
    } else {
        lb_common::wire::protocol::UDP
    }
}

/// The director cannot; that says nothing about the server.
fn unable(text: &str) -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, text)
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
