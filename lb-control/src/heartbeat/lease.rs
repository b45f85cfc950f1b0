//! The right to the floating addresses, as the data plane knows it: it reads it for every packet of a service.

use std::time::Duration;

/// What a node may do with packets of services.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lease {
    /// There is no partner: it always steers.
    None,
    /// The addresses are the partner's, and none of them is on this node: packets go up to the kernel.
    Standby,
    /// It steers until then, in the time since boot; after that packets, ARP requests and neighbour
    /// solicitations for addresses of services are dropped.
    Until(Duration),
}

impl Lease {
    /// One that is over: nothing is steered and nobody is answered, while addresses may still be here.
    pub const OVER: Self = Self::Until(Duration::from_nanos(1));
}

/// Who passes the right on to the data plane.
pub trait Keeper: Send {
    /// From now on this holds.
    ///
    /// # Errors
    /// If it cannot be written, in words.
    fn set(&mut self, lease: Lease) -> Result<(), String>;

    /// What holds: what a daemon before this one left.
    fn get(&self) -> Lease;
}
