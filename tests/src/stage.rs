//! A network with everything running on it: web servers, and `lb` in front of them.

use std::path::Path;

use anyhow::{Context, Result, ensure};

use crate::{
    Dns, Family, Lab, Network, Plan, Site, Web, client,
    director::{self, Director},
    in_lab,
    lab::skip,
};

/// A network with everything running on it.
#[derive(Debug)]
pub struct Stage {
    /// The hosts.
    pub network: Network,
    /// The web servers, one per real server.
    pub webs: Vec<Web>,
    /// The name servers, one per real server, if the site has a service for them.
    pub name_servers: Vec<Dns>,
    /// `lb run` on the router.
    pub director: Director,
}

impl Stage {
    /// Makes a network, starts the servers and `lb run`, and waits until it is ready.
    pub fn set(lab: &Lab, lb: &Path, plan: Plan, site: &Site) -> Result<Self> {
        let network = Network::new(lab, plan)?;
        let webs = network
            .servers
            .iter()
            .map(Web::start)
            .collect::<Result<Vec<_>>>()?;
        let name_servers = if site.services.iter().any(|service| service.port == 53) {
            (0..)
                .zip(&network.servers)
                .map(|(index, server)| Dns::start(server, index))
                .collect::<Result<_>>()?
        } else {
            Vec::new()
        };
        let director = Director::start(lb, network.router(), plan, site)?;
        Ok(Self {
            network,
            webs,
            name_servers,
            director,
        })
    }

    /// The names of the real servers.
    pub fn names(&self) -> Vec<String> {
        let servers = self.network.servers.iter();
        servers.map(|server| server.name().to_owned()).collect()
    }

    /// Puts the same file of so many MiB on all web servers. Its SHA-256, for [`Stage::pass_on`].
    pub fn offer_big_file(&self, mebibytes: usize) -> Result<String> {
        let mut sums = self.webs.iter().map(|web| web.offer_big_file(mebibytes));
        let sum = sums.next().context("there are no web servers")??;
        sums.try_for_each(|other| {
            ensure!(other? == sum, "the files differ");
            Ok(())
        })?;
        Ok(sum)
    }

    /// The client downloads that file and uploads it at the same time, both by the virtual address: long
    /// packets both ways. An error if what a server gets is another file.
    pub fn pass_on(&self, family: Family, sum: &str) -> Result<()> {
        let [down, up] = ["big", "put"].map(|page| format!("{}{page}", family.url()));
        let name = client::pass_on(&self.network.client, &down, &up)?;
        let web = self.webs.iter().find(|web| web.host().name() == name);
        let web = web.with_context(|| format!("“{name}” took the file"))?;
        ensure!(web.sha256_of_put()? == sum, "the file differs");
        Ok(())
    }

    /// Waits until all real servers get connections.
    pub fn await_servers(&self) -> Result<()> {
        self.director
            .await_status("all real servers are up", |status| status.is_complete())
            .map(drop)
    }
}

/// Runs a test with a lab of its own and the `lb` that `LB_BIN` names; says so and passes if there
/// is none, or if this user cannot make a lab.
///
/// # Panics
/// If the test fails.
pub fn on_stage(test: impl FnOnce(&Lab, &Path) -> Result<()>) {
    match director::binary() {
        Ok(lb) => in_lab(|lab| test(lab, &lb)),
        Err(error) => skip(&error.to_string()),
    }
}
