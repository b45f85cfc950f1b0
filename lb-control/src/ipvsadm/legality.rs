//! Which options go with which command: ipvsadm's table, found out by asking ipvsadm 1.31 for each pair.

use super::{
    complaint::Complaint,
    option::{Kind, Verb},
};

/// The names of the options, in the order of [`Kind`].
const OPTIONS: [&str; 34] = [
    "numeric",
    "connection",
    "service-address",
    "scheduler",
    "persistent",
    "netmask",
    "real-server",
    "forwarding-method",
    "weight",
    "u-threshold",
    "l-threshold",
    "mcast-interface",
    "timeout",
    "daemon",
    "stats",
    "rate",
    "thresholds",
    "persistent-conn",
    "nosort",
    "syncid",
    "exact",
    "ops",
    "pe",
    "sched-flags",
    "mcast-group",
    "mcast-port",
    "mcast-ttl",
    "sync-maxlen",
    "tun-info",
    "tun-type",
    "tun-port",
    "tun-nocsum",
    "tun-csum",
    "tun-remcsum",
];

impl Kind {
    /// What messages call it.
    pub(super) fn name(self) -> &'static str {
        OPTIONS[self as usize]
    }
}

/// The options that were given.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Given(u64);

impl Given {
    /// One more; none may be there twice.
    pub(super) fn add(&mut self, kind: Kind) -> Result<(), Complaint> {
        if self.has(kind) {
            let name = kind.name();
            return Err(Complaint::usage(format!(
                "multiple '{name}' options specified"
            )));
        }
        self.0 |= 1 << kind as u32;
        Ok(())
    }

    /// Whether it is there.
    pub(super) const fn has(self, kind: Kind) -> bool {
        self.0 >> kind as u32 & 1 == 1
    }

    /// Whether one of them is there.
    pub(super) fn has_any(self, kinds: &[Kind]) -> bool {
        kinds.iter().any(|kind| self.has(*kind))
    }
}

/// `+` has to be there, `x` must not, of all `1` only one may; in the order of [`Kind`].
const fn rules(verb: Verb) -> Option<(&'static str, &'static str)> {
    Some(match verb {
        Verb::AddService => ("add-service", "xx+   xxxxxxxxxxxxxxx   xxxxxxxxxx"),
        Verb::EditService => ("edit-service", "xx+   xxxxxxxxxxxxxxx   xxxxxxxxxx"),
        Verb::DeleteService => ("delete-service", "xx+xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"),
        Verb::Flush => ("flush", "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"),
        Verb::List => ("list", " 11xxxxxxxxx11       xxxxxxx xxxxx"),
        Verb::AddServer => ("add-server", "xx+xxx+    xxxxxxxxxxxxxxxxxx     "),
        Verb::DeleteServer => ("delete-server", "xx+xxx+xxxxxxxxxxxxxxxxxxxxxxxxxxx"),
        Verb::EditServer => ("edit-server", "xx+xxx+    xxxxxxxxxxxxxxxxxx     "),
        Verb::Set => ("set", "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"),
        Verb::StartDaemon => ("start-daemon", "xxxxxxxxxxx xxxxxxx xxxx    xxxxxx"),
        Verb::StopDaemon => ("stop-daemon", "xxxxxxxxxxxxxxxxxxx xxxxxxxxxxxxxx"),
        Verb::Restore => ("restore", "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"),
        Verb::Save => ("save", " xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"),
        Verb::Zero => ("zero", "xx xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"),
        Verb::Help | Verb::Version => return None,
    })
}

/// Whether the options go with the command.
///
/// # Errors
/// The first option that is missing, or that must not be there.
pub(super) fn check(verb: Verb, given: Given) -> Result<(), Complaint> {
    let Some((command, rules)) = rules(verb) else {
        return Ok(());
    };
    check_by(rules, &OPTIONS, given.0, command, "command")
}

/// How the checksum of a tunnel may be said, and its port, by its type.
///
/// # Errors
/// The first option that is missing, or that must not be there.
pub(super) fn check_tunnel(kind: TunnelKind, given: Given) -> Result<(), Complaint> {
    let rules = match kind {
        TunnelKind::Ipip => "xxxx",
        TunnelKind::Gue => "+111",
        TunnelKind::Gre => "x11x",
    };
    let first = Kind::TunPort as usize;
    check_by(
        rules,
        &OPTIONS[first..],
        given.0 >> first,
        kind.name(),
        "tunnel type",
    )
}

/// `--tun-type`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum TunnelKind {
    /// IP in IP.
    #[default]
    Ipip,
    /// Generic UDP encapsulation.
    Gue,
    /// Generic routing encapsulation.
    Gre,
}

impl TunnelKind {
    /// As it is written.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ipip => "ipip",
            Self::Gue => "gue",
            Self::Gre => "gre",
        }
    }
}

fn check_by(
    rules: &str,
    names: &[&str],
    given: u64,
    what: &str,
    of: &str,
) -> Result<(), Complaint> {
    let mut only = None;
    for (bit, (rule, name)) in rules.bytes().zip(names).enumerate() {
        let is_given = given >> bit & 1 == 1;
        let text = match (rule, is_given) {
            (b'+', false) => {
                format!("You need to supply the '{name}' option for the '{what}' {of}")
            }
            (b'x', true) => format!("Illegal '{name}' option with the '{what}' {of}"),
            (b'1', true) => match only.replace(name) {
                None => continue,
                Some(other) => format!(
                    "The option '{name}' conflicts with the '{other}' option in the '{what}' {of}"
                ),
            },
            _ => continue,
        };
        return Err(Complaint::usage(text));
    }
    Ok(())
}
