//! `lb man`: the manual, made from the command line and from the table of directives.

mod lvs_cf;

use std::{
    fs,
    io::{self, IsTerminal, Write},
    path::{Path, PathBuf},
    process::{self, ExitCode, Stdio},
};

use anyhow::{Context, bail};
use clap::{Args, CommandFactory};
use clap_mangen::{
    Man,
    roff::{Roff, bold, italic, roman},
};

/// What the manual is called at the head of each page.
const MANUAL: &str = "Linux Virtual Server on XDP";

/// Commands that look and change nothing: section 1. All others are for administrators: section 8.
const LOOK: &[&str] = &[
    "lb-check",
    "lb-completions",
    "lb-connections",
    "lb-doctor",
    "lb-drops",
    "lb-explain",
    "lb-man",
    "lb-nanny",
    "lb-stats",
    "lb-status",
    "lb-watch",
];

#[derive(Debug, Args)]
#[command(after_help = "All pages:  lb man --dir /usr/local/share/man")]
pub(super) struct Manual {
    /// The page: lb, lvs.cf, or a command such as `status` or `server drain`.
    #[arg(default_value = "lb")]
    name: Vec<String>,
    /// Writes all pages below this folder instead, in man1, man5 and man8.
    #[arg(long, value_name = "DIR", conflicts_with = "name")]
    dir: Option<PathBuf>,
    /// The page as roff, on a terminal too.
    #[arg(long, conflicts_with = "dir")]
    roff: bool,
}

/// A page of the manual.
#[derive(Debug)]
struct Page {
    /// Without its section.
    name: String,
    /// `1`, `5` or `8`.
    section: &'static str,
    /// Its text, with the macros of man(7).
    text: Vec<u8>,
}

impl Manual {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let pages = pages()?;
        if let Some(dir) = self.dir {
            let mut out = io::stdout().lock();
            for path in write_all(&pages, &dir)? {
                writeln!(out, "{}", path.display())?;
            }
            return Ok(ExitCode::SUCCESS);
        }
        let page = find(&pages, &self.name)?;
        if self.roff || !io::stdout().is_terminal() || !shown(page)? {
            io::stdout().lock().write_all(&page.text)?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn find<'a>(pages: &'a [Page], words: &[String]) -> anyhow::Result<&'a Page> {
    let asked = words.join("-");
    let name = asked
        .rsplit_once('.')
        .filter(|(_, section)| ["1", "5", "8"].contains(section))
        .map_or(asked.as_str(), |(name, _)| name);
    let command = format!("lb-{name}");
    let found = pages
        .iter()
        .find(|page| page.name == name || page.name == command);
    match found {
        Some(page) => Ok(page),
        None => {
            let names: Vec<_> = pages.iter().map(|page| page.name.as_str()).collect();
            bail!("there is no page {asked}; there are {}", names.join(", "))
        }
    }
}

/// Has man(1) show a page. False if there is no such program.
fn shown(page: &Page) -> anyhow::Result<bool> {
    let started = process::Command::new("man")
        .args(["-l", "-"])
        .stdin(Stdio::piped())
        .spawn();
    let mut man = match started {
        Ok(man) => man,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error).context("starting man"),
    };
    if let Some(mut input) = man.stdin.take() {
        input.write_all(&page.text)?;
    }
    man.wait().context("waiting for man")?;
    Ok(true)
}

/// Where the pages are now.
fn write_all(pages: &[Page], dir: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for page in pages {
        let folder = dir.join(format!("man{}", page.section));
        fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
        let path = folder.join(format!("{}.{}", page.name, page.section));
        fs::write(&path, &page.text).with_context(|| format!("writing {}", path.display()))?;
        paths.push(path);
    }
    Ok(paths)
}

/// All pages: lb, its commands, lvs.cf.
fn pages() -> io::Result<Vec<Page>> {
    let mut lb = super::Command::command().disable_help_subcommand(true);
    lb.build();
    let mut pages = Vec::new();
    add(&lb, None, &mut pages)?;
    pages.push(Page {
        name: "lvs.cf".to_owned(),
        section: "5",
        text: lvs_cf::page()?,
    });
    Ok(pages)
}

/// The pages of a command and of those below it.
fn add(command: &clap::Command, above: Option<&str>, pages: &mut Vec<Page>) -> io::Result<()> {
    let name = called(command).to_owned();
    pages.push(Page {
        section: section(&name),
        text: page(command, &name, above)?,
        name: name.clone(),
    });
    for below in seen(command) {
        add(below, Some(&name), pages)?;
    }
    Ok(())
}

fn seen(command: &clap::Command) -> impl Iterator<Item = &clap::Command> {
    command
        .get_subcommands()
        .filter(|below| !below.is_hide_set())
}

/// The name with those of the commands above: `lb-server-drain`.
fn called(command: &clap::Command) -> &str {
    command
        .get_display_name()
        .unwrap_or_else(|| command.get_name())
}

fn section(name: &str) -> &'static str {
    match LOOK.contains(&name) {
        true => "1",
        false => "8",
    }
}

