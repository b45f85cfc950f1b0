//! What lvs.cf and the addresses of this node make of it: primary or backup, with a partner or without.

use std::{net::IpAddr, time::Duration};

use anyhow::bail;
use tracing::warn;

use crate::{
    config::{Director, Global, Loaded, Mode},
    dataplane::{
        bpffs::Pins,
        lease::{self as pinned, PinnedLease},
    },
    floating::Hooks,
    heartbeat::{
        director::{Format, Rules},
        key,
        lease::{Keeper, Lease},
        machine::Node,
        piranha::Services,
        runner::Setup,
        watch::own_addresses,
        wire::nanoseconds,
    },
    model::Site,
};

/// What the pair is to know.
pub(super) fn setup(loaded: &Loaded) -> anyhow::Result<Setup> {
    let own: Vec<_> = own_addresses()
        .into_iter()
        .map(|(_, address)| address)
        .collect();
    let mut setup = setup_on(&loaded.global, loaded.digest, &own)?;
    setup.rules.letting_go = letting_go(&loaded.site);
    let is_open = setup.rules.keys.is_empty() && setup.rules.format == Format::Own;
    if setup.rules.pair && is_open {
        warn!(
            "heartbeats are not signed: whoever can send from the partner's address can move the addresses; see \
             `heartbeat_key_file`"
        );
    }
    Ok(setup)
}

/// How long failover services may take to stop: one after the other, each up to its limit.
fn letting_go(site: &Site) -> Duration {
    site.failovers.iter().map(|service| service.limit).sum()
}

/// The same on a node with these addresses.
fn setup_on(global: &Global, digest: u64, own: &[IpAddr]) -> anyhow::Result<Setup> {
    let has = |director: &Director| {
        director
            .public
            .is_some_and(|address| own.contains(&address))
    };
    let node = match has(&global.primary) {
        true => Node::Primary,
        false => Node::Backup,
    };
    let pair = global.backup_active;
    let is_backup = node == Node::Backup && has(&global.backup);
    if !pair && is_backup {
        bail!("We are backup node and backup is marked inactive: `backup_active` is 0");
    }
    let (mine, its) = match node {
        Node::Primary => (&global.primary, &global.backup),
        Node::Backup => (&global.backup, &global.primary),
    };
    let mut keys = Vec::new();
    if pair {
        if node == Node::Backup && !is_backup {
            let name = |director: &Director| {
                director
                    .public
                    .map_or("none".to_owned(), |it| it.to_string())
            };
            bail!(
                "neither `primary` ({}) nor `backup` ({}) is an address of this router",
                name(&global.primary),
                name(&global.backup)
            );
        }
        if its.public.is_none() {
            bail!("`backup_active` is 1 and there is no `primary`");
        }
        if let Some(file) = &global.heartbeat_key_file {
            keys = key::read(file).map_err(anyhow::Error::msg)?;
        }
        keys.extend(global.heartbeat_keys.iter().cloned());
    }
    let rules = Rules {
        node,
        pair,
        keepalive: global.keepalive,
        deadtime: global.deadtime,
        failback: global.failback,
        format: global.heartbeat_format,
        keys,
        authentication: global.authentication,
        config: digest,
        services: match global.mode {
            Mode::Lvs => Services::Virtual,
            Mode::Fos => Services::Failover,
        },
        letting_go: Duration::ZERO,
    };
    Ok(Setup {
        rules,
        paths: match pair {
            true => [mine.public.zip(its.public), mine.private.zip(its.private)],
            false => [None, None],
        },
        port: global.heartbeat_port,
        monitor_links: global.monitor_links,
        gateway: global.gateway,
    })
}

/// The programs for a change of part.
pub(super) fn hooks(global: &Global) -> Hooks {
    Hooks {
        active: global.active_command.clone(),
        inactive: global.inactive_command.clone(),
        limit: global.command_timeout,
    }
}

/// Who tells the data plane how long it may steer.
pub(super) fn keeper(pins: &Pins) -> anyhow::Result<Box<dyn Keeper>> {
    Ok(Box::new(Fence(PinnedLease::open(pins)?)))
}

/// The lease of the data plane.
struct Fence(PinnedLease);

impl Keeper for Fence {
    fn set(&mut self, lease: Lease) -> Result<(), String> {
        let Self(pinned) = self;
        let written = match lease {
            Lease::None => pinned.none(),
            Lease::Standby => pinned.standby(),
            Lease::Until(until) => pinned.renew(nanoseconds(until)),
        };
        written.map_err(|error| format!("{error:#}"))
    }

    fn get(&self) -> Lease {
        match self.0.get() {
            Ok(lease) => match lease.end() {
                Some(end) => Lease::Until(Duration::from_nanos(end)),
                None if lease == pinned::Lease::NONE => Lease::None,
                None => Lease::Standby,
            },
            // Then this node listens first.
            Err(_) => Lease::Standby,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    fn made(text: &str, own: &[&str]) -> Result<Setup, String> {
        let (global, _) = config::parse("lvs.cf", text.as_bytes()).site.unwrap();
        let own: Vec<_> = own.iter().map(|address| address.parse().unwrap()).collect();
        setup_on(&global, 7, &own).map_err(|error| error.to_string())
    }

    #[test]
    fn the_part_of_a_node_follows_from_its_addresses() {
        let pair = "primary = 10.0.0.1\nprimary_private = 10.9.0.1\nbackup = 10.0.0.2\n\
                    backup_private = 10.9.0.2\nbackup_active = 1\n";
        let alone = pair.replace("backup_active = 1", "backup_active = 0");
        let table = [
            (
                pair,
                &["10.0.0.1", "10.9.0.1"][..],
                Ok((Node::Primary, true)),
            ),
            (pair, &["10.0.0.2"], Ok((Node::Backup, true))),
            (
                pair,
                &["10.0.0.3"],
                Err("neither `primary` (10.0.0.1) nor `backup` (10.0.0.2) is an address"),
            ),
            (&alone, &["10.0.0.1"], Ok((Node::Primary, false))),
            (
                &alone,
                &["10.0.0.2"],
                Err("We are backup node and backup is marked inactive"),
            ),
            (&alone, &["10.0.0.3"], Ok((Node::Backup, false))),
            ("network = nat\n", &["10.0.0.3"], Ok((Node::Backup, false))),
        ];
        for (text, own, expected) in table {
            match (made(text, own), expected) {
                (Ok(setup), Ok(part)) => {
                    assert_eq!((setup.rules.node, setup.rules.pair), part, "{own:?}");
                }
                (Err(error), Err(begin)) => assert!(error.starts_with(begin), "{error}"),
                (other, _) => panic!("{own:?}: {other:?}"),
            }
        }
        let backup = made(pair, &["10.0.0.2"]).unwrap();
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        assert_eq!(
            backup.paths,
            [
                Some((ip("10.0.0.2"), ip("10.0.0.1"))),
                Some((ip("10.9.0.2"), ip("10.9.0.1")))
            ]
        );
        let one = made(
            &pair.replace("primary_private", "#primary_private"),
            &["10.0.0.1"],
        )
        .unwrap();
        assert_eq!(one.paths[1], None);
    }
}
