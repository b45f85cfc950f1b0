//! Sockets for the multicasts of IPVS.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6},
};

use nix::net::if_::if_nametoindex;
use socket2::{Domain, InterfaceIndexOrAddress, Protocol, Socket, Type};

use crate::sync::ipvs::daemon::SyncDaemon;

/// One that hears them.
///
/// # Errors
/// If there is no such interface, or it has no multicasts.
pub(super) fn receiving(daemon: &SyncDaemon) -> io::Result<Socket> {
    let index = if_nametoindex(daemon.interface.as_str())?;
    let to = group(daemon, index);
    let socket = socket(to)?;
    socket.set_reuse_address(true)?;
    socket.bind_device(Some(daemon.interface.as_bytes()))?;
    socket.bind(&to.into())?;
    match to.ip() {
        IpAddr::V4(group) => {
            socket.join_multicast_v4_n(&group, &InterfaceIndexOrAddress::Index(index))?;
        }
        IpAddr::V6(group) => socket.join_multicast_v6(&group, index)?,
    }
    Ok(socket)
}

/// One that sends them. This router itself does not hear what it sends.
///
/// # Errors
/// The same.
pub(super) fn sending(daemon: &SyncDaemon) -> io::Result<Socket> {
    let index = if_nametoindex(daemon.interface.as_str())?;
    let to = group(daemon, index);
    let socket = socket(to)?;
    socket.bind_device(Some(daemon.interface.as_bytes()))?;
    let ttl = u32::from(daemon.ttl());
    let any: IpAddr = match to.ip() {
        IpAddr::V4(_) => {
            socket.set_multicast_loop_v4(false)?;
            socket.set_multicast_ttl_v4(ttl)?;
            Ipv4Addr::UNSPECIFIED.into()
        }
        IpAddr::V6(_) => {
            socket.set_multicast_if_v6(index)?;
            socket.set_multicast_loop_v6(false)?;
            socket.set_multicast_hops_v6(ttl)?;
            Ipv6Addr::UNSPECIFIED.into()
        }
    };
    socket.bind(&SocketAddr::new(any, 0).into())?;
    socket.connect(&to.into())?;
    Ok(socket)
}

fn socket(to: SocketAddr) -> io::Result<Socket> {
    Socket::new(Domain::for_address(to), Type::DGRAM, Some(Protocol::UDP))
}

/// Where they go. Groups of IPv6 are those of an interface.
fn group(daemon: &SyncDaemon, index: u32) -> SocketAddr {
    match daemon.group() {
        SocketAddr::V6(group) => SocketAddrV6::new(*group.ip(), group.port(), 0, index).into(),
        group @ SocketAddr::V4(_) => group,
    }
}
