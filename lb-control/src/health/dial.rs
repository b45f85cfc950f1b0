//! Whom a check calls, and by which way.

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
};

use tokio::net::{TcpStream, UdpSocket};

use super::passage::Passage;

/// Whom a check calls: everything that speaks TCP or UDP gets its socket here.
#[derive(Clone, Copy)]
pub(super) struct Dial<'d> {
    /// The address and port.
    pub(super) address: SocketAddr,
    /// The way there, if it is not that of the kernel's routes.
    passage: Option<&'d Passage>,
}

impl<'d> Dial<'d> {
    /// As the kernel's routes lead there.
    pub(super) const fn plain(address: SocketAddr) -> Self {
        Self {
            address,
            passage: None,
        }
    }

    /// A virtual address, by the way that packets of clients take to one server.
    pub(super) const fn through(address: SocketAddr, passage: &'d Passage) -> Self {
        Self {
            address,
            passage: Some(passage),
        }
    }

    /// A TCP connection.
    ///
    /// # Errors
    /// As connecting has them.
    pub(super) async fn stream(&self) -> io::Result<TcpStream> {
        match self.passage {
            // Rare, so it is put elsewhere: there may be thousands of the others under way.
            Some(passage) => Box::pin(passage.stream(self.address)).await,
            None => TcpStream::connect(self.address).await,
        }
    }

    /// A UDP socket that hears only its server, and the ICMP errors about it.
    ///
    /// # Errors
    /// If there can be none.
    pub(super) async fn datagrams(&self) -> io::Result<UdpSocket> {
        if let Some(passage) = self.passage {
            return Box::pin(passage.datagrams(self.address)).await;
        }
        let any = match self.address {
            SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
            SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
        };
        let socket = UdpSocket::bind(any).await?;
        socket.connect(self.address).await?;
        Ok(socket)
    }
}
