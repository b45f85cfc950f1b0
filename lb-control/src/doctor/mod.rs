//! `lb doctor`: what of this machine keeps a director from working, or from working fast, and how to mend it.
//!
//! - `machine`: what the kernel tells by files. Tests give it a folder of their own.
//! - `offloads`: what it tells by ethtool's netlink.
//! - `kernel`, `interface`, `site`: what there is to say, each about one subject.
//!
//! Nothing is changed, and nothing is sent but questions to the kernel.

mod interface;
mod kernel;
pub mod machine;
mod offloads;
mod site;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::IpAddr,
    path::Path,
};

use network_interface::{NetworkInterface, NetworkInterfaceConfig};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use self::machine::Machine;
use crate::{
    dataplane::bpffs::Pins,
    model::Site,
    network::links::{Link, Links},
    status::columns::Tone,
};

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = FindingLevel)]
pub enum Level {
    /// As it should be.
    Ok,
    /// Worth knowing.
    Note,
    /// It works, but not well, or not always.
    Warning,
    /// It cannot work.
    Fault,
}

impl Level {
    const fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Fault => "fault",
        }
    }

    const fn tone(self) -> Tone {
        match self {
            Self::Ok => Tone::Good,
            Self::Note => Tone::Faint,
            Self::Warning => Tone::Between,
            Self::Fault => Tone::Bad,
        }
    }
}

/// Something that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Finding {
    /// What it is about: `kernel`, the name of an interface, `site`, or the name of a service.
    pub about: String,
    /// How bad it is.
    pub level: Level,
    /// What was found, in a sentence.
    pub what: String,
    /// How it is mended: a command, or what to look at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mend: Option<String>,
}

/// Everything that was found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = DoctorReport)]
pub struct Report {
    /// By subject.
    pub findings: Vec<Finding>,
}

impl Report {
    fn add(&mut self, about: &str, level: Level, what: impl Into<String>) -> &mut Finding {
        self.findings.push(Finding {
            about: about.to_owned(),
            level,
            what: what.into(),
            mend: None,
        });
        let last = self.findings.len() - 1;
        &mut self.findings[last]
    }

    /// How many there are of this level.
    #[must_use]
    pub fn count(&self, level: Level) -> usize {
        let findings = self.findings.iter();
        findings.filter(|finding| finding.level == level).count()
    }

    /// For people.
    #[must_use]
    pub fn text(&self, colour: bool) -> ReportText<'_> {
        ReportText {
            report: self,
            colour,
        }
    }
}

impl Finding {
    fn mend(&mut self, how: impl Into<String>) {
        self.mend = Some(how.into());
    }
}

/// A report that is written for people.
#[derive(Debug)]
pub struct ReportText<'a> {
    report: &'a Report,
    colour: bool,
}

impl fmt::Display for ReportText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut about = "";
        for finding in &self.report.findings {
            if finding.about != about {
                about = &finding.about;
                writeln!(f, "{about}")?;
            }
            let word = format!("{:<8}", finding.level.word());
            let word = match self.colour {
                true => finding.level.tone().paint(&word),
                false => word,
            };
            writeln!(f, "  {word} {}", finding.what)?;
            if let Some(mend) = &finding.mend {
                writeln!(f, "           {mend}")?;
            }
        }
        let count = |level, one: &str, many: &str| match self.report.count(level) {
            1 => format!("1 {one}"),
            number => format!("{number} {many}"),
        };
        writeln!(
            f,
            "{}, {}, {}",
            count(Level::Fault, "fault", "faults"),
            count(Level::Warning, "warning", "warnings"),
            count(Level::Note, "note", "notes")
        )
    }
}

/// What is known of the machine before anything is judged.
#[derive(Debug)]
pub struct Facts {
    /// What the kernel tells by files.
    pub machine: Machine,
    /// The interfaces.
    pub links: Links,
    /// The addresses on them, by name.
    pub addresses: Vec<(String, IpAddr)>,
    /// Offloads that are on, by interface; one that is not here could not be asked.
    pub offloads: BTreeMap<String, BTreeSet<String>>,
    /// Interfaces to which our program has a pinned link.
    pub ours: BTreeSet<String>,
}

impl Facts {
    /// Asks the kernel. Needs a tokio runtime.
    ///
    /// # Errors
    /// If it does not list its interfaces.
    pub async fn gather(bpffs: &Path) -> anyhow::Result<Self> {
        let links = Links::read().await?;
        let offloads = offloads::read(&links).await;
        // Without rights to look there, nothing is known to be ours.
        let pins = Pins::all_below(bpffs).unwrap_or_default();
        let ours = pins
            .iter()
            .filter_map(|pins| std::fs::read_dir(pins.links()).ok())
            .flat_map(|entries| entries.filter_map(Result::ok))
            .map(|entry| entry.file_name().to_string_lossy().into_owned());
        let addresses = NetworkInterface::show().unwrap_or_default();
        let addresses = addresses.into_iter().flat_map(|interface| {
            // An address with a label is listed under that: eth0:1.
            let name = interface
                .name
                .split(':')
                .next()
                .unwrap_or_default()
                .to_owned();
            let addresses = interface.addr.into_iter();
            addresses.map(move |address| (name.clone(), address.ip()))
        });
        Ok(Self {
            machine: Machine::here(),
            links,
            addresses: addresses.collect(),
            offloads,
            ours: ours.collect(),
        })
    }
}

/// Judges the machine, these interfaces (or those that seem to be meant), and what the site needs.
#[must_use]
pub fn examine(facts: &Facts, interfaces: &[String], site: Option<&Site>) -> Report {
    let mut report = Report::default();
    kernel::examine(facts, &mut report);
    let interfaces = match interfaces {
        [] => meant(facts, site),
        named => named.to_vec(),
    };
    for name in &interfaces {
        interface::examine(facts, name, &mut report);
    }
    if let Some(site) = site {
        site::examine(facts, &interfaces, site, &mut report);
    }
    report
}

/// Those of the virtual IPs and those with our program on them; if there are none, all that are switched on.
fn meant(facts: &Facts, site: Option<&Site>) -> Vec<String> {
    let mut names: BTreeSet<_> = facts.ours.clone();
    let addresses = site.map(|site| site.addresses.iter());
    names.extend(
        addresses
            .into_iter()
            .flatten()
            .map(|one| one.interface.clone()),
    );
    if names.is_empty() {
        let is_meant = |link: &&Link| link.up && link.mac.is_some();
        let links = facts.links.iter().filter(is_meant);
        names.extend(links.map(|link| link.name.clone()));
    }
    names.into_iter().collect()
}

#[cfg(test)]
mod tests;
