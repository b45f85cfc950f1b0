//! How large a configuration is, and the lvs.cf that it is written in.

use std::{fmt, str::FromStr};

use anyhow::{Context as _, Result};
use lb_tests::Family;

use crate::site::{PORT, real_address, virtual_address};

/// Groups of services that are alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Scale(Vec<Group>);

/// Services that are alike.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Group {
    services: u32,
    /// How many real servers each of them has.
    servers: u32,
    /// As lvs.cf calls it.
    scheduler: String,
}

/// As on the command line: `10000x3-rr+1x1000-mh`.
impl fmt::Display for Scale {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, group) in self.0.iter().enumerate() {
            let plus = if number == 0 { "" } else { "+" };
            let Group {
                services,
                servers,
                scheduler,
            } = group;
            write!(f, "{plus}{services}x{servers}-{scheduler}")?;
        }
        Ok(())
    }
}

impl FromStr for Scale {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let groups: Option<Vec<_>> = text.split('+').map(group).collect();
        groups
            .map(Self)
            .with_context(|| format!("{text} is not like 100x3-rr, or several of these with +"))
    }
}

fn group(text: &str) -> Option<Group> {
    let (sizes, scheduler) = text.split_once('-')?;
    let (services, servers) = sizes.split_once('x')?;
    let is_size = |number: &u32| (1..=65_535).contains(number);
    Some(Group {
        services: services.parse().ok().filter(is_size)?,
        servers: servers.parse().ok().filter(is_size)?,
        scheduler: scheduler.to_owned(),
    })
}

impl Scale {
    /// What is measured if nothing else is asked for.
    pub(crate) fn usual() -> Result<Vec<Self>> {
        [
            "1x3-rr",
            "100x3-rr",
            "10000x3-rr",
            "10000x10-rr",
            "1x1000-mh",
            "10000x3-rr+1x1000-mh",
        ]
        .into_iter()
        .map(Self::from_str)
        .collect()
    }

    /// The lvs.cf.
    pub(crate) fn lvs_cf(&self) -> String {
        let mut text = String::from("network = direct\n");
        let (mut service, mut server) = (0, 0);
        for group in &self.0 {
            for _ in 0..group.services {
                text += &format!(
                    "virtual s{service} {{\n    active = 1\n    address = {} front:{service}\n    port = {PORT}\n    \
                     protocol = tcp\n    scheduler = {}\n",
                    virtual_address(Family::V4, service),
                    group.scheduler
                );
                for _ in 0..group.servers {
                    text += &format!(
                        "    server r{server} {{\n        address = {}\n        active = 1\n        weight = \
                         1\n    }}\n",
                        real_address(Family::V4, server)
                    );
                    server += 1;
                }
                text += "}\n";
                service += 1;
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use lb_control::config;

    use super::*;

    #[test]
    fn a_scale_is_read_as_it_is_shown() {
        for scale in Scale::usual().unwrap() {
            assert_eq!(Scale::from_str(&scale.to_string()).unwrap(), scale);
        }
        for wrong in ["", "3", "1x3", "0x3-rr", "1x0-rr", "1x3-rr+", "x3-rr"] {
            assert!(Scale::from_str(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_file_means_what_the_scale_says() {
        let scale = Scale::from_str("2x3-rr+1x5-mh").unwrap();
        let outcome = config::parse("lvs.cf", scale.lvs_cf().as_bytes());
        assert!(outcome.diagnostics.is_empty(), "{:?}", outcome.diagnostics);
        let (_, site) = outcome.site.unwrap();
        let found: Vec<_> = site
            .services
            .iter()
            .map(|service| (service.scheduler.name(), service.servers.len()))
            .collect();
        assert_eq!(found, [("rr", 3), ("rr", 3), ("mh", 5)]);
    }
}
