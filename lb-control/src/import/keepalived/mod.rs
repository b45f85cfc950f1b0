//! keepalived.conf: what its services, checkers and addresses are in lvs.cf.
//!
//! ```text
//! files ── text ── Line ── tree ── Node ── globals, vrrp, service, checker ── Found
//! ```

mod addresses;
mod checker;
pub(super) mod files;
mod globals;
mod group;
mod http;
mod known;
mod sequence;
mod service;
mod text;
mod tree;
mod vrrp;

use std::path::Path;

use self::{files::Files, known::Within, tree::Node};
use super::{found::Found, report::Report};

/// Whether the text is a keepalived.conf.
pub(super) fn looks_like_it(text: &str) -> bool {
    const BLOCKS: [&str; 7] = [
        "global_defs",
        "vrrp_instance",
        "vrrp_sync_group",
        "vrrp_script",
        "virtual_server",
        "virtual_server_group",
        "static_ipaddress",
    ];
    text.lines().any(|line| {
        let line = line.trim_start();
        let first = line.split(|c: char| c.is_whitespace() || c == '{').next();
        first.is_some_and(|word| BLOCKS.contains(&word))
    })
}

/// What the file says, and those that it includes.
pub(super) fn read(
    path: &Path,
    text: &str,
    files: &mut dyn Files,
    config_id: &str,
    report: &mut Report,
) -> Found {
    let lines = text::lines(path, text, files, config_id, report);
    let nodes = tree::tree(&lines, report);
    let mut found = Found {
        notes: vec![format!(
            "Imported from keepalived's {} by `lb config import`.",
            path.display()
        )],
        ..Found::default()
    };
    let named = |name: &'static str| nodes.iter().filter(move |node| node.name() == name);
    let groups = group::groups(named("virtual_server_group"), report);
    for node in named("virtual_server") {
        found
            .services
            .extend(service::service(node, &groups, report));
    }
    let globals = globals::Globals::new(named("global_defs"), report);
    let instances: Vec<&Node> = named("vrrp_instance").collect();
    vrrp::carry(&instances, &globals, &mut found, report);
    globals.carry(&instances, &mut found, report);
    for node in named("vrrp_sync_group") {
        vrrp::sync_group(node, report);
    }
    let read = [
        "virtual_server_group",
        "virtual_server",
        "global_defs",
        "vrrp_instance",
        "vrrp_sync_group",
    ];
    for node in nodes.iter().filter(|node| !read.contains(&node.name())) {
        known::tell(Within::File, node, report);
    }
    found
}

/// A time, in milliseconds, as keepalived writes it: seconds, perhaps with a fraction.
fn time(text: &str) -> Option<u32> {
    let seconds: f64 = text.parse().ok()?;
    let longest = f64::from(i32::MAX) / 1000.0;
    // Within bounds, and never negative.
    (0.0..=longest)
        .contains(&seconds)
        .then(|| (seconds * 1000.0).round() as u32)
}

/// A time as lvs.cf has it: seconds, or with its unit.
fn written(milliseconds: u32) -> String {
    match milliseconds % 1000 {
        0 => (milliseconds / 1000).to_string(),
        _ => format!("{milliseconds}ms"),
    }
}

/// Whether a switch is on: `yes` and the like, or nothing behind it.
fn is_on(node: &Node) -> bool {
    !matches!(node.value(), "off" | "false" | "no")
}
