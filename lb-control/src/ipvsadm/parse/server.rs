//! What a line says of a real server.

use super::{
    Complaint, Family, IpAddr, Ipv4Addr, Kind, Line, Method, SocketAddr, TunnelKind, address,
    legality, within,
};
use crate::ipvsadm::command::{Server, TunnelWish};

/// What a line says of a real server.
pub(super) struct Said {
    address: IpAddr,
    port: u16,
    pub(super) method: Method,
    weight: u16,
    upper: u32,
    lower: u32,
    kind: TunnelKind,
    tunnel_port: u16,
}

impl Default for Said {
    fn default() -> Self {
        Self {
            address: Ipv4Addr::UNSPECIFIED.into(),
            port: 0,
            method: Method::Direct,
            weight: 1,
            upper: 0,
            lower: 0,
            kind: TunnelKind::default(),
            tunnel_port: 0,
        }
    }
}

impl Line<'_> {
    pub(super) fn server_option(&mut self, kind: Kind, text: &str) -> Result<(), Complaint> {
        let wrong = |what: &str| Complaint::usage(format!("illegal {what} specified"));
        let most = i32::MAX.into();
        if kind == Kind::RealServer {
            let place = address::parse(text, self.protocol, self.names);
            let (address, port) = place.ok_or_else(|| wrong("real server address[:port]"))?;
            self.server.address = address;
            // That of the service, if it came before.
            self.server.port = port.unwrap_or(self.port);
        } else if kind == Kind::Weight {
            self.server.weight = within(text, 0, 65_535).ok_or_else(|| wrong("weight"))?;
        } else if kind == Kind::UpperThreshold {
            self.server.upper = within(text, 0, most).ok_or_else(|| wrong("u_threshold"))?;
        } else if kind == Kind::LowerThreshold {
            self.server.lower = within(text, 0, most).ok_or_else(|| wrong("l_threshold"))?;
        } else if kind == Kind::TunType {
            self.server.kind = [TunnelKind::Ipip, TunnelKind::Gue, TunnelKind::Gre]
                .into_iter()
                .find(|kind| kind.name() == text)
                .ok_or_else(|| wrong("tunnel type"))?;
        } else if kind == Kind::TunPort {
            let port = within(text, 1, 65_535);
            self.server.tunnel_port = port.ok_or_else(|| wrong("tunnel port"))?;
        }
        Ok(())
    }

    /// Where the real server listens, as it was said.
    pub(super) fn server_at(&self) -> SocketAddr {
        SocketAddr::new(self.server.address, self.server.port)
    }

    pub(super) fn server(self) -> Result<Server, Complaint> {
        let said = &self.server;
        let service = self.id();
        if Family::of(said.address) != service.family() && said.method != Method::Tunnel {
            return Err(Complaint::usage(
                "Different address family is allowed only for tunneling servers",
            ));
        }
        let options = [
            Kind::TunType,
            Kind::TunPort,
            Kind::TunNocsum,
            Kind::TunCsum,
            Kind::TunRemcsum,
        ];
        if said.method == Method::Tunnel {
            legality::check_tunnel(said.kind, self.given)?;
        } else if self.given.has_any(&options) {
            return Err(Complaint::usage(
                "Tunnel options conflict with forward method",
            ));
        }
        let mut server = self.server_at();
        // Only masquerading changes the port; a group has none.
        if self.mark == 0 && said.method != Method::Nat {
            server.set_port(self.port);
        }
        Ok(Server {
            service,
            server,
            method: said.method,
            tunnel: TunnelWish {
                kind: said.kind,
                port: said.tunnel_port,
                checksum: self.given.has(Kind::TunCsum),
                remote_checksum: self.given.has(Kind::TunRemcsum),
            },
            weight: said.weight,
            upper: said.upper,
            lower: said.lower,
        })
    }
}
