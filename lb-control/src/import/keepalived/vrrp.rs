//! `vrrp_instance`: where the addresses are, and who the directors are.

use std::net::IpAddr;

use super::{
    addresses::with_prefix,
    globals::Globals,
    known::{self, Within},
    time,
    tree::Node,
    written,
};
use crate::import::{
    found::{Found, Setting},
    interfaces::Home,
    report::Report,
};

/// What is carried over of an instance.
struct Instance<'a> {
    node: &'a Node,
    interface: &'a str,
    /// It begins as master.
    is_master: bool,
    /// Milliseconds between two advertisements.
    interval: u32,
    priority: f64,
    /// After so many that are missing the other director is dead.
    missing: f64,
    source: Option<IpAddr>,
    peers: Vec<IpAddr>,
}

/// Puts addresses and directors into what was found.
pub(super) fn carry(
    instances: &[&Node],
    globals: &Globals<'_>,
    found: &mut Found,
    report: &mut Report,
) {
    let read: Vec<Instance<'_>> = instances
        .iter()
        .map(|node| Instance::new(node, globals, found, report))
        .collect();
    let Some(first) = read.first() else { return };
    for other in &read {
        if other.is_master != first.is_master {
            let why = "an instance with another `state`: one director is active, for all addresses";
            report.left_out(&other.node.place, why);
        }
        if other.interval != first.interval || other.deadtime() != first.deadtime() {
            let why = format!(
                "other times than those of `{}`: there is one `keepalive` and one `deadtime`",
                first.node.written()
            );
            report.left_out(&other.node.place, why);
        }
    }
    let unicast = read.iter().find_map(|instance| {
        let peer = instance.peers.first()?;
        Some((instance, instance.source?, *peer))
    });
    if let Some((chosen, ..)) = unicast {
        for other in &read {
            let is_said = other.source.is_some() || !other.peers.is_empty();
            if is_said && (other.source, &other.peers) != (chosen.source, &chosen.peers) {
                let why =
                    "other addresses of directors: there is one pair of them, for all addresses";
                report.left_out(&other.node.place, why);
            }
        }
    }
    let place = &first.node.place;
    match unicast {
        Some((instance, this, other)) => {
            let place = &instance.node.place;
            let (primary, backup) = if instance.is_master {
                (this, other)
            } else {
                (other, this)
            };
            found.globals.extend([
                Setting::plain("primary", primary, place),
                Setting::plain("backup", backup, place),
                Setting::plain("backup_active", 1, place),
                Setting::plain("heartbeat", 1, place),
            ]);
        }
        None => {
            let known = read
                .iter()
                .find_map(|one| Some((one.source?, one.is_master)));
            if let Some((source, is_master)) = known {
                let name = if is_master { "primary" } else { "backup" };
                found.globals.push(Setting::plain(name, source, place));
            }
            let why = "who the directors are: say `primary`, `backup` and `backup_active = 1` (only \
                       `unicast_src_ip` and `unicast_peer` tell)";
            report.left_out(place, why);
        }
    }
    found.globals.extend([
        Setting::plain("keepalive", written(first.interval), place),
        Setting::plain("deadtime", written(first.deadtime()), place),
    ]);
}

impl<'a> Instance<'a> {
    fn new(node: &'a Node, globals: &Globals<'a>, found: &mut Found, report: &mut Report) -> Self {
        let interface = node.inside().iter().find(|one| one.name() == "interface");
        let interface = interface.map(Node::value).or(globals.interface);
        let mut instance = Self {
            node,
            interface: interface.unwrap_or("eth0"),
            is_master: false,
            interval: 1000,
            priority: 100.0,
            missing: 3.0,
            source: None,
            peers: Vec::new(),
        };
        for directive in node.inside() {
            instance.directive(directive, found, report);
        }
        instance
    }

