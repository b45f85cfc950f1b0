//! A switch: a host that is nothing but a bridge.

use anyhow::{Context, Result};

use crate::{host::Host, lab::Lab, wire};

/// A switch with as many ports as are needed.
#[derive(Clone, Debug)]
pub struct Switch {
    host: Host,
}

impl Switch {
    /// A switch without ports.
    pub fn new(lab: &Lab, name: &str) -> Result<Self> {
        let host = lab.host(name)?;
        // No snooping: without a querier it would keep neighbour discovery from getting through.
        host.ip("link add switch type bridge stp_state 0 forward_delay 0 mcast_snooping 0")?;
        host.ip("link set switch up")?;
        host.inside(|| {
            for filter in ["iptables", "ip6tables", "arptables"] {
                let path = format!("/proc/sys/net/bridge/bridge-nf-call-{filter}");
                if std::fs::exists(&path)? {
                    std::fs::write(&path, "0").with_context(|| format!("writing {path}"))?;
                }
            }
            Ok(())
        })?;
        Ok(Self { host })
    }

    /// Plugs a new interface of a host into the switch. The port is called like the host.
    pub fn plug(&self, host: &Host, interface: &str) -> Result<()> {
        let port = host.name();
        wire::connect(host, interface, &self.host, port)?;
        self.host.ip(&format!("link set {port} master switch"))
    }

    /// Pulls (or puts back) the plug of a host: its interface loses (or gets) its link.
    pub fn set_link(&self, host: &Host, link: Link) -> Result<()> {
        let state = match link {
            Link::Up => "up",
            Link::Down => "down",
        };
        self.host.ip(&format!("link set {} {state}", host.name()))
    }

    /// Lets no packet of a host pass, or all again, while its link stays: as if the host stood still.
    pub fn set_silent(&self, host: &Host, silent: bool) -> Result<()> {
        let master = if silent { "nomaster" } else { "master switch" };
        self.host.ip(&format!("link set {} {master}", host.name()))
    }
}

/// Whether a plug is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// Plugged in.
    Up,
    /// Pulled out.
    Down,
}
