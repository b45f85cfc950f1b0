//! Which interfaces the program is on.

use std::collections::{BTreeMap, BTreeSet};

use nix::net::if_::if_nametoindex;
use tokio::sync::watch;

use super::Options;
use crate::{
    dataplane::kernel::{Attached, Back, Mode, Program},
    journal::{About, Journal, Kind},
    model::Site,
    network::links::{Links, Xdp},
    status::InterfaceStatus,
};

/// The interfaces with the program on them, by name.
pub(super) struct Interfaces {
    journal: Journal,
    attached: BTreeMap<String, InterfaceStatus>,
    /// Those that were refused, so that it is said once.
    refused: BTreeSet<String>,
    /// The indexes of those that a way led to.
    seen: BTreeSet<u32>,
    shown: watch::Sender<Vec<InterfaceStatus>>,
}

impl Interfaces {
    pub(super) fn new(journal: Journal) -> Self {
        Self {
            journal,
            attached: BTreeMap::new(),
            refused: BTreeSet::new(),
            seen: BTreeSet::new(),
            shown: watch::Sender::default(),
        }
    }

    /// Puts the program on an interface unless it is there.
    pub(super) fn attach(
        &mut self,
        program: &mut Program,
        name: &str,
        mode: Mode,
    ) -> anyhow::Result<()> {
        if self.attached.contains_key(name) {
            return Ok(());
        }
        let attached = program.attach(name, mode)?;
        let text = format!("program attached to {name}, {attached}");
        self.journal.tell(Kind::Attached, About::ALL, text);
        self.attached.insert(
            name.to_owned(),
            InterfaceStatus {
                name: name.to_owned(),
                mode: attached.to_string(),
                index: if_nametoindex(name)?,
                packets: 0,
                bytes: 0,
                steered: 0,
                passed: 0,
                dropped: 0,
            },
        );
        self.show();
        Ok(())
    }

    /// As [`Self::attach`]; a refusal is told once and changes nothing.
    pub(super) fn attach_if_possible(&mut self, program: &mut Program, name: &str, mode: Mode) {
        if !self.refused.contains(name)
            && let Err(error) = self.attach(program, name, mode)
        {
            let text = format!("{error:#}; packets that come in by {name} are not steered");
            self.journal.tell(Kind::NotAttached, About::ALL, text);
            self.refused.insert(name.to_owned());
        }
    }

    /// Notes how the program runs where one before it was replaced.
    pub(super) fn note_modes(&mut self, links: &Links) {
        let mut is_changed = false;
        for interface in self.attached.values_mut() {
            let mode = match links.named(&interface.name).ok().and_then(|link| link.xdp) {
                Some(Xdp::Native) => Attached::Native,
                Some(Xdp::Generic) => Attached::Generic,
                None => continue,
            };
            let mode = mode.to_string();
            if interface.mode != mode {
                interface.mode = mode;
                is_changed = true;
            }
        }
        if is_changed {
            self.show();
        }
    }

    fn show(&self) {
        self.shown
            .send_replace(self.attached.values().cloned().collect());
    }

    /// Whether a way leads to this interface for the first time.
    pub(super) fn is_new(&mut self, index: u32) -> bool {
        self.seen.insert(index)
    }

    /// The interfaces with the program on them, now and whenever that changes.
    pub(super) fn shown(&self) -> watch::Receiver<Vec<InterfaceStatus>> {
        self.shown.subscribe()
    }
}

/// The interfaces that are known before any way is.
pub(super) fn first_interfaces(options: &Options, site: &Site) -> Vec<String> {
    if !options.interfaces.is_empty() {
        return options.interfaces.clone();
    }
    let names: BTreeSet<_> = site
        .addresses
        .iter()
        .map(|address| address.interface.clone())
        .collect();
    names.into_iter().collect()
}

/// How packets leave by the interface that they came from.
pub(super) fn way_back(options: &Options, links: &Links) -> Back {
    let is_used =
        |name: &String| options.interfaces.is_empty() || options.interfaces.contains(name);
    if options.mode != Mode::Generic && links.iter().any(|link| link.veth && is_used(&link.name)) {
        Back::Redirect
    } else {
        Back::Transmit
    }
}
