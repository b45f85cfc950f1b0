//! What the directives outside of blocks mean to the daemon.

use std::{net::IpAddr, path::PathBuf, time::Duration};

use super::{
    diagnostic::{Diagnostic, Diagnostics},
    directives::GlobalKey,
    document::Document,
    settings::{GlobalSettings, Mode},
    source::Span,
    values::Time,
};
use crate::{
    heartbeat::{director::Format, key::Key, wire::Authentication},
    model::{Method, Timeouts},
};

/// Time between two heartbeats where the file says nothing about them.
const KEEPALIVE: Duration = Duration::from_millis(200);

/// Silence after which the partner is dead, likewise.
const DEADTIME: Duration = Duration::from_millis(700);

/// The UDP port of connection synchronisation, unless the file says another.
const SYNC_PORT: u16 = 8_849;

/// Everything about the directors themselves. Their floating addresses are in the `Site`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Global {
    /// Counts the edits of the file (`serial_no`).
    pub serial: i32,
    /// Which blocks are live (`service`).
    pub mode: Mode,
    /// How packets reach the real servers (`network`).
    pub method: Method,
    /// The director that wins ties (`primary`, `primary_private`).
    pub primary: Director,
    /// The other one (`backup`, `backup_private`).
    pub backup: Director,
    /// There is a backup to exchange heartbeats with (`backup_active`, and `backup` is an address).
    pub backup_active: bool,
    /// The UDP port of heartbeats (`heartbeat_port`).
    pub heartbeat_port: u16,
    /// Time between two heartbeats (`keepalive`).
    pub keepalive: Duration,
    /// Silence after which the partner is dead (`deadtime`).
    pub deadtime: Duration,
    /// A link that is down costs the active role (`monitor_links`).
    pub monitor_links: bool,
    /// Connections are copied to the partner (`syncdaemon`).
    pub sync: Option<ConnectionSync>,
    /// Run when this director becomes active: program and arguments (`active_cmd`).
    pub active_command: Vec<String>,
    /// Run when it no longer is (`inactive_cmd`).
    pub inactive_command: Vec<String>,
    /// How long these may take (`command_timeout`).
    pub command_timeout: Duration,
    /// The primary becomes active again when it is back (`failback`).
    pub failback: bool,
    /// How heartbeats are written (`heartbeat_format`).
    pub heartbeat_format: Format,
    /// What they are signed with (`heartbeat_key`).
    pub heartbeat_keys: Vec<Key>,
    /// Where more of these are (`heartbeat_key_file`); they go first.
    pub heartbeat_key_file: Option<PathBuf>,
    /// Which heartbeats are believed (`heartbeat_auth`).
    pub authentication: Authentication,
    /// Who has to answer pings (`track_gateway`).
    pub gateway: Option<IpAddr>,
}

/// The addresses of one director.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Director {
    /// Its real address.
    pub public: Option<IpAddr>,
    /// Its address on the second heartbeat network, if there is a second network.
    pub private: Option<IpAddr>,
}

/// How connections are copied between directors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectionSync {
    /// The interface for multicast (`syncd_iface`).
    pub interface: String,
    /// Tells several pairs on a network apart (`syncd_id`).
    pub id: u8,
    /// The UDP port between directors of ours (`syncd_port`).
    pub port: u16,
    /// The partner is IPVS (`syncd_compat`).
    pub is_compat: bool,
}

