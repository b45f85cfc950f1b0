//! Who knows the table and changes it.

use crate::{
    control::{
        change::{Changes, Made, Refused},
        connection::Connection,
        table::Table,
    },
    model::ServiceId,
};

/// Who knows the table and changes it: the daemon.
pub trait Director {
    /// The routing table as it is; if `which` is said, of other services nothing has to be there.
    ///
    /// # Errors
    /// If it cannot be had.
    fn table(&mut self, which: Option<ServiceId>) -> Result<Table, Fault>;

    /// Calls `each` for every connection, until there are no more or it says to stop.
    ///
    /// # Errors
    /// If they cannot be had, or `each` fails.
    fn connections(
        &mut self,
        each: &mut dyn FnMut(Connection) -> std::io::Result<()>,
    ) -> Result<(), Fault>;

    /// Makes changes, all or none.
    ///
    /// # Errors
    /// If none was made.
    fn change(&mut self, changes: &Changes) -> Result<Made, Fault>;
}

/// Why the daemon did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// A change cannot be.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// Not for this user.
    #[error("Permission denied (you must be root)")]
    Denied,
    /// Nobody is there, or something else went wrong; in one line.
    #[error("{0}")]
    Other(String),
    /// What was read could not be passed on.
    #[error(transparent)]
    Output(#[from] std::io::Error),
}
