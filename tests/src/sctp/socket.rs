//! A raw socket that is bound to an address of its host.

use std::{
    net::{IpAddr, Shutdown, SocketAddr},
    os::fd::AsRawFd,
    time::Duration,
};

use anyhow::{Context, Result};
use nix::sys::socket::{SockaddrStorage, recvfrom};
use socket2::{Domain, Protocol, Socket, Type};

use super::packet::{Packet, SCTP};

/// Gets every SCTP packet for its address, whatever the port.
#[derive(Debug)]
pub(super) struct RawSocket(Socket);

impl RawSocket {
    /// Called on the host.
    pub(super) fn bind(address: IpAddr) -> Result<Self> {
        let address = SocketAddr::new(address, 0);
        let domain = Domain::for_address(address);
        let socket = Socket::new(domain, Type::RAW, Some(Protocol::from(SCTP)))?;
        socket
            .bind(&address.into())
            .with_context(|| format!("a raw socket for {address}"))?;
        Ok(Self(socket))
    }

    /// Waits no longer for a packet.
    pub(super) fn limit(&self, limit: Duration) -> Result<()> {
        Ok(self.0.set_read_timeout(Some(limit))?)
    }

    /// Ends the waiting of another thread.
    pub(super) fn close(&self) {
        // It says that the socket is not connected, but wakes the reader.
        drop(self.0.shutdown(Shutdown::Both));
    }

    pub(super) fn send(&self, to: IpAddr, packet: &Packet) -> Result<()> {
        let to = SocketAddr::new(to, 0).into();
        self.0.send_to(&packet.bytes(), &to).context("sending")?;
        Ok(())
    }

    /// The next packet and who sent it. An error in the packet is told apart from one of the socket.
    pub(super) fn receive(&self) -> Result<(IpAddr, Result<Packet>)> {
        let mut buffer = vec![0; 1 << 16];
        let (length, from) = recvfrom::<SockaddrStorage>(self.0.as_raw_fd(), &mut buffer)?;
        let from = from.context("the socket is closed")?;
        // Raw sockets give IPv4 packets with their header, IPv6 packets without.
        let (from, header) = if let Some(from) = from.as_sockaddr_in() {
            let words = usize::from(buffer[0] & 0x0f);
            (IpAddr::V4(from.ip()), words * 4)
        } else {
            let from = from.as_sockaddr_in6().context("of neither family")?;
            (IpAddr::V6(from.ip()), 0)
        };
        let bytes = buffer.get(header..length).context("an empty packet")?;
        Ok((from, Packet::read(bytes)))
    }
}
