//! The far end of a tunnel: unwraps packets that are sent to a real server.
//!
//! A real server would have `ipip`, `ip6tnl`, `gre` and `fou` devices. Kernels without modules often
//! lack them, so the lab unwraps in a few lines of its own, on any kernel the same: the outer headers
//! are checked and taken away by a raw socket, and another one puts the inner packet on the host's own
//! doorstep.

mod shim;

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, UdpSocket},
    os::fd::AsRawFd,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread::JoinHandle,
};

use anyhow::{Context, Result};
use nix::sys::socket::{SockaddrStorage, recvfrom};
use socket2::{Domain, Protocol, Socket, Type};

use crate::{
    address::{FAMILIES, Family},
    host::Host,
};
pub use shim::GUE_PORT;

/// `IPPROTO_IPIP`, `IPPROTO_IPV6`, `IPPROTO_GRE` and `IPPROTO_UDP`: what stands behind the outer header.
const PROTOCOLS: [i32; 4] = [shim::IPIP, shim::IPV6, shim::GRE, shim::UDP];
/// `IPPROTO_RAW`: what is sent has its IP header already.
const WITH_HEADER: i32 = 255;

/// Unwraps IPv4 and IPv6 in IPv4 and IPv6, bare or behind GRE or GUE headers, until it is dropped.
/// What has a wrong checksum outside is thrown away.
#[derive(Debug)]
pub struct TunnelEnd {
    counts: Arc<Counts>,
    workers: Vec<(Arc<Socket>, Option<JoinHandle<()>>)>,
    /// While they are open the kernel does not answer that nobody listens on the port.
    listeners: Vec<UdpSocket>,
}

/// Packets that came through.
#[derive(Debug, Default)]
struct Counts {
    /// Wrapped in IPv4.
    v4: AtomicU64,
    /// Wrapped in IPv6.
    v6: AtomicU64,
    /// With a checksum outside.
    checked: AtomicU64,
}

/// One outer family and protocol.
struct Worker {
    outer: Arc<Socket>,
    protocol: i32,
    /// The host's own address, of which raw sockets for IPv6 do not tell.
    own: IpAddr,
    doorstep: Arc<Doorstep>,
    counts: Arc<Counts>,
}

/// Where inner packets go on.
#[derive(Debug)]
struct Doorstep {
    v4: Socket,
    v6: Socket,
}

impl TunnelEnd {
    /// Starts to unwrap what the host gets as the real server of this number.
    pub fn open(host: &Host, index: u8) -> Result<Self> {
        let mut end = Self {
            counts: Arc::default(),
            workers: Vec::new(),
            listeners: Vec::new(),
        };
        host.inside(|| {
            let doorstep = Arc::new(Doorstep {
                v4: raw_socket(Domain::IPV4, WITH_HEADER)?,
                v6: raw_socket(Domain::IPV6, WITH_HEADER)?,
            });
            for (domain, family) in [(Domain::IPV4, Family::V4), (Domain::IPV6, Family::V6)] {
                let own = family.server(index);
                end.listeners.push(UdpSocket::bind((own, GUE_PORT))?);
                for protocol in PROTOCOLS {
                    end.start(Worker {
                        outer: Arc::new(raw_socket(domain, protocol)?),
                        protocol,
                        own,
                        doorstep: Arc::clone(&doorstep),
                        counts: Arc::clone(&end.counts),
                    });
                }
            }
            Ok(())
        })?;
        Ok(end)
    }

    fn start(&mut self, worker: Worker) {
        let outer = Arc::clone(&worker.outer);
        let thread = std::thread::spawn(move || worker.work());
        self.workers.push((outer, Some(thread)));
    }

    /// How many packets came through the tunnel.
    pub fn packets(&self) -> u64 {
        FAMILIES.map(|outer| self.packets_in(outer)).iter().sum()
    }

    /// How many of them were wrapped in packets of this family.
    pub fn packets_in(&self, outer: Family) -> u64 {
        self.counts.of(outer).load(Ordering::Relaxed)
    }

    /// How many of them had a right checksum outside.
    pub fn checked_packets(&self) -> u64 {
        self.counts.checked.load(Ordering::Relaxed)
    }
}

impl Counts {
    fn of(&self, outer: Family) -> &AtomicU64 {
        match outer {
            Family::V4 => &self.v4,
            Family::V6 => &self.v6,
        }
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

fn raw_socket(domain: Domain, protocol: i32) -> Result<Socket> {
    Socket::new(domain, Type::RAW, Some(Protocol::from(protocol)))
        .with_context(|| format!("raw socket for IP protocol {protocol}"))
}

impl Worker {
    fn work(self) {
        let mut buffer = vec![0; 1 << 16];
        loop {
            let Ok((length @ 1.., from)) =
                recvfrom::<SockaddrStorage>(self.outer.as_raw_fd(), &mut buffer)
            else {
                return;
            };
            let Some((source, payload)) = self.payload(&buffer[..length], from) else {
                continue;
            };
            let Some(unwrapped) = shim::unwrap(self.protocol, (source, self.own), payload) else {
                continue;
            };
            let outer = if self.own.is_ipv4() {
                Family::V4
            } else {
                Family::V6
            };
            // Counted before it goes on: whoever gets it may look at once.
            self.counts.of(outer).fetch_add(1, Ordering::Relaxed);
            if unwrapped.is_checked {
                self.counts.checked.fetch_add(1, Ordering::Relaxed);
            }
            // One that nobody takes is lost, as on any network.
            let _ = self.doorstep.send(unwrapped.packet);
        }
    }

    /// Who sent it, and what is behind the outer IP header. Raw sockets give IPv4 packets with their
    /// header, IPv6 packets without.
    fn payload<'a>(
        &self,
        received: &'a [u8],
        from: Option<SockaddrStorage>,
    ) -> Option<(IpAddr, &'a [u8])> {
        if self.own.is_ipv6() {
            let source = from?.as_sockaddr_in6()?.ip();
            return Some((source.into(), received));
        }
        let words = usize::from(received.first()? & 0x0f);
        let source = *received.get(12..)?.first_chunk::<4>()?;
        Some((source.into(), received.get(words * 4..)?))
    }
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
