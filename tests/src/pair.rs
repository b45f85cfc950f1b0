//! Two routers, one as the backup of the other, with everything running on them.

use std::{path::Path, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::Signal;

use crate::{
    Family, Host, Lab, Method, Network, Plan, Site, Web, client, director::Director, switch::Link,
    wait,
};

/// How long a pair may take to agree, whatever its settings.
const LIMIT: Duration = Duration::from_secs(20);

/// A network with a pair of directors.
#[derive(Debug)]
pub struct Pair {
    /// The hosts; the first of its routers is the primary.
    pub network: Network,
    /// The web servers, one per real server.
    pub webs: Vec<Web>,
    /// `lb run` on the routers, in their order.
    pub directors: [Director; 2],
    /// Which of them are frozen, and would answer nobody.
    pub frozen: [bool; 2],
}

impl Pair {
    /// Makes a network with two routers, starts the servers and `lb run` on both, the primary first.
    pub fn set(lab: &Lab, lb: &Path, method: Method, site: &Site) -> Result<Self> {
        let plan = Plan {
            routers: 2,
            ..Plan::new(method)
        };
        let network = Network::new(lab, plan)?;
        let webs = network
            .servers
            .iter()
            .map(Web::start)
            .collect::<Result<Vec<_>>>()?;
        let start = |index: usize| Director::start(lb, &network.routers[index], plan, site);
        let directors = [start(0)?, start(1)?];
        Ok(Self {
            network,
            webs,
            directors,
            frozen: [false; 2],
        })
    }

    /// Which of the two says that it is active, if one of them does and the other does not.
    pub fn active(&self) -> Result<Option<usize>> {
        let mut active = Vec::new();
        for (index, director) in self.directors.iter().enumerate() {
            // One that is dead says nothing.
            if !self.frozen[index]
                && let Ok(status) = director.status()
                && status.role == "active"
            {
                active.push(index);
            }
        }
        Ok(match active[..] {
            [index] => Some(index),
            _ => None,
        })
    }

    /// Waits until this one alone is active.
    pub fn await_active(&self, index: usize) -> Result<()> {
        let found = wait::until(&format!("router {index} is active"), LIMIT, || {
            Ok((self.active()? == Some(index)).then_some(()))
        });
        found.with_context(|| {
            let printed = |director: &Director| director.printed();
            format!(
                "the first printed:\n{}\nthe second printed:\n{}",
                printed(&self.directors[0]),
                printed(&self.directors[1])
            )
        })
    }

    /// Waits until the first is active, both know all real servers to be well, and clients are answered.
    pub fn await_ready(&self) -> Result<()> {
        self.await_active(0)?;
        for director in &self.directors {
            director.await_status("all real servers are up", |status| status.is_complete())?;
        }
        Ok(())
    }

    /// Stops the daemon of a router where it stands, as a machine that hangs does; or lets it go on.
    pub fn freeze(&mut self, index: usize, frozen: bool) -> Result<()> {
        let signal = match frozen {
            true => Signal::SIGSTOP,
            false => Signal::SIGCONT,
        };
        self.frozen[index] = frozen;
        self.directors[index].daemon().signal(signal)
    }

    /// Pulls all plugs of a router, or puts them back.
    pub fn set_links(&self, index: usize, link: Link) -> Result<()> {
        let router = &self.network.routers[index];
        self.network.outside.set_link(router, link)?;
        match self.network.plan.router_interfaces().len() {
            1 => Ok(()),
            _ => self.network.inside.set_link(router, link),
        }
    }

    /// Whether a router holds the virtual address.
    pub fn holds_vip(&self, index: usize, family: Family) -> Result<bool> {
        let printed = self.network.routers[index].run("ip", ["-o", "address", "show"])?;
        let vip = format!(" {}/", family.vip());
        Ok(printed.contains(&vip))
    }

    /// Asks so many times, all of which must be answered.
    pub fn all_answered(&self, family: Family, count: u32) -> Result<()> {
        let answers = client::get_many(&self.network.client, &family.url(), count, 4)?;
        client::all_good(&answers)
    }

    /// Which router the client's neighbour table names for the virtual address.
    pub fn neighbour_of_client(&self, family: Family) -> Result<usize> {
        let vip = family.vip().to_string();
        let printed = self.network.client.run("ip", ["neighbour", "show", &vip])?;
        for (index, router) in self.network.routers.iter().enumerate() {
            if printed.contains(&mac(router)?) {
                return Ok(index);
            }
        }
        bail!("neither router has {vip}: {printed}")
    }

    /// Checks that at most one of the two holds the virtual address.
    pub fn at_most_one_holds(&self, family: Family) -> Result<()> {
        let both = self.holds_vip(0, family)? && self.holds_vip(1, family)?;
        ensure!(!both, "both hold {}", family.vip());
        Ok(())
    }
}

fn mac(router: &Host) -> Result<String> {
    let mac = router.mac(crate::network::OUTSIDE)?;
    Ok(mac.map(|byte| format!("{byte:02x}")).join(":"))
}

impl Site {
    /// The same for a pair of routers, which hear of each other on both networks.
    #[must_use]
    pub fn paired(mut self) -> Self {
        let family = self.heartbeats;
        self.directives.extend([
            format!("primary_private = {}", family.router_inside(0)),
            "backup_active = 1".to_owned(),
            format!("backup = {}", family.router(1)),
            format!("backup_private = {}", family.router_inside(1)),
            "heartbeat = 1".to_owned(),
        ]);
        if self.method == Method::Nat {
            // By itself: the servers' gateway goes with the active router.
            self.directives.extend([
                format!("nat_router = {} eth1:1", Family::V4.nat_router()),
                "nat_nmask = 255.255.255.0".to_owned(),
            ]);
        }
        self
    }
}