/// The meaning of the global settings.
pub(super) fn global(
    settings: &GlobalSettings,
    document: &Document,
    diagnostics: &mut Diagnostics,
) -> Global {
    let mut checks = Checks {
        document,
        diagnostics,
    };
    let written = [GlobalKey::Keepalive, GlobalKey::Deadtime];
    let is_silent = !written.iter().any(|key| document.says(*key));
    let own = &settings.ours;
    let (keepalive, deadtime) = match own.heartbeat_format {
        Format::Own if is_silent => (KEEPALIVE, DEADTIME),
        Format::Own | Format::Piranha => (
            checks.seconds(GlobalKey::Keepalive, settings.keepalive, 2),
            checks.seconds(GlobalKey::Deadtime, settings.deadtime, 5),
        ),
    };
    if deadtime <= keepalive {
        // It may be `keepalive` alone that is said, and too much.
        let key = match document.says(GlobalKey::Deadtime) {
            true => GlobalKey::Deadtime,
            false => GlobalKey::Keepalive,
        };
        checks.warn(
            key,
            "`deadtime` is not longer than `keepalive`: the partner is taken for dead between two heartbeats",
            "at least twice `keepalive`",
        );
    }
    Global {
        serial: settings.serial_no,
        mode: settings.service,
        method: settings.network,
        primary: director(settings.primary, settings.primary_private),
        backup: director(settings.backup, settings.backup_private),
        backup_active: checks.backup_active(settings),
        heartbeat_port: checks.heartbeat_port(settings.heartbeat_port),
        keepalive,
        deadtime,
        monitor_links: settings.monitor_links != 0,
        sync: checks.sync(settings),
        active_command: command(settings.active_cmd.as_deref()),
        inactive_command: command(settings.inactive_cmd.as_deref()),
        command_timeout: checks.seconds(GlobalKey::CommandTimeout, own.command_timeout, 10),
        failback: own.failback,
        heartbeat_format: own.heartbeat_format,
        heartbeat_keys: checks.keys(settings),
        heartbeat_key_file: own.heartbeat_key_file.as_ref().map(PathBuf::from),
        authentication: own.heartbeat_auth,
        gateway: Some(own.track_gateway).filter(|gateway| !gateway.is_unspecified()),
    }
}

/// How long silent connections are remembered; 0 leaves the default of IPVS.
pub(super) fn timeouts(
    settings: &GlobalSettings,
    document: &Document,
    diagnostics: &mut Diagnostics,
) -> Timeouts {
    let mut checks = Checks {
        document,
        diagnostics,
    };
    let defaults = Timeouts::default();
    Timeouts {
        tcp: checks.timeout(GlobalKey::TcpTimeout, settings.tcp_timeout, defaults.tcp),
        tcp_fin: checks.timeout(
            GlobalKey::TcpfinTimeout,
            settings.tcpfin_timeout,
            defaults.tcp_fin,
        ),
        udp: checks.timeout(GlobalKey::UdpTimeout, settings.udp_timeout, defaults.udp),
    }
}

/// Connections and clients are remembered in whole seconds; a part of one counts as one.
pub(super) fn whole_seconds(time: Duration, span: Span, diagnostics: &mut Diagnostics) -> Duration {
    if time.subsec_nanos() == 0 {
        return time;
    }
    let seconds = time.as_secs() + 1;
    let message = format!("only whole seconds are counted here; {seconds} are used");
    diagnostics.warn(
        span,
        message,
        "parts of a second are for checks, heartbeats and `drain`",
    );
    Duration::from_secs(seconds)
}

/// Where a global directive's value stands.
pub(super) fn place(document: &Document, key: GlobalKey) -> Span {
    let said = document
        .globals
        .iter()
        .rev()
        .find(|directive| directive.key() == key);
    said.map_or(Span::default(), |directive| directive.value().span)
}

struct Checks<'a> {
    document: &'a Document,
    diagnostics: &'a mut Diagnostics,
}

