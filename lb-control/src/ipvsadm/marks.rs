//! What firewall marks stand for. IPVS leaves that to the packet filter; XDP sees packets before any filter
//! marks them, so a group has to know itself, and the filter's rules are read instead.

use std::{
    cell::OnceCell,
    process::{Command, Stdio},
};

use crate::{
    config::marks::{self, Imported},
    model::{Family, Selector},
};

/// Who prints the rules of packet filters.
pub trait Firewall {
    /// The rules, as each program that is there prints them.
    fn rules(&self) -> Vec<String>;
}

/// The packet filters of this machine.
#[derive(Debug, Default)]
pub struct SystemFirewall;

impl Firewall for SystemFirewall {
    fn rules(&self) -> Vec<String> {
        let programs: [(&str, &[&str]); 3] = [
            ("iptables-save", &["-t", "mangle"]),
            ("ip6tables-save", &["-t", "mangle"]),
            ("nft", &["list", "ruleset"]),
        ];
        programs
            .into_iter()
            .filter_map(|(program, arguments)| {
                let output = Command::new(program)
                    .args(arguments)
                    .stdin(Stdio::null())
                    .stderr(Stdio::null())
                    .output()
                    .ok()?;
                let text = String::from_utf8_lossy(&output.stdout).into_owned();
                output.status.success().then_some(text)
            })
            .collect()
    }
}

/// What marks stand for, by the rules of packet filters, which are read when they are first needed.
pub(super) struct Marks<'a> {
    firewall: &'a dyn Firewall,
    imported: OnceCell<Vec<Imported>>,
}

impl<'a> Marks<'a> {
    pub(super) fn new(firewall: &'a dyn Firewall) -> Self {
        Self {
            firewall,
            imported: OnceCell::new(),
        }
    }

    /// What a mark stands for; nothing if no rule sets it.
    pub(super) fn selectors(&self, mark: u32, family: Family) -> Vec<Selector> {
        let imported = self.imported.get_or_init(|| {
            let rules = self.firewall.rules();
            rules.iter().map(|text| marks::import(text)).collect()
        });
        let family = match family {
            Family::Ipv4 => marks::Family::V4,
            Family::Ipv6 => marks::Family::V6,
        };
        // iptables-nft and nft print the same rules.
        let mut found: Vec<Selector> = Vec::new();
        for selector in imported
            .iter()
            .filter_map(|imported| imported.groups.get(&(mark, family)))
            .flatten()
        {
            if !found.iter_mut().any(|known| known.join(selector)) {
                found.push(*selector);
            }
        }
        found.sort_unstable();
        found
    }
}
