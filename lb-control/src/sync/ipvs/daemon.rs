//! A sync daemon as IPVS has it: which multicasts it sends or hears (`ipvsadm --start-daemon`).

use std::{
    collections::BTreeMap,
    fmt,
    net::{IpAddr, SocketAddr},
};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{GROUP, PORT};

/// Whether a daemon tells or listens.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum SyncRole {
    /// It tells.
    Master,
    /// It listens.
    Backup,
}

impl SyncRole {
    /// As ipvsadm writes it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Master => "master",
            Self::Backup => "backup",
        }
    }
}

/// The daemons of a director: at most one that tells, and one that listens.
pub type SyncDaemons = BTreeMap<SyncRole, SyncDaemon>;

/// Which daemons there are to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// One that tells while this director is active, and listens while it is not: lvs.cf says so.
    ByRole(SyncDaemon),
    /// These, whatever the director is: commands say so.
    Said(SyncDaemons),
}

impl Wanted {
    /// Those that run.
    #[must_use]
    pub fn running(&self, is_active: bool) -> SyncDaemons {
        match self {
            Self::ByRole(daemon) => {
                let role = if is_active {
                    SyncRole::Master
                } else {
                    SyncRole::Backup
                };
                [(role, daemon.clone())].into()
            }
            Self::Said(daemons) => daemons.clone(),
        }
    }

    /// The one with this part, now or later.
    #[must_use]
    pub fn daemon(&self, role: SyncRole) -> Option<&SyncDaemon> {
        match self {
            Self::ByRole(daemon) => Some(daemon),
            Self::Said(daemons) => daemons.get(&role),
        }
    }
}

/// Which multicasts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SyncDaemon {
    /// The interface by which they come and go (`--mcast-interface`).
    pub interface: String,
    /// Tells several pairs on a network apart (`--syncid`).
    #[serde(default)]
    pub syncid: u8,
    /// The longest message, in bytes without the headers of IP and UDP (`--sync-maxlen`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maxlen: Option<u16>,
    /// The group (`--mcast-group`), an address of multicast; by default 224.0.0.81.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "224.0.0.81")]
    pub group: Option<IpAddr>,
    /// The UDP port (`--mcast-port`); by default 8848.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// How many networks a message may cross (`--mcast-ttl`); by default 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<u8>,
}

impl SyncDaemon {
    /// One as IPVS has it by default.
    #[must_use]
    pub const fn on(interface: String, syncid: u8) -> Self {
        Self {
            interface,
            syncid,
            maxlen: None,
            group: None,
            port: None,
            ttl: None,
        }
    }

    /// Where its messages go.
    #[must_use]
    pub fn group(&self) -> SocketAddr {
        SocketAddr::new(self.group.unwrap_or(GROUP), self.port.unwrap_or(PORT))
    }

    /// How many networks a message may cross.
    #[must_use]
    pub fn ttl(&self) -> u8 {
        self.ttl.unwrap_or(1)
    }

    /// The longest message, in bytes: as said, else what fits a packet of 1500 bytes, as with IPVS (its
    /// `start_sync_thread`).
    #[must_use]
    pub fn longest(&self) -> u16 {
        let headers = match self.group() {
            SocketAddr::V4(_) => 20 + 8,
            SocketAddr::V6(_) => 40 + 8,
        };
        self.maxlen.unwrap_or(1_500 - headers)
    }

    /// What is said besides interface and id, by the options of ipvsadm.
    #[must_use]
    pub fn said(&self) -> Vec<(&'static str, String)> {
        let said = [
            (
                "--sync-maxlen",
                self.maxlen.map(|maxlen| maxlen.to_string()),
            ),
            ("--mcast-group", self.group.map(|group| group.to_string())),
            ("--mcast-port", self.port.map(|port| port.to_string())),
            ("--mcast-ttl", self.ttl.map(|ttl| ttl.to_string())),
        ];
        let said = said.into_iter();
        said.filter_map(|(option, value)| Some((option, value?)))
            .collect()
    }
}

/// As `ipvsadm -L --daemon` writes it behind the role.
impl fmt::Display for SyncDaemon {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            interface, syncid, ..
        } = self;
        let (maxlen, ttl) = (self.longest(), self.ttl());
        let (group, port) = (self.group().ip(), self.group().port());
        write!(
            f,
            "mcast={interface}, syncid={syncid}, maxlen={maxlen}, group={group}, port={port}, ttl={ttl}"
        )
    }
}
