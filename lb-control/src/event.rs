//! Everything that may change the maps.

use std::collections::BTreeMap;

use lb_common::maps::Vlan;
use tokio::sync::oneshot;

use crate::{health::Report, model::Site, network::next_hop::Resolved, status::StatusReport};

/// What the reconciler is told.
#[derive(Debug)]
pub enum Event {
    /// lvs.cf was read, at the start or again.
    Configured(Site),
    /// A nanny found a real server well, or no longer.
    Health(Report),
    /// The way to a real server is known, or no longer.
    Way(Resolved),
    /// The VLAN interfaces of this router are these, by index.
    Vlans(BTreeMap<u32, Vlan>),
    /// Time to try again what was refused, and to give free what nobody uses any more.
    Tick,
    /// Somebody wants to know how things are.
    Status(oneshot::Sender<StatusReport>),
}
