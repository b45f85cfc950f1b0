//! The addresses of the lab. Both families count alike: host 11 is `10.88.1.11` and `fd00:88:1::11`.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

/// IPv4 or IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// Both, for tests that go over them.
pub const FAMILIES: [Family; 2] = [Family::V4, Family::V6];

impl Family {
    /// The one that this is not.
    pub fn other(self) -> Self {
        match self {
            Self::V4 => Self::V6,
            Self::V6 => Self::V4,
        }
    }

    /// The client, on the clients' network.
    pub fn client(self) -> IpAddr {
        self.address(0, 10)
    }

    /// The client's leg on the servers' network, if it has one.
    pub fn client_inside(self) -> IpAddr {
        self.address(1, 10)
    }

    /// A router (0, 1), on the clients' network.
    pub fn router(self, index: u8) -> IpAddr {
        self.address(0, index + 1)
    }

    /// A router (0, 1), on the servers' network.
    pub fn router_inside(self, index: u8) -> IpAddr {
        self.address(1, index + 1)
    }

    /// The gateway of the real servers that a pair of routers shares (`nat_router`).
    pub fn nat_router(self) -> IpAddr {
        self.address(1, 254)
    }

    /// The virtual address, on the clients' network.
    pub fn vip(self) -> IpAddr {
        self.address(0, 100)
    }

    /// Further virtual addresses (0, 1, …), on the clients' network.
    pub fn further_vip(self, index: u8) -> IpAddr {
        self.address(0, index + 101)
    }

    /// A real server (0, 1, 2, …).
    pub fn server(self, index: u8) -> IpAddr {
        self.address(1, index + 11)
    }

    /// The clients' network with its length.
    pub fn outside(self) -> String {
        self.with_length(self.address(0, 0))
    }

    /// An address followed by the length of its network.
    pub fn with_length(self, address: IpAddr) -> String {
        match self {
            Self::V4 => format!("{address}/24"),
            Self::V6 => format!("{address}/64"),
        }
    }

    /// An address as a network of its own.
    pub fn alone(self, address: IpAddr) -> String {
        match self {
            Self::V4 => format!("{address}/32"),
            Self::V6 => format!("{address}/128"),
        }
    }

    /// The page of the virtual address.
    pub fn url(self) -> String {
        format!("http://{}/", in_url(self.vip()))
    }

    fn address(self, network: u8, host: u8) -> IpAddr {
        match self {
            Self::V4 => Ipv4Addr::new(10, 88, network, host).into(),
            Self::V6 => {
                let host = u16::from(host);
                // 254 is written ::254.
                let host = host / 100 * 0x100 + host / 10 % 10 * 0x10 + host % 10;
                Ipv6Addr::new(0xfd00, 0x88, network.into(), 0, 0, 0, 0, host).into()
            }
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        })
    }
}

/// An address as it stands in a URL, before the port.
pub fn in_url(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("[{address}]"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_families_count_alike() {
        let table = [
            (Family::V4.server(0), "10.88.1.11"),
            (Family::V6.server(0), "fd00:88:1::11"),
            (Family::V4.vip(), "10.88.0.100"),
            (Family::V6.vip(), "fd00:88::100"),
            (Family::V6.nat_router(), "fd00:88:1::254"),
        ];
        for (address, text) in table {
            assert_eq!(address.to_string(), text);
        }
    }
}
