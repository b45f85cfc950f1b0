//! `lb config import`.

use std::{
    fs,
    io::{self, Read, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, anyhow, bail};
use clap::{Args, ValueEnum};

use super::output;
use crate::{
    config::{self, marks},
    import::{self, Disk, Imported, Kind, LeftOut, Surroundings, ThisMachine},
    ipvsadm::SystemNames,
};

#[derive(Debug, Args)]
pub(super) struct Import {
    /// A keepalived.conf, or what `ipvsadm -S` printed; - for standard input.
    #[arg(value_name = "FILE", required_unless_present = "from")]
    file: Option<PathBuf>,
    /// What it is; else that is seen from the text.
    #[arg(long, value_enum)]
    from: Option<From>,
    /// What firewall marks stand for: what iptables-save or `nft list ruleset` printed.
    #[arg(long, value_name = "FILE")]
    marks: Option<PathBuf>,
    /// Which `@` lines of a keepalived.conf hold, as `keepalived -i`; else those of this machine's name.
    #[arg(long, value_name = "NAME")]
    config_id: Option<String>,
    /// Where lvs.cf is written; a file that is there already is not touched.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// The answer as JSON: the text, and what was left out.
    #[arg(long, conflicts_with = "out")]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum From {
    /// What `ipvsadm -S` printed.
    Ipvsadm,
    /// A keepalived.conf, with what it includes.
    Keepalived,
    /// The table of this kernel's IPVS, as it is now.
    Ipvs,
    /// Rules of a firewall that set marks.
    Marks,
}

impl Import {
    /// Exit status 1 if something was left out.
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let config_id = self.config_id.clone().unwrap_or_else(this_machine);
        let (marks, unknown_marks) = self.marks()?;
        let surroundings = Surroundings {
            names: &SystemNames::default(),
            interfaces: &mut ThisMachine::default(),
            marks,
            files: &mut Disk,
            config_id: &config_id,
        };
        let mut imported = self.import(surroundings)?;
        imported.left_out.extend(unknown_marks);
        let Imported { text, left_out } = &imported;
        match &self.out {
            None if self.json => output::print_json(&imported)?,
            None => io::stdout().lock().write_all(text.as_bytes())?,
            Some(path) => {
                let writing = || format!("writing {}", path.display());
                let file = fs::File::create_new(path).with_context(writing);
                file?.write_all(text.as_bytes()).with_context(writing)?;
            }
        }
        for one in left_out {
            writeln!(io::stderr().lock(), "{one}")?;
        }
        Ok(match left_out.is_empty() {
            true => ExitCode::SUCCESS,
            false => ExitCode::FAILURE,
        })
    }

    fn import(&self, surroundings: Surroundings<'_>) -> anyhow::Result<Imported> {
        if self.from == Some(From::Ipvs) {
            if let Some(file) = &self.file {
                bail!(
                    "--from ipvs asks the kernel; what is {} for?",
                    file.display()
                );
            }
            let table = import::running().map_err(|error| {
                if error.kind() == io::ErrorKind::NotFound {
                    return anyhow!("this kernel has no IPVS (module ip_vs)");
                }
                anyhow::Error::new(error).context("asking the kernel for its IPVS")
            })?;
            return Ok(import::ipvs(&table, surroundings));
        }
        let Some(file) = &self.file else {
            bail!("no FILE is named; - for standard input");
        };
        let (path, text) = read(file)?;
        let name = path.to_string_lossy();
        let kind = match self.from {
            Some(From::Ipvsadm) => Kind::Ipvsadm,
            Some(From::Keepalived) => Kind::Keepalived,
            Some(From::Marks) => Kind::Marks,
            Some(From::Ipvs) | None => Kind::of(&text)
                .with_context(|| format!("{name} is nothing that is known here; say --from"))?,
        };
        Ok(match kind {
            Kind::Ipvsadm => import::ipvsadm(&name, &text, surroundings),
            Kind::Keepalived => import::keepalived(&path, &text, surroundings),
            Kind::Marks => import::marks(&name, &text),
        })
    }

    /// What marks stand for, and the rules about them that were not understood.
    fn marks(&self) -> anyhow::Result<(marks::Imported, Vec<LeftOut>)> {
        let Some(file) = &self.marks else {
            return Ok(Default::default());
        };
        let (path, text) = read(file)?;
        let unknown = import::marks(&path.to_string_lossy(), &text).left_out;
        Ok((marks::import(&text), unknown))
    }
}

/// The name to call a file by, and its text.
fn read(file: &Path) -> anyhow::Result<(PathBuf, String)> {
    let mut bytes = Vec::new();
    let most = config::LARGEST_FILE;
    let path = if file == Path::new("-") {
        io::stdin().lock().take(most + 1).read_to_end(&mut bytes)?;
        PathBuf::from("standard input")
    } else {
        let reading = || format!("reading {}", file.display());
        let open = fs::File::open(file).with_context(reading)?;
        open.take(most + 1)
            .read_to_end(&mut bytes)
            .with_context(reading)?;
        file.to_owned()
    };
    if bytes.len() as u64 > most {
        bail!("{}: larger than {most} bytes", path.display());
    }
    Ok((path, String::from_utf8_lossy(&bytes).into_owned()))
}

/// The first part of the machine's name, as keepalived takes it.
fn this_machine() -> String {
    let name = nix::unistd::gethostname().unwrap_or_default();
    let name = name.to_string_lossy();
    name.split('.').next().unwrap_or_default().to_owned()
}
