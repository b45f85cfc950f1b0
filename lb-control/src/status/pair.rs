//! How the pair is.

use std::{fmt, net::IpAddr, time::Duration};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Role, StatusReport};
use crate::heartbeat::{
    lease::Lease,
    machine::{self, Node, Unfit},
    runner::PairState,
};

/// A pair of directors, as one of them sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PairStatus {
    /// Which of the two this node is: `primary` or `backup`.
    pub node: String,
    /// The partner; none if it was not heard for `deadtime`.
    pub partner: Option<PartnerStatus>,
    /// For how many milliseconds the data plane has the right to steer; none on standby.
    pub lease_ms: Option<u64>,
    /// Time between two heartbeats, in milliseconds.
    pub keepalive_ms: u64,
    /// Silence after which the partner is dead, in milliseconds.
    pub deadtime_ms: u64,
    /// Why this node must not be active, in words.
    pub unfit: Option<String>,
    /// Whether the partner's lvs.cf is the same, if it says.
    pub same_config: Option<bool>,
    /// The networks that heartbeats go by.
    pub paths: Vec<PathStatus>,
}

/// The other director.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PartnerStatus {
    /// Its part: `starting`, `standby`, `active`, `leaving`, `yielding`, `gone` or `absent`.
    pub role: String,
    /// It may become active.
    pub fit: bool,
    /// It hears this node.
    pub hears: bool,
    /// When it was heard last, in milliseconds before now.
    pub heard_ms_ago: u64,
}

/// A network that heartbeats go by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PathStatus {
    /// `public` or `private`.
    pub name: String,
    /// The address of this node.
    #[schema(value_type = String, example = "192.0.2.2")]
    pub own: IpAddr,
    /// The address of the partner.
    #[schema(value_type = String, example = "192.0.2.3")]
    pub partner: IpAddr,
    /// The partner is heard by it.
    pub up: bool,
    /// The partner hears this node by it, as it says.
    pub partner_hears: bool,
    /// When it was heard last, in milliseconds before now.
    pub heard_ms_ago: Option<u64>,
    /// How many heartbeats came.
    pub received: u64,
    /// How many were not heeded.
    pub rejected: u64,
}

impl StatusReport {
    /// Adds how the pair is, at this time since boot.
    pub fn add_pair(&mut self, state: &PairState, now: Duration) {
        self.role = match state.role {
            machine::Role::Active => Role::Active,
            machine::Role::Starting => Role::Starting,
            machine::Role::Standby | machine::Role::Yielding => Role::Standby,
            machine::Role::Leaving => Role::Leaving,
            machine::Role::Goodbye | machine::Role::Absent => Role::Stopping,
        };
        self.pair = state.pair.then(|| pair(state, now));
    }
}

fn pair(state: &PairState, now: Duration) -> PairStatus {
    let ago = |at: Duration| milliseconds(now.saturating_sub(at));
    let (keepalive, deadtime) = state.times;
    let paths = state
        .paths
        .iter()
        .map(|(path, own, partner, known)| PathStatus {
            name: path.name().to_owned(),
            own: *own,
            partner: *partner,
            up: known.heard.is_some_and(|at| now < at + deadtime),
            partner_hears: known.is_heard,
            heard_ms_ago: known.heard.map(ago),
            received: known.received,
            rejected: known.rejected,
        });
    PairStatus {
        node: node_name(state.node).to_owned(),
        partner: state
            .partner
            .map(|(heard, role, fit, hears)| PartnerStatus {
                role: role.name().to_owned(),
                fit,
                hears,
                heard_ms_ago: ago(heard),
            }),
        lease_ms: match state.lease {
            Lease::Until(until) => Some(milliseconds(until.saturating_sub(now))),
            Lease::None | Lease::Standby => None,
        },
        keepalive_ms: milliseconds(keepalive),
        deadtime_ms: milliseconds(deadtime),
        unfit: state.unfit.as_ref().map(unfit),
        same_config: state.same_config,
        paths: paths.collect(),
    }
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

const fn node_name(node: Node) -> &'static str {
    match node {
        Node::Primary => "primary",
        Node::Backup => "backup",
    }
}

fn unfit(unfit: &Unfit) -> String {
    match unfit {
        Unfit::Link(name) => format!("{name}: link down"),
        Unfit::Gateway(gateway) => format!("the gateway {gateway} does not answer"),
        Unfit::Hung => "the daemon does not get on".to_owned(),
        Unfit::NotReady => "it is not ready".to_owned(),
        Unfit::Service(what) => format!("failover service {what}"),
    }
}

impl fmt::Display for PairStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of a pair, ", self.node)?;
        match &self.partner {
            None => write!(f, "partner not heard")?,
            Some(partner) => {
                write!(
                    f,
                    "partner {}, heard {} ms ago",
                    partner.role, partner.heard_ms_ago
                )?;
                if !partner.fit {
                    f.write_str(", not able to take over")?;
                }
                if !partner.hears {
                    f.write_str(", does not hear this node")?;
                }
            }
        }
        if self.same_config == Some(false) {
            f.write_str(", its lvs.cf is another one")?;
        }
        writeln!(f)?;
        if let Some(unfit) = &self.unfit {
            writeln!(f, "  cannot become active: {unfit}")?;
        }
        for path in &self.paths {
            let PathStatus {
                name,
                own,
                partner,
                up,
                partner_hears,
                ..
            } = path;
            let how = match (up, partner_hears) {
                (true, true) => "both ways",
                (true, false) => "from the partner only",
                (false, true) => "to the partner only",
                (false, false) => "nothing comes",
            };
            writeln!(f, "  {name} {own} - {partner}: {how}")?;
        }
        Ok(())
    }
}
