//! Packet sockets: frames as they go out and come in, link header and all.

use std::os::fd::OwnedFd;

use nix::{
    errno::Errno,
    ifaddrs::{InterfaceAddress, getifaddrs},
    sys::socket::{AddressFamily, LinkAddr, SockFlag, SockProtocol, SockType, socket},
};

use super::Refusal;

/// A socket that only sends frames: it is bound to no protocol.
///
/// # Errors
/// If there can be none.
pub(crate) fn sender() -> Result<OwnedFd, Errno> {
    open(None)
}

/// A socket that sends frames and hears those of a protocol, on all interfaces: behind VLANs, bonds and bridges, as
/// the kernel's own stack does, so each frame once.
///
/// # Errors
/// If there can be none.
pub(crate) fn hearer(protocol: SockProtocol) -> Result<OwnedFd, Errno> {
    open(Some(protocol))
}

fn open(protocol: Option<SockProtocol>) -> Result<OwnedFd, Errno> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    socket(AddressFamily::Packet, SockType::Raw, flags, protocol)
}

/// The packet-socket address of an interface of this name.
///
/// # Errors
/// If there is none, or the interfaces cannot be listed.
pub(crate) fn named(interface: &str) -> Result<LinkAddr, Refusal> {
    find(|entry, _| entry.interface_name == interface)?
        .ok_or_else(|| Refusal::NoInterface(interface.to_owned()))
}

/// The packet-socket address of the interface with this index.
///
/// # Errors
/// If there is none, or the interfaces cannot be listed.
pub(crate) fn numbered(index: u32) -> Result<LinkAddr, Refusal> {
    find(|_, link| u32::try_from(link.ifindex()) == Ok(index))?
        .ok_or_else(|| Refusal::NoInterface(format!("with index {index}")))
}

/// The list of interfaces gives such addresses ready-made; to make one by hand would take unsafe code.
fn find(is_it: impl Fn(&InterfaceAddress, &LinkAddr) -> bool) -> Result<Option<LinkAddr>, Refusal> {
    let mut links = getifaddrs()?.filter_map(|entry| {
        let link = *entry.address.as_ref()?.as_link_addr()?;
        Some((entry, link))
    });
    Ok(links
        .find(|(entry, link)| is_it(entry, link))
        .map(|(_, link)| link))
}