impl Checks<'_> {
    fn seconds(&mut self, key: GlobalKey, time: Time, default: u64) -> Duration {
        match time.duration() {
            Some(time) if !time.is_zero() => time,
            Some(_) | None => {
                self.warn(
                    key,
                    &format!("no time at all; {default} seconds are used"),
                    "at least 1, or e.g. 500ms",
                );
                Duration::from_secs(default)
            }
        }
    }

    fn timeout(&mut self, key: GlobalKey, time: Time, default: Duration) -> Duration {
        match time.duration() {
            Some(Duration::ZERO) => default,
            Some(time) => whole_seconds(time, place(self.document, key), self.diagnostics),
            None => {
                self.warn(
                    key,
                    "a negative time; the default is used",
                    "0 is the default",
                );
                default
            }
        }
    }

    /// Each number once. With Piranha's format there is nothing to sign.
    fn keys(&mut self, settings: &GlobalSettings) -> Vec<Key> {
        let own = &settings.ours;
        let has_keys = !own.heartbeat_keys.is_empty() || own.heartbeat_key_file.is_some();
        if has_keys && own.heartbeat_format == Format::Piranha {
            self.warn(
                GlobalKey::HeartbeatFormat,
                "Piranha's heartbeats are not signed: whoever can send from the partner's address can move the addresses",
                "`own` as soon as both nodes are ours",
            );
        }
        for (place, key) in own.heartbeat_keys.iter().enumerate() {
            let before = own.heartbeat_keys.iter().take(place);
            if before.into_iter().any(|other| other.id == key.id) {
                let message = format!("two keys have the number {}", key.id);
                let span = self::place(self.document, GlobalKey::HeartbeatKey);
                self.diagnostics
                    .error(span, message, "a number of its own for each");
            }
        }
        own.heartbeat_keys.clone()
    }

    fn backup_active(&mut self, settings: &GlobalSettings) -> bool {
        let lonely = settings.backup_active && settings.backup.is_unspecified();
        if lonely {
            self.warn(
                GlobalKey::BackupActive,
                "`backup_active` without a `backup` is taken for 0",
                "say who is the backup: `backup = ADDRESS`",
            );
        }
        settings.backup_active && !lonely
    }

    fn sync(&mut self, settings: &GlobalSettings) -> Option<ConnectionSync> {
        let own = &settings.ours;
        let is_compat = own.syncd_compat;
        if settings.syncdaemon && !is_compat && !settings.backup_active {
            self.warn(
                GlobalKey::Syncdaemon,
                "`syncdaemon` without a partner: nobody is told",
                "`backup_active = 1`, or `syncd_compat = 1` if the partner is IPVS",
            );
        }
        let port = u16::try_from(own.syncd_port).ok().filter(|port| *port > 0);
        if port.is_none() {
            let message = format!("{} is no port; {SYNC_PORT} is used", own.syncd_port);
            self.warn(GlobalKey::SyncdPort, &message, "1 to 65535");
        }
        settings.syncdaemon.then(|| ConnectionSync {
            interface: settings.syncd_iface.clone(),
            id: settings.syncd_id.to_le_bytes()[0],
            port: port.unwrap_or(SYNC_PORT),
            is_compat,
        })
    }

    /// What does not fit 16 bits is cut, as it was by Piranha, which may be the partner.
    fn heartbeat_port(&mut self, port: i32) -> u16 {
        let [low, high, ..] = port.to_le_bytes();
        let kept = u16::from_le_bytes([low, high]);
        if kept == 0 || i32::from(kept) != port {
            let message = format!("{port} is no port; it is used as {kept}");
            self.warn(GlobalKey::HeartbeatPort, &message, "1 to 65535");
        }
        kept
    }

    fn warn(&mut self, key: GlobalKey, message: &str, help: &str) {
        let span = place(self.document, key);
        self.diagnostics
            .push(Diagnostic::warning(span, message).help(help));
    }
}

fn director(public: IpAddr, private: IpAddr) -> Director {
    let written = |address: IpAddr| (!address.is_unspecified()).then_some(address);
    Director {
        public: written(public),
        private: written(private).filter(|_| private != public),
    }
}

fn command(text: Option<&str>) -> Vec<String> {
    text.unwrap_or_default()
        .split_ascii_whitespace()
        .map(String::from)
        .collect()
}