fn page(command: &clap::Command, name: &str, above: Option<&str>) -> io::Result<Vec<u8>> {
    let man = Man::new(command.clone())
        .title(name)
        .section(section(name))
        .source(concat!("lvs-xdp ", env!("CARGO_PKG_VERSION")))
        .manual(MANUAL);
    let mut text = Vec::new();
    man.render_title(&mut text)?;
    man.render_name_section(&mut text)?;
    man.render_synopsis_section(&mut text)?;
    man.render_description_section(&mut text)?;
    man.render_options_section(&mut text)?;
    let mut roff = Roff::new();
    if seen(command).next().is_some() {
        roff.control("SH", ["COMMANDS"]);
    }
    for below in seen(command) {
        let name = called(below);
        roff.control("TP", []);
        roff.text([bold(name), roman(format!("({})", section(name)))]);
        roff.text([roman(below.get_about().unwrap_or_default().to_string())]);
    }
    if let Some(examples) = command.get_after_help() {
        roff.control("SH", ["EXAMPLES"]);
        verbatim(&mut roff, &examples.to_string());
    }
    exit_status(&mut roff);
    see_also(&mut roff, name, above);
    roff.to_writer(&mut text)?;
    Ok(text)
}

/// Text whose lines stay as they are.
fn verbatim(roff: &mut Roff, text: &str) {
    roff.control("PP", []);
    roff.control("nf", []);
    for line in text.lines() {
        roff.text([roman(line)]);
    }
    roff.control("fi", []);
}

fn exit_status(roff: &mut Roff) {
    roff.control("SH", ["EXIT STATUS"]);
    for (status, meaning) in [
        ("0", "Done."),
        (
            "1",
            "Refused or failed, with one line on standard error; or the answer is no.",
        ),
        ("2", "Wrong usage."),
    ] {
        roff.control("TP", []);
        roff.text([bold(status)]);
        roff.text([roman(meaning)]);
    }
}

fn see_also(roff: &mut Roff, name: &str, above: Option<&str>) {
    roff.control("SH", ["SEE ALSO"]);
    let mut others = Vec::new();
    match above {
        Some(above) => others.push((above, section(above))),
        None => others.push(("ipvsadm", "8")),
    }
    if above.is_some_and(|above| above != "lb") {
        others.push(("lb", "8"));
    }
    others.push(("lvs.cf", "5"));
    let mut words = Vec::new();
    for (other, section) in others {
        if !words.is_empty() {
            words.push(roman(", "));
        }
        words.push(bold(other));
        words.push(roman(format!("({section})")));
    }
    roff.text(words);
    if name == "lb" {
        roff.control("SH", ["FILES"]);
        for (path, what) in [
            (super::CONFIG, "The configuration."),
            (crate::control::SOCKET, "Where the daemon listens."),
            (super::BPFFS, "Where maps, programs and links are pinned."),
        ] {
            roff.control("TP", []);
            roff.text([italic(path)]);
            roff.text([roman(what)]);
        }
        roff.control("SH", ["ENVIRONMENT"]);
        for (variable, what) in [
            (
                "LB_LOG",
                "What the daemon logs: a level, or levels by part.",
            ),
            ("NO_COLOR", "Set to something, there are no colours."),
        ] {
            roff.control("TP", []);
            roff.text([bold(variable)]);
            roff.text([roman(what)]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every command and option says what it is for.
    #[test]
    fn everything_has_help() {
        fn look(command: &clap::Command) {
            let name = called(command);
            assert!(command.get_about().is_some(), "{name}");
            for argument in command.get_arguments() {
                assert!(
                    argument.get_help().is_some(),
                    "{name} {}",
                    argument.get_id()
                );
            }
            seen(command).for_each(look);
        }
        let mut lb = crate::cli::Command::command().disable_help_subcommand(true);
        lb.build();
        look(&lb);
    }

    #[test]
    fn pages_are_found_by_all_their_names() {
        let pages = pages().unwrap();
        type Row = (
            &'static [&'static str],
            Option<(&'static str, &'static str)>,
        );
        let table: [Row; 8] = [
            (&["lb"], Some(("lb", "8"))),
            (&["lb.8"], Some(("lb", "8"))),
            (&["status"], Some(("lb-status", "1"))),
            (&["lb-status"], Some(("lb-status", "1"))),
            (&["server", "drain"], Some(("lb-server-drain", "8"))),
            (&["lvs.cf"], Some(("lvs.cf", "5"))),
            (&["lvs.cf.5"], Some(("lvs.cf", "5"))),
            (&["nothing"], None),
        ];
        for (words, expected) in table {
            let words: Vec<String> = words.iter().map(|&word| word.to_owned()).collect();
            let found = find(&pages, &words).ok();
            let found = found.map(|page| (page.name.as_str(), page.section));
            assert_eq!(found, expected, "{words:?}");
        }
    }

    /// man(1) renders each page without a warning. Where it is not installed nobody can tell, and
    /// what is tested is that the pages can be made.
    #[test]
    fn pages_render_without_warnings() {
        let folder = tempfile::tempdir().unwrap();
        let pages = pages().unwrap();
        let paths = write_all(&pages, folder.path()).unwrap();
        for path in paths {
            let rendered = process::Command::new("man")
                .args(["--warnings", "-E", "UTF-8", "-l"])
                .arg(&path)
                .env("MANWIDTH", "100")
                .env("MANROFFSEQ", "")
                .output();
            let Ok(rendered) = rendered else { return };
            let said = String::from_utf8_lossy(&rendered.stderr);
            assert!(
                rendered.status.success() && said.is_empty(),
                "{}: {said}",
                path.display()
            );
        }
    }
}
