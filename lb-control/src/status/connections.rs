//! How connection synchronisation goes.

use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::StatusReport;
use crate::sync::runner::Status;

/// Connection synchronisation, where it is switched on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SyncStatus {
    /// `own`, or `ipvs` (`syncd_compat`).
    pub language: String,
    /// This node tells; if not, it listens.
    pub tells: bool,
    /// The partner is heard.
    pub partner: bool,
    /// The standby node has everything that was due. With IPVS nobody knows.
    pub in_sync: bool,
    /// How long ago the oldest change happened that the partner has not acknowledged, in milliseconds.
    pub lag_ms: u64,
    /// How many connections are due or on their way to the partner.
    pub unsynced: u64,
    /// How many were told.
    pub told: u64,
    /// How many were heard of.
    pub heard: u64,
    /// How many of these became, changed or ended connections here.
    pub learned: u64,
    /// How many of these belong to a service or real server that is not known here.
    pub strange: u64,
    /// How many of these found no room.
    pub refused: u64,
    /// How many messages were sent again.
    pub again: u64,
    /// How often everything was told or heard.
    pub rounds: u64,
    /// How many changes were not told by themselves, because too many were due.
    pub overflowed: u64,
    /// How many datagrams were not heeded.
    pub rejected: u64,
}

impl StatusReport {
    /// Adds how connection synchronisation goes.
    pub fn add_sync(&mut self, status: &Status) {
        self.sync = status.runs.then(|| sync(status));
    }
}

fn sync(status: &Status) -> SyncStatus {
    let Status {
        figures, outcomes, ..
    } = status;
    SyncStatus {
        language: if status.is_ipvs { "ipvs" } else { "own" }.to_owned(),
        tells: status.is_active,
        partner: figures.partner,
        in_sync: figures.in_sync,
        lag_ms: u64::try_from(figures.lag.as_millis()).unwrap_or(u64::MAX),
        unsynced: figures.unsynced,
        told: figures.told,
        heard: figures.heard,
        learned: outcomes.learned,
        strange: outcomes.strange,
        refused: outcomes.refused,
        again: figures.again,
        rounds: figures.rounds,
        overflowed: figures.overflowed,
        rejected: figures.rejected,
    }
}

impl fmt::Display for SyncStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let how = match (self.language.as_str(), self.partner, self.in_sync) {
            ("ipvs", _, _) => "with IPVS",
            (_, false, _) => "the partner is not heard",
            (_, true, false) => "not complete yet",
            (_, true, true) => "in sync",
        };
        if self.tells {
            let Self {
                told,
                unsynced,
                lag_ms,
                ..
            } = self;
            writeln!(
                f,
                "connections: {how}; {told} told, {unsynced} not yet, {lag_ms} ms behind"
            )
        } else {
            let Self {
                heard,
                strange,
                refused,
                ..
            } = self;
            writeln!(
                f,
                "connections: {how}; {heard} heard, {strange} of unknown servers, {refused} without room"
            )
        }
    }
}
