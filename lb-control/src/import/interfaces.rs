//! Which interface a virtual IP belongs to, for sources that do not say.

use std::net::IpAddr;

use network_interface::{Addr, NetworkInterface, NetworkInterfaceConfig as _};

/// Who knows the interfaces of the machine that the file is for.
pub trait Interfaces {
    /// The interface that carries the address, else the one whose network it is in.
    fn home(&mut self, address: IpAddr) -> Option<Home>;
}

/// Where an address belongs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Home {
    /// The interface, or an alias of it.
    pub device: String,
    /// The length of the network prefix that it has there, if it is there.
    pub prefix: Option<u8>,
}

/// Nobody knows: every device becomes a placeholder.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unknown;

impl Interfaces for Unknown {
    fn home(&mut self, _address: IpAddr) -> Option<Home> {
        None
    }
}

/// The interfaces of this machine, as they are when they are first asked for.
#[derive(Debug, Default)]
pub struct ThisMachine {
    networks: Option<Vec<Network>>,
}

/// An address of an interface.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Network {
    interface: String,
    address: IpAddr,
    prefix: u8,
}

impl Interfaces for ThisMachine {
    fn home(&mut self, address: IpAddr) -> Option<Home> {
        home(self.networks.get_or_insert_with(networks), address)
    }
}

fn home(networks: &[Network], address: IpAddr) -> Option<Home> {
    let itself = networks.iter().find(|network| network.address == address);
    if let Some(network) = itself {
        return Some(Home {
            device: network.interface.clone(),
            prefix: Some(network.prefix),
        });
    }
    let around = networks
        .iter()
        .filter(|network| contains(network.address, network.prefix, address))
        .max_by_key(|network| network.prefix)?;
    Some(Home {
        device: around.interface.clone(),
        prefix: None,
    })
}

/// Whether `address` is in the network of `of`; a prefix of no bits is no network.
pub(super) fn contains(of: IpAddr, prefix: u8, address: IpAddr) -> bool {
    let prefix = u32::from(prefix);
    match (of, address) {
        (IpAddr::V4(of), IpAddr::V4(address)) if (1..=32).contains(&prefix) => {
            (of.to_bits() ^ address.to_bits()) >> (32 - prefix) == 0
        }
        (IpAddr::V6(of), IpAddr::V6(address)) if (1..=128).contains(&prefix) => {
            (of.to_bits() ^ address.to_bits()) >> (128 - prefix) == 0
        }
        (IpAddr::V4(_) | IpAddr::V6(_), _) => false,
    }
}

fn networks() -> Vec<Network> {
    let mut networks = Vec::new();
    for interface in NetworkInterface::show().unwrap_or_default() {
        // No client comes in there, whatever addresses it has.
        if interface.name == "lo" {
            continue;
        }
        for address in interface.addr {
            let (address, mask) = match address {
                Addr::V4(v4) => (v4.ip.into(), v4.netmask.map(IpAddr::V4)),
                Addr::V6(v6) => (v6.ip.into(), v6.netmask.map(IpAddr::V6)),
            };
            let prefix = match (mask, address) {
                (Some(IpAddr::V4(mask)), _) => mask.to_bits().leading_ones(),
                (Some(IpAddr::V6(mask)), _) => mask.to_bits().leading_ones(),
                (None, IpAddr::V4(_)) => 32,
                (None, IpAddr::V6(_)) => 128,
            };
            networks.push(Network {
                interface: interface.name.clone(),
                address,
                prefix: u8::try_from(prefix).unwrap_or(u8::MAX),
            });
        }
    }
    networks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interface_that_has_it_or_its_narrowest_network() {
        let network = |interface: &str, address: &str, prefix| Network {
            interface: interface.to_owned(),
            address: address.parse().unwrap(),
            prefix,
        };
        let networks = [
            network("lo", "127.0.0.1", 8),
            network("eth0", "10.0.0.1", 8),
            network("eth1", "10.1.0.1", 16),
            network("eth1", "192.0.2.10", 32),
            network("eth2", "2001:db8::1", 64),
            network("tun", "0.0.0.0", 0),
        ];
        let table = [
            ("192.0.2.10", Some(("eth1", Some(32)))),
            ("192.0.2.11", None),
            ("10.1.0.9", Some(("eth1", None))),
            ("10.2.0.9", Some(("eth0", None))),
            ("2001:db8::99", Some(("eth2", None))),
            ("2001:db9::99", None),
        ];
        for (address, expected) in table {
            let found = home(&networks, address.parse().unwrap());
            let found = found
                .as_ref()
                .map(|home| (home.device.as_str(), home.prefix));
            assert_eq!(found, expected, "{address}");
        }
    }

    #[test]
    fn the_loopback_is_no_home() {
        let home = ThisMachine::default().home(IpAddr::from([127, 0, 0, 1]));
        assert_eq!(home, None);
    }
}
