//! `host[:port]`, of services and of real servers.

use std::net::{IpAddr, Ipv6Addr};

use super::{
    names::Names,
    number::{ipv4, within},
};
use crate::model::Protocol;

/// An address, and the port if one was said.
pub(super) type Place = (IpAddr, Option<u16>);

/// Reads `host[:port]`, `[address]:port` or a bare IPv6 address; nothing if it is none of these. The
/// brackets of an IPv6 address want a port behind them.
pub(super) fn parse(text: &str, protocol: Option<Protocol>, names: &dyn Names) -> Option<Place> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (inner, after) = rest.split_once(']')?;
            (inner, Some(after.strip_prefix(':')?))
        }
        None => (text, None),
    };
    let (address, port) = match host.parse::<Ipv6Addr>() {
        Ok(address) => (IpAddr::V6(address), port),
        // What stands behind brackets does not count here, as with ipvsadm.
        Err(_) => {
            let (host, port) = match host.rsplit_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (host, None),
            };
            let address = ipv4(host).or_else(|| match host {
                "" => None,
                host => names.address(host),
            })?;
            (IpAddr::V4(address), port)
        }
    };
    let port = match port {
        None => None,
        Some(text) => Some(within(text, 0, 65_535).or_else(|| names.port(text, protocol?))?),
    };
    Some((address, port))
}