    fn directive(&mut self, node: &Node, found: &mut Found, report: &mut Report) {
        let mut number = |from: f64, to: f64, usual: f64| {
            let number = node.value().parse().ok();
            number
                .filter(|number| (from..=to).contains(number))
                .unwrap_or_else(|| {
                    let why = format!("`{}` is not understood", node.written());
                    report.left_out(&node.place, why);
                    usual
                })
        };
        match node.name() {
            "interface" | "lvs_sync_daemon_interface" => {}
            "state" => self.is_master = node.value().eq_ignore_ascii_case("MASTER"),
            "advert_int" => {
                let time = time(node.value()).filter(|time| *time >= 10);
                self.interval = time.unwrap_or_else(|| {
                    let why = format!("`{}` is not understood", node.written());
                    report.left_out(&node.place, why);
                    1000
                });
            }
            "priority" => {
                self.priority = number(0.0, 255.0, 100.0);
                known::tell(Within::Vrrp, node, report);
            }
            "down_timer_adverts" => self.missing = number(1.0, 100.0, 3.0),
            "unicast_src_ip" | "mcast_src_ip" => match node.value().parse() {
                Ok(address) => self.source = Some(address),
                Err(_) => {
                    let why = format!("`{}` is no address", node.value());
                    report.left_out(&node.place, why);
                }
            },
            "unicast_peer" => {
                for peer in node.inside() {
                    self.peer(peer, report);
                }
            }
            "virtual_ipaddress" | "virtual_ipaddress_excluded" => {
                for address in node.inside() {
                    if let Err(why) = self.address(address, found, report) {
                        report.left_out(&address.place, why);
                    }
                }
            }
            _ => known::tell(Within::Vrrp, node, report),
        }
    }

    fn peer(&mut self, node: &Node, report: &mut Report) {
        match node.name().parse() {
            Ok(address) if self.peers.is_empty() => self.peers.push(address),
            Ok(_) => {
                let why = format!("the peer {}: there is one backup", node.name());
                report.left_out(&node.place, why);
            }
            Err(_) => {
                let why = format!("`{}` is no address of a peer", node.written());
                report.left_out(&node.place, why);
            }
        }
        known::tell_rest(node, 0, report);
    }

    /// `192.0.2.10/24 dev eth1 label eth1:1`.
    fn address(&self, node: &Node, found: &mut Found, report: &mut Report) -> Result<(), String> {
        let (address, prefix) = with_prefix(node.name())
            .ok_or_else(|| format!("`{}` is no address", node.written()))?;
        let mut device = self.interface;
        let mut label = None;
        let mut words = node.values().iter().map(String::as_str);
        while let Some(word) = words.next() {
            match word {
                "dev" => device = words.next().unwrap_or(device),
                "label" => label = words.next(),
                // Both are as everybody has them.
                "scope" | "brd" | "broadcast" | "peer" | "preferred_lft" => {
                    let value = words.next().unwrap_or_default();
                    let why = format!("`{word} {value}` of an address has no directive");
                    report.left_out(&node.place, why);
                }
                other => {
                    let why = format!("`{other}` of an address has no directive");
                    report.left_out(&node.place, why);
                }
            }
        }
        let is_alias = |label: &&str| label.split(':').next() == Some(device);
        let home = Home {
            device: crate::import::found::device(label.filter(is_alias).unwrap_or(device))?
                .to_owned(),
            prefix,
        };
        if found.homes.iter().any(|(other, _, _)| *other == address) {
            return Err(format!("{address} is there already"));
        }
        found.homes.push((address, home, node.place.clone()));
        Ok(())
    }

    /// VRRP's master down interval: `missing` intervals and the skew time of the priority (RFC 5798, 6.1); up
    /// to the next tenth of a second.
    fn deadtime(&self) -> u32 {
        let interval = f64::from(self.interval);
        let skew = (256.0 - self.priority) / 256.0 * interval;
        let dead = ((self.missing * interval + skew) / 100.0).ceil() * 100.0;
        // At most 101 times an hour, and not negative.
        dead as u32
    }
}

/// All addresses of lvs.cf move together, so a group need not say it.
pub(super) fn sync_group(node: &Node, report: &mut Report) {
    for directive in node.inside() {
        if directive.name() != "group" {
            known::tell(Within::Vrrp, directive, report);
        }
    }
}
