//! The lvs.cf of the lab.

use std::{fmt, net::IpAddr, str::FromStr};

use crate::{address::Family, network::OUTSIDE};

/// How the director forwards packets to real servers (`network` in lvs.cf).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Both ways through the router, which changes the addresses.
    Nat,
    /// To the real server's hardware address; answers go straight to the client.
    Direct,
    /// Wrapped into another IP packet; answers go straight to the client.
    Tunnel,
}

/// All methods, for those who go over them.
pub const METHODS: [Method; 3] = [Method::Nat, Method::Direct, Method::Tunnel];

/// What an lvs.cf says. `Display` writes it.
#[derive(Clone, Debug)]
pub struct Site {
    /// `network`.
    pub method: Method,
    /// Further directives for all, such as `keepalive = 1`.
    pub directives: Vec<String>,
    /// The `virtual` blocks.
    pub services: Vec<Service>,
    /// Who else than root may ask the director: no directive, but `lb run --socket-group`.
    pub socket_group: Option<String>,
    /// How the routers of a pair speak with each other.
    pub heartbeats: Family,
}

/// A `virtual` block.
#[derive(Clone, Debug)]
pub struct Service {
    /// Its name.
    pub name: String,
    /// The virtual address.
    pub address: IpAddr,
    /// The port, also of the real servers.
    pub port: u16,
    /// `tcp`, `udp` or `sctp`.
    pub protocol: &'static str,
    /// `scheduler`.
    pub scheduler: String,
    /// Seconds between checks.
    pub timeout: u32,
    /// Seconds of good checks until a server returns.
    pub reentry: u32,
    /// Further directives, such as `persistent = 60`.
    pub directives: Vec<String>,
    /// The `server` blocks.
    pub servers: Vec<Server>,
}

/// A `server` block.
#[derive(Clone, Debug)]
pub struct Server {
    /// Its name.
    pub name: String,
    /// Its address.
    pub address: IpAddr,
    /// Its weight.
    pub weight: u32,
    /// Further directives, such as `port = 8080`.
    pub directives: Vec<String>,
}

impl Site {
    /// A site without services.
    pub fn new(method: Method) -> Self {
        Self {
            method,
            directives: Vec::new(),
            services: Vec::new(),
            socket_group: None,
            heartbeats: Family::V4,
        }
    }

    /// The same with one more service.
    pub fn with(mut self, service: Service) -> Self {
        self.services.push(service);
        self
    }
}

impl Service {
    /// The web servers `rs1`, `rs2`, … behind the virtual address, checked by a request each second.
    pub fn web(family: Family, servers: u8) -> Self {
        let mut service = Self::new("web", family, 80, "tcp", servers);
        service.directives = vec![
            r#"send = "GET / HTTP/1.0\r\n\r\n""#.to_owned(),
            r#"expect = "HTTP/1.1 200""#.to_owned(),
        ];
        service
    }

    /// The name servers `rs1`, `rs2`, …, checked by a question each second.
    pub fn dns(family: Family, servers: u8) -> Self {
        let mut service = Self::new("dns", family, 53, "udp", servers);
        let name = crate::dns::NAME;
        // Not dig: only words of their own stand for the server, and it wants `@SERVER`.
        service.directives = vec![format!(
            r#"send_program = "/usr/bin/nslookup -type=TXT -timeout=1 -retry=0 {name} %h""#
        )];
        service
    }

