//! How addresses and ports are shown: as they are, or by name.

use std::{
    cell::RefCell,
    collections::{BTreeSet, HashMap},
    net::{IpAddr, SocketAddr},
};

use super::names::Names;
use crate::model::Protocol;

/// The longest that ipvsadm shows of an address and a port together, in bytes.
const LONGEST: usize = 59;

/// How addresses and ports are shown.
pub(super) enum Labels<'a> {
    /// As they are.
    Numeric,
    /// By name.
    Named(Named<'a>),
}

/// Names of hosts, which are asked for once, and of services.
pub(super) struct Named<'a> {
    names: &'a dyn Names,
    hosts: HashMap<IpAddr, String>,
    services: RefCell<HashMap<(u16, Protocol), Option<String>>>,
}

impl<'a> Labels<'a> {
    /// For addresses that are going to be shown.
    pub(super) fn new(
        is_numeric: bool,
        names: &'a dyn Names,
        addresses: impl FnOnce() -> BTreeSet<IpAddr>,
    ) -> Self {
        if is_numeric {
            return Self::Numeric;
        }
        Self::Named(Named {
            names,
            hosts: names.hosts(&addresses()),
            services: RefCell::default(),
        })
    }

    /// An address and a port, cut as ipvsadm does; a group's has no protocol.
    pub(super) fn socket(&self, address: IpAddr, port: u16, protocol: Option<Protocol>) -> String {
        let mut text = self.whole(address, port, protocol);
        cut(&mut text, LONGEST);
        text
    }

    /// The same so that it can be read again: names that are too long, or of IPv6 addresses, are no help.
    pub(super) fn readable(
        &self,
        address: IpAddr,
        port: u16,
        protocol: Option<Protocol>,
    ) -> String {
        let text = self.whole(address, port, protocol);
        match address.is_ipv6() || text.len() > LONGEST {
            true => SocketAddr::new(address, port).to_string(),
            false => text,
        }
    }

    fn whole(&self, address: IpAddr, port: u16, protocol: Option<Protocol>) -> String {
        let named = match self {
            Self::Numeric => return SocketAddr::new(address, port).to_string(),
            Self::Named(named) => named,
        };
        let host = match named.hosts.get(&address) {
            Some(name) => name.clone(),
            None => address.to_string(),
        };
        let service = protocol.and_then(|protocol| {
            let mut services = named.services.borrow_mut();
            let service = services.entry((port, protocol));
            service
                .or_insert_with(|| named.names.service(port, protocol))
                .clone()
        });
        let service = service.unwrap_or_else(|| port.to_string());
        match address {
            IpAddr::V4(_) => format!("{host}:{service}"),
            IpAddr::V6(_) => format!("[{host}]:{service}"),
        }
    }
}

/// Takes away what is behind the first `most` bytes.
pub(super) fn cut(text: &mut String, most: usize) {
    let mut end = most.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
}
