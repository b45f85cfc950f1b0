//! The sockets.

use std::{future::poll_fn, io, net::SocketAddr, task::Poll};

use anyhow::Context;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::{io::ReadBuf, net::UdpSocket};

use super::group;
use crate::sync::ipvs::daemon::SyncDaemon;

/// How many bytes the kernel keeps for us of what has come.
const RECEIVE_BUFFER: usize = 4 << 20;

/// The longest datagram that is read; more is cut off, and no message then.
const LONGEST: usize = 9_000;

/// A way to the partner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Path {
    /// Our address, with the port.
    pub local: SocketAddr,
    /// The partner's.
    pub partner: SocketAddr,
}

struct Way {
    socket: UdpSocket,
    /// Where to; connected sockets need none.
    partner: Option<SocketAddr>,
    receives: bool,
    sends: bool,
}

/// All ways.
pub(super) struct Ways {
    ways: Vec<Way>,
    /// By which the partner was heard last.
    best: usize,
    buffer: Vec<u8>,
}

impl Ways {
    /// Sockets for ways to a partner of ours.
    pub(super) fn to_partner(paths: &[Path]) -> anyhow::Result<Self> {
        let way = |path: &Path| -> anyhow::Result<Way> {
            let socket = socket(path.local)
                .with_context(|| format!("listening on {} for the partner", path.local))?;
            Ok(Way {
                socket,
                partner: Some(path.partner),
                receives: true,
                sends: true,
            })
        };
        Self::of(paths.iter().map(way).collect::<Result<_, _>>()?)
    }

    /// Sockets for IPVS's multicasts: those that are sent, and those that are heard.
    pub(super) fn to_groups(
        tells: Option<&SyncDaemon>,
        hears: Option<&SyncDaemon>,
    ) -> anyhow::Result<Self> {
        let about = |daemon: &SyncDaemon| {
            let SyncDaemon { interface, .. } = daemon;
            format!("{} on {interface}", daemon.group())
        };
        let mut ways = Vec::new();
        if let Some(daemon) = hears {
            ways.push(Way {
                socket: asynchronous(group::receiving(daemon).with_context(|| about(daemon))?)?,
                partner: None,
                receives: true,
                sends: false,
            });
        }
        if let Some(daemon) = tells {
            ways.push(Way {
                socket: asynchronous(group::sending(daemon).with_context(|| about(daemon))?)?,
                partner: None,
                receives: false,
                sends: true,
            });
        }
        Self::of(ways)
    }

    fn of(ways: Vec<Way>) -> anyhow::Result<Self> {
        anyhow::ensure!(!ways.is_empty(), "there is no way to the partner");
        let best = ways.iter().position(|way| way.sends).unwrap_or(0);
        Ok(Self {
            ways,
            best,
            buffer: vec![0; LONGEST],
        })
    }

    /// The next datagram from the partner, and the way that it came.
    pub(super) async fn receive(&mut self) -> (usize, &[u8]) {
        let Self { ways, buffer, .. } = self;
        let (way, length) = poll_fn(|context| {
            for (place, way) in ways.iter().enumerate().filter(|(_, way)| way.receives) {
                loop {
                    let mut bytes = ReadBuf::new(buffer);
                    match way.socket.poll_recv_from(context, &mut bytes) {
                        Poll::Ready(Ok(from)) => {
                            let is_partner =
                                way.partner.is_none_or(|partner| partner.ip() == from.ip());
                            if is_partner {
                                return Poll::Ready((place, bytes.filled().len()));
                            }
                        }
                        // What was sent came back as an error (port unreachable): nobody listens there.
                        Poll::Ready(Err(_)) => {}
                        Poll::Pending => break,
                    }
                }
            }
            Poll::Pending
        })
        .await;
        (way, self.buffer.get(..length).unwrap_or_default())
    }

    /// The partner was heard by this way.
    pub(super) fn prefer(&mut self, way: usize) {
        if self.ways.get(way).is_some_and(|way| way.sends) {
            self.best = way;
        }
    }

    /// Sends a datagram. What the kernel does not take is lost as on the way.
    pub(super) fn send(&self, bytes: &[u8], is_for_all: bool) {
        for (place, way) in self.ways.iter().enumerate() {
            if !way.sends || (!is_for_all && place != self.best) {
                continue;
            }
            let _ = match way.partner {
                Some(partner) => way.socket.try_send_to(bytes, partner),
                None => way.socket.try_send(bytes),
            };
        }
    }
}

fn socket(local: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(local), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_reuse_address(true)?;
    // The interface may come up later.
    match local {
        SocketAddr::V4(_) => socket.set_freebind_v4(true)?,
        SocketAddr::V6(_) => {
            socket.set_freebind_v6(true)?;
            socket.set_only_v6(true)?;
        }
    }
    socket.bind(&local.into())?;
    asynchronous(socket)
}

fn asynchronous(socket: Socket) -> io::Result<UdpSocket> {
    // As much as the kernel allows.
    let _ = socket.set_recv_buffer_size(RECEIVE_BUFFER);
    socket.set_nonblocking(true)?;
    UdpSocket::from_std(socket.into())
}