    /// Servers of SCTP `rs1`, `rs2`, … which stay in use whatever happens: a nanny would need a kernel
    /// that speaks SCTP. The port of the real servers is `inside`.
    pub fn echo(family: Family, servers: u8, inside: u16) -> Self {
        let mut service = Self::new("echo", family, 7, "sctp", servers);
        service.directives = vec![r#"send_program = "/bin/true""#.to_owned()];
        if inside != service.port {
            for server in &mut service.servers {
                server.directives.push(format!("port = {inside}"));
            }
        }
        service
    }

    /// The same with real servers that are reached by the other family, which only a tunnel can.
    pub fn across(mut self) -> Self {
        let outer = if self.address.is_ipv4() {
            Family::V6
        } else {
            Family::V4
        };
        for (index, server) in (0..).zip(&mut self.servers) {
            server.address = outer.server(index);
        }
        self
    }

    fn new(kind: &str, family: Family, port: u16, protocol: &'static str, servers: u8) -> Self {
        let name = match family {
            Family::V4 => kind.to_owned(),
            Family::V6 => format!("{kind}6"),
        };
        let server = |index| Server {
            name: format!("rs{}", index + 1),
            address: family.server(index),
            weight: 1,
            directives: Vec::new(),
        };
        Self {
            name,
            address: family.vip(),
            port,
            protocol,
            // Whoever is slower gets less by the default, `wlc`, and which of the lab's servers is slow is
            // up to the machine.
            scheduler: "rr".to_owned(),
            timeout: 1,
            reentry: 2,
            directives: Vec::new(),
            servers: (0..servers).map(server).collect(),
        }
    }
}

impl fmt::Display for Site {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "serial_no = 1")?;
        writeln!(out, "primary = {}", self.heartbeats.router(0))?;
        writeln!(out, "service = lvs")?;
        writeln!(out, "network = {}", self.method)?;
        for directive in &self.directives {
            writeln!(out, "{directive}")?;
        }
        // One alias per address, however many services it has.
        let mut addresses: Vec<IpAddr> = Vec::new();
        for service in &self.services {
            if !addresses.contains(&service.address) {
                addresses.push(service.address);
            }
            let alias = addresses
                .iter()
                .position(|address| *address == service.address);
            service.write(out, alias.unwrap_or_default() + 1)?;
        }
        Ok(())
    }
}

impl Service {
    fn write(&self, out: &mut fmt::Formatter<'_>, alias: usize) -> fmt::Result {
        writeln!(out, "virtual {} {{", self.name)?;
        writeln!(out, "     active = 1")?;
        writeln!(out, "     address = {} {OUTSIDE}:{alias}", self.address)?;
        if self.address.is_ipv4() {
            writeln!(out, "     vip_nmask = 255.255.255.255")?;
        }
        writeln!(out, "     port = {}", self.port)?;
        writeln!(out, "     protocol = {}", self.protocol)?;
        writeln!(out, "     scheduler = {}", self.scheduler)?;
        writeln!(out, "     timeout = {}", self.timeout)?;
        writeln!(out, "     reentry = {}", self.reentry)?;
        for directive in &self.directives {
            writeln!(out, "     {directive}")?;
        }
        for server in &self.servers {
            writeln!(out, "     server {} {{", server.name)?;
            writeln!(out, "         address = {}", server.address)?;
            writeln!(out, "         active = 1")?;
            writeln!(out, "         weight = {}", server.weight)?;
            for directive in &server.directives {
                writeln!(out, "         {directive}")?;
            }
            writeln!(out, "     }}")?;
        }
        writeln!(out, "}}")
    }
}

impl fmt::Display for Method {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Nat => "nat",
            Self::Direct => "direct",
            Self::Tunnel => "tunnel",
        })
    }
}

impl FromStr for Method {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        METHODS
            .into_iter()
            .find(|method| method.to_string() == text)
            .ok_or_else(|| anyhow::anyhow!("“{text}” is none of nat, direct, tunnel"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_what_piranha_reads() {
        let site = Site::new(Method::Nat).with(Service::web(Family::V4, 1));
        let expected = r#"serial_no = 1
primary = 10.88.0.1
service = lvs
network = nat
virtual web {
     active = 1
     address = 10.88.0.100 eth0:1
     vip_nmask = 255.255.255.255
     port = 80
     protocol = tcp
     scheduler = rr
     timeout = 1
     reentry = 2
     send = "GET / HTTP/1.0\r\n\r\n"
     expect = "HTTP/1.1 200"
     server rs1 {
         address = 10.88.1.11
         active = 1
         weight = 1
     }
}
"#;
        assert_eq!(site.to_string(), expected);
    }

    #[test]
    fn services_of_one_address_share_its_alias() {
        let site = Site::new(Method::Direct)
            .with(Service::web(Family::V4, 1))
            .with(Service::dns(Family::V4, 1))
            .with(Service::web(Family::V6, 1));
        let text = site.to_string();
        let aliases: Vec<_> = text
            .lines()
            .filter_map(|line| line.trim().strip_prefix("address = "))
            .collect();
        assert_eq!(
            aliases,
            [
                "10.88.0.100 eth0:1",
                "10.88.1.11",
                "10.88.0.100 eth0:1",
                "10.88.1.11",
                "fd00:88::100 eth0:2",
                "fd00:88:1::11"
            ]
        );
    }
}
