//! Everything that may change the maps.

use std::collections::BTreeMap;

use lb_common::maps::Vlan;
use tokio::sync::oneshot;

use crate::{
    control::{
        connection::Owners,
        order::{Order, Unknown},
        table::Table,
    },
    health::Report,
    model::{ServiceId, Site},
    network::next_hop::Resolved,
    status::{StatusReport, measured::Measured},
    sync::connection::Names,
};

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
    /// Time to look whose time has ended, to try again what was refused, and to give free what nobody
    /// uses any more.
    Tick,
    /// An operator says what is to become of a real server.
    Ordered {
        /// What.
        order: Order,
        /// Who says so.
        who: String,
        /// What became of it, in words.
        reply: oneshot::Sender<Result<String, Unknown>>,
    },
    /// Somebody waits until the maps are as everything before this wants them; what the kernel has refused is
    /// tried again later.
    Written(oneshot::Sender<()>),
    /// Counters begin anew: those of one service, else all.
    Zero(Option<ServiceId>),
    /// Somebody wants the routing table: of one service, else all.
    Table(Option<ServiceId>, oneshot::Sender<Table>),
    /// Somebody wants to know whose the ids of real servers are, to read flows.
    Owners(oneshot::Sender<Owners>),
    /// Connection synchronisation wants to know whose the ids of services and real servers are, if that has changed
    /// since this version.
    Names(u64, oneshot::Sender<Option<Names>>),
    /// Somebody wants to know how things are.
    Status(oneshot::Sender<StatusReport>),
    /// The same without services, however many there are.
    Overall(oneshot::Sender<StatusReport>),
    /// Somebody wants to know how some of the services are, from this place on in the order of the site; nothing
    /// if there are no more.
    Measure(usize, oneshot::Sender<Vec<Measured>>),
}
