//! `global_defs`: timeouts, and the copying of connections.

use super::{
    known::{self, Within},
    tree::Node,
};
use crate::import::{
    found::{Found, Setting, sync_daemon},
    report::Report,
};

/// What is carried over of it.
#[derive(Debug, Default)]
pub(super) struct Globals<'a> {
    /// The interface of addresses that name none.
    pub(super) interface: Option<&'a str>,
    sync: Option<&'a Node>,
    timeouts: Vec<Setting>,
}

impl<'a> Globals<'a> {
    pub(super) fn new(nodes: impl Iterator<Item = &'a Node>, report: &mut Report) -> Self {
        let mut globals = Self::default();
        for node in nodes.flat_map(Node::inside) {
            match node.name() {
                "default_interface" => globals.interface = Some(node.value()),
                "lvs_sync_daemon" => globals.sync = Some(node),
                "lvs_timeouts" => globals.timeouts = timeouts(node, report),
                _ => known::tell(Within::Globals, node, report),
            }
        }
        globals
    }

    /// Puts it into what was found.
    pub(super) fn carry(self, instances: &[&Node], found: &mut Found, report: &mut Report) {
        found.globals.extend(self.timeouts);
        let is_said = self.sync.is_some();
        if let Some(node) = self.sync {
            sync(node, instances, found, report);
        }
        let inside = instances.iter().flat_map(|instance| {
            let names = instance.inside().iter();
            names.map(move |node| (*instance, node))
        });
        let old = inside.filter(|(_, node)| node.name() == "lvs_sync_daemon_interface");
        for (index, (instance, node)) in old.enumerate() {
            if index > 0 || is_said {
                let why = format!("`{}`: one interface carries it", node.written());
                report.left_out(&node.place, why);
                continue;
            }
            copying(node.value(), router_id(instance), node, found, report);
        }
    }
}

/// `lvs_timeouts tcp 600 tcpfin 30 udp 300`.
fn timeouts(node: &Node, report: &mut Report) -> Vec<Setting> {
    let mut settings = Vec::new();
    for pair in node.values().chunks(2) {
        let [name, value] = pair else {
            report.left_out(
                &node.place,
                format!("`{}` has a word too many", node.written()),
            );
            continue;
        };
        let directive = match name.as_str() {
            "tcp" => "tcp_timeout",
            "tcpfin" | "tcp_fin" => "tcpfin_timeout",
            "udp" => "udp_timeout",
            other => {
                let why = format!("`{other}` is no timeout that is known here");
                report.left_out(&node.place, why);
                continue;
            }
        };
        match value.parse::<u32>() {
            Ok(seconds) => settings.push(Setting::plain(directive, seconds, &node.place)),
            Err(_) => {
                let why = format!("`{value}` is no number of seconds");
                report.left_out(&node.place, why);
            }
        }
    }
    settings
}

/// `lvs_sync_daemon eth1 inst VI_1 id 51 maxlen 1472`.
fn sync(node: &Node, instances: &[&Node], found: &mut Found, report: &mut Report) {
    let mut words = node.values().iter().map(String::as_str);
    let interface = words.next().unwrap_or("eth0");
    let mut id = None;
    let mut instance = None;
    while let Some(word) = words.next() {
        match word {
            "id" => id = words.next(),
            "inst" => instance = words.next(),
            "maxlen" | "port" | "ttl" | "group" => {
                let value = words.next().unwrap_or_default();
                let why = format!("`{word} {value}` of `lvs_sync_daemon` has no directive");
                report.left_out(&node.place, why);
            }
            name => instance = Some(name),
        }
    }
    let its = instances.iter().find(|node| Some(node.value()) == instance);
    let id = id.unwrap_or_else(|| its.map_or("0", |instance| router_id(instance)));
    copying(interface, id, node, found, report);
}

fn copying(interface: &str, id: &str, node: &Node, found: &mut Found, report: &mut Report) {
    let settings = id
        .parse()
        .map_err(|_| format!("`{}`: numbers of daemons are 0 to 255", node.written()))
        .and_then(|id| sync_daemon(interface, id, &node.place));
    match settings {
        Ok(settings) => found.globals.extend(settings),
        Err(why) => report.left_out(&node.place, why),
    }
}

/// What tells several pairs on a network apart, unless something else is said.
fn router_id(instance: &Node) -> &str {
    let mut said = instance.inside().iter();
    let id = said.find(|node| node.name() == "virtual_router_id");
    id.map_or("0", Node::value)
}
