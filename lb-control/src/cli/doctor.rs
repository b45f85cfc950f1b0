//! `lb doctor`.

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Args;

use super::{BPFFS, CONFIG, output, runtime};
use crate::{
    config,
    doctor::{self, Facts, Finding, Level},
    model::Site,
};

#[derive(Debug, Args)]
pub(super) struct Doctor {
    /// An interface to look at, repeatable; else those of the virtual IPs and those that the program is on, and if
    /// there are none, all.
    #[arg(long = "interface", value_name = "IF")]
    interfaces: Vec<String>,
    /// The configuration, whose needs are looked at [default: /etc/sysconfig/ha/lvs.cf, if it is there].
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where things are pinned.
    #[arg(long, value_name = "DIR", default_value = BPFFS)]
    bpffs: PathBuf,
    /// The answer as JSON.
    #[arg(long)]
    json: bool,
}

impl Doctor {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let usual = Path::new(CONFIG);
        let file = match &self.config {
            Some(file) => Some(file.as_path()),
            None => Some(usual).filter(|file| file.exists()),
        };
        let (site, trouble) = file.map(site).unwrap_or_default();
        let facts = runtime()?.block_on(Facts::gather(&self.bpffs))?;
        let mut report = doctor::examine(&facts, &self.interfaces, site.as_ref());
        report.findings.extend(trouble);
        match self.json {
            true => output::print_json(&report)?,
            false => {
                let text = report.text(output::wants_colour());
                write!(io::stdout().lock(), "{text}")?;
            }
        }
        Ok(match report.count(Level::Fault) {
            0 => ExitCode::SUCCESS,
            _ => ExitCode::FAILURE,
        })
    }
}

/// What the file says, or what is wrong with it.
fn site(file: &Path) -> (Option<Site>, Option<Finding>) {
    match config::load(file) {
        Ok(loaded) => (Some(loaded.site), None),
        Err(error) => {
            let error = anyhow::Error::from(error);
            let finding = Finding {
                about: "site".to_owned(),
                level: Level::Fault,
                what: format!("lvs.cf cannot be loaded: {}", output::one_line(&error)),
                mend: Some(format!("lb check {}", file.display())),
            };
            (None, Some(finding))
        }
    }
}
