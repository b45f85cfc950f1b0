//! What other programs have, as lvs.cf: keepalived.conf, what `ipvsadm -S` printed, IPVS as it runs.
//!
//! ```text
//! keepalived.conf ── keepalived/ ─┐
//! ipvsadm -S ─────── save ────────┼── Found ── compose ── Draft ── settle ── lvs.cf
//! IPVS ───────────── kernel ──────┘                                            what was left out
//! ```
//!
//! Whatever comes out is a file that loads: the last step is to ask the parser of lvs.cf. What could not
//! be carried over is told with its line, each thing once; nothing is dropped in silence.

mod compose;
mod draft;
mod found;
mod interfaces;
mod keepalived;
mod kernel;
mod report;
mod save;
mod settle;

use std::path::Path;

use serde::Serialize;

use self::{compose::Knowledge, found::Found, report::Report};
pub use self::{
    interfaces::{Home, Interfaces, ThisMachine, Unknown},
    keepalived::files::{Disk, Files},
    kernel::{Table, running},
    report::{LeftOut, Place},
};
use crate::{config::marks, ipvsadm::Names};

/// What a text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// What `ipvsadm -S` printed.
    Ipvsadm,
    /// A keepalived.conf.
    Keepalived,
    /// Rules of a firewall that set marks.
    Marks,
}

impl Kind {
    /// What the text seems to be.
    #[must_use]
    pub fn of(text: &str) -> Option<Self> {
        // The others may have words of ipvsadm in scripts, and a firewall's `-A` names a chain.
        if keepalived::looks_like_it(text) {
            return Some(Self::Keepalived);
        }
        if marks::looks_like_it(text) {
            return Some(Self::Marks);
        }
        save::looks_like_it(text).then_some(Self::Ipvsadm)
    }
}

/// What there is to know besides the source.
pub struct Surroundings<'a> {
    /// Who knows names of hosts and services.
    pub names: &'a dyn Names,
    /// Who knows where virtual IPs belong.
    pub interfaces: &'a mut dyn Interfaces,
    /// What firewall marks stand for.
    pub marks: marks::Imported,
    /// Who reads the files that a keepalived.conf includes.
    pub files: &'a mut dyn Files,
    /// What keepalived's `@` lines are compared with: the name of the machine, or its option `-i`.
    pub config_id: &'a str,
}

/// An lvs.cf and what is missing in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Imported {
    /// The file.
    pub text: String,
    /// What could not be carried over.
    pub left_out: Vec<LeftOut>,
}

/// The lvs.cf for what `ipvsadm -S` printed; `name` is the name of the file.
pub fn ipvsadm(name: &str, text: &str, surroundings: Surroundings<'_>) -> Imported {
    let mut report = Report::default();
    let mut found = save::read(name, text, surroundings.names, &mut report);
    found.notes = notes(&format!("what ipvsadm -S printed ({name})"));
    finish(found, surroundings, report)
}

/// The lvs.cf for a keepalived.conf; what it includes is sought beside `path`.
pub fn keepalived(path: &Path, text: &str, surroundings: Surroundings<'_>) -> Imported {
    let mut report = Report::default();
    let found = keepalived::read(
        path,
        text,
        &mut *surroundings.files,
        surroundings.config_id,
        &mut report,
    );
    finish(found, surroundings, report)
}

/// The lvs.cf for a running IPVS table, as [`running`] has read it.
#[must_use]
pub fn ipvs(table: &Table, surroundings: Surroundings<'_>) -> Imported {
    let mut report = Report::default();
    let mut found = kernel::found(table, &mut report);
    found.notes = notes("the IPVS of this kernel");
    finish(found, surroundings, report)
}

/// The lines of lvs.cf for the marks that a firewall sets; a part of a file only.
#[must_use]
pub fn marks(name: &str, text: &str) -> Imported {
    let imported = marks::import(text);
    let told = |one: &marks::LeftOut| LeftOut {
        place: Place {
            file: name.into(),
            line: one.line,
        },
        why: one.why.clone(),
        also: Vec::new(),
    };
    Imported {
        text: imported.to_string(),
        left_out: imported.left_out.iter().map(told).collect(),
    }
}

fn finish(found: Found, surroundings: Surroundings<'_>, mut report: Report) -> Imported {
    let knowledge = Knowledge {
        interfaces: surroundings.interfaces,
        marks: &surroundings.marks,
    };
    let draft = compose::compose(found, knowledge, &mut report);
    let text = settle::settle(draft, &mut report);
    Imported {
        text,
        left_out: report.finish(),
    }
}

/// What is said at the top of a file whose source knew nothing of checks.
fn notes(source: &str) -> Vec<String> {
    vec![
        format!("Imported from {source} by `lb config import`."),
        "IPVS checks no servers, so nothing here says how. lvs-xdp checks them all the same, every".to_owned(),
        "10 seconds: it connects to their port; at port 80 of TCP it asks GET / and wants an answer of".to_owned(),
        "HTTP; over UDP only a closed port is noticed. A server that failed must be well for 180 seconds.".to_owned(),
        "`send`, `expect`, `send_program`, `timeout` and `reentry` say it otherwise.".to_owned(),
    ]
}
