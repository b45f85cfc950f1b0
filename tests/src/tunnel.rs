//! The far end of an IP-in-IP tunnel: unwraps packets that are sent to a real server.
//!
//! A real server would have `ipip` and `ip6tnl` devices. Kernels without modules often lack them,
//! so the lab unwraps in a few lines of its own, on any kernel the same: the outer header is checked
//! and taken away by a raw socket, and another one puts the inner packet on the host's own doorstep.

use std::{
    io::Read,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread::JoinHandle,
};

use anyhow::{Context, Result};
use socket2::{Domain, Protocol, Socket, Type};

use crate::host::Host;

/// `IPPROTO_IPIP` and `IPPROTO_IPV6`: what is inside.
const INNER_PROTOCOLS: [i32; 2] = [4, 41];
/// `IPPROTO_RAW`: what is sent has its IP header already.
const WITH_HEADER: i32 = 255;

/// Unwraps IPv4 and IPv6 in IPv4 and IPv6, until it is dropped.
#[derive(Debug)]
pub struct TunnelEnd {
    unwrapped: Arc<AtomicU64>,
    workers: Vec<(Arc<Socket>, Option<JoinHandle<()>>)>,
}

/// Where inner packets go on.
#[derive(Debug)]
struct Doorstep {
    v4: Socket,
    v6: Socket,
}

impl TunnelEnd {
    /// Starts to unwrap what the host gets.
    pub fn open(host: &Host) -> Result<Self> {
        let unwrapped = Arc::new(AtomicU64::new(0));
        let mut workers = Vec::new();
        let (sockets, doorstep) = host.inside(open_sockets)?;
        for (domain, socket) in sockets {
            let (outer, count) = (Arc::clone(&socket), Arc::clone(&unwrapped));
            let doorstep = Arc::clone(&doorstep);
            let worker = std::thread::spawn(move || unwrap_all(domain, &outer, &doorstep, &count));
            workers.push((socket, Some(worker)));
        }
        Ok(Self { unwrapped, workers })
    }

    /// How many packets came through the tunnel.
    pub fn packets(&self) -> u64 {
        self.unwrapped.load(Ordering::Relaxed)
    }
}

impl Drop for TunnelEnd {
    fn drop(&mut self) {
        for (socket, worker) in &mut self.workers {
            // Wakes the reader, although it says that the socket is not connected.
            drop(socket.shutdown(Shutdown::Both));
            if let Some(worker) = worker.take() {
                drop(worker.join());
            }
        }
    }
}

type Sockets = Vec<(Domain, Arc<Socket>)>;

fn open_sockets() -> Result<(Sockets, Arc<Doorstep>)> {
    let mut sockets = Vec::new();
    for domain in [Domain::IPV4, Domain::IPV6] {
        for protocol in INNER_PROTOCOLS {
            sockets.push((domain, Arc::new(raw_socket(domain, protocol)?)));
        }
    }
    let v4 = raw_socket(Domain::IPV4, WITH_HEADER)?;
    let v6 = raw_socket(Domain::IPV6, WITH_HEADER)?;
    Ok((sockets, Arc::new(Doorstep { v4, v6 })))
}

fn raw_socket(domain: Domain, protocol: i32) -> Result<Socket> {
    Socket::new(domain, Type::RAW, Some(Protocol::from(protocol)))
        .with_context(|| format!("raw socket for IP protocol {protocol}"))
}

fn unwrap_all(domain: Domain, outer: &Socket, doorstep: &Doorstep, unwrapped: &AtomicU64) {
    let mut buffer = vec![0; 1 << 16];
    loop {
        let mut reader = outer;
        let Ok(length @ 1..) = reader.read(&mut buffer) else {
            return;
        };
        if let Some(inner) = inner_packet(domain, &buffer[..length])
            && doorstep.send(inner).is_some()
        {
            unwrapped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Raw sockets give IPv4 packets with their header, IPv6 packets without.
fn inner_packet(domain: Domain, received: &[u8]) -> Option<&[u8]> {
    if domain == Domain::IPV6 {
        return Some(received);
    }
    let words = usize::from(received.first()? & 0x0f);
    received.get(words * 4..)
}

impl Doorstep {
    fn send(&self, inner: &[u8]) -> Option<()> {
        let (socket, destination) = match inner.first()? >> 4 {
            4 => (
                &self.v4,
                IpAddr::V4(Ipv4Addr::from(*inner.get(16..)?.first_chunk::<4>()?)),
            ),
            6 => (
                &self.v6,
                IpAddr::V6(Ipv6Addr::from(*inner.get(24..)?.first_chunk::<16>()?)),
            ),
            _ => return None,
        };
        socket
            .send_to(inner, &SocketAddr::new(destination, 0).into())
            .ok()
            .map(drop)
    }
}
