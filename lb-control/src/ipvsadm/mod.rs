//! `ipvsadm`: the same commands, options, listings, messages and exit statuses, for the daemon instead of the
//! kernel's IPVS. What it does better is that a list of commands is carried out as a whole or not at all,
//! and that nothing is lost when it is saved.

mod address;
pub(crate) mod change;
pub mod command;
mod complaint;
mod connections;
mod daemons;
mod director;
mod help;
mod labels;
mod legality;
mod listing;
mod marks;
mod names;
mod number;
mod option;
mod parse;
mod restore;
mod save;
mod scripts;
mod socket;
mod sort;
mod title;

use std::io::{self, BufWriter, Read, Write};

use change::{Circumstances, needs_table, refusal};
use command::{Command, List, Listed, Wish};
use marks::Marks;

pub use self::{
    complaint::Complaint,
    connections::EngineData,
    director::{Director, Fault},
    marks::{Firewall, SystemFirewall},
    names::{Names, NoNames, SystemNames},
    parse::parse,
    restore::{Line, read},
    scripts::Program,
    socket::Daemon,
};
use crate::{
    control::change::Changes,
    model::{Selector, ServiceId},
};

/// What a command has to do with.
pub struct World<'a> {
    /// Who knows the table and changes it.
    pub director: &'a mut dyn Director,
    /// Names of hosts and services.
    pub names: &'a dyn Names,
    /// Rules that set marks.
    pub firewall: &'a dyn Firewall,
    /// Standard input.
    pub input: &'a mut dyn Read,
    /// Standard output.
    pub out: &'a mut dyn Write,
    /// Standard error.
    pub err: &'a mut dyn Write,
}

/// Why a command ended before its end.
#[derive(Debug, thiserror::Error)]
enum Stop {
    #[error("{0}")]
    Complaint(Complaint),
    #[error(transparent)]
    Output(#[from] io::Error),
}

impl From<Complaint> for Stop {
    fn from(complaint: Complaint) -> Self {
        Self::Complaint(complaint)
    }
}

/// Carries out a command line; `words` is without the name of the program. The exit status. Whoever
/// closes standard output has seen enough, which is no error.
///
/// # Errors
/// If standard output or standard error cannot be written.
pub fn run(program: &str, words: &[String], world: &mut World<'_>) -> io::Result<u8> {
    conclude(carry_out(program, words, world), world)
}

/// Writes what is left to say; the exit status.
fn conclude(done: Result<(), Stop>, world: &mut World<'_>) -> io::Result<u8> {
    let status = match done {
        Ok(()) => 0,
        Err(Stop::Complaint(complaint)) => {
            world.out.flush()?;
            writeln!(world.err, "{complaint}")?;
            complaint.status
        }
        Err(Stop::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(0),
        Err(Stop::Output(error)) => return Err(error),
    };
    match world.out.flush() {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(status),
        flushed => flushed.map(|()| status),
    }
}

fn carry_out(program: &str, words: &[String], world: &mut World<'_>) -> Result<(), Stop> {
    if words.is_empty() {
        let list = List {
            what: Listed::Table {
                of: None,
                columns: command::Columns::Plain,
            },
            numeric: false,
            sorted: true,
            exact: false,
        };
        return show(&list, world);
    }
    match parse(program, words, world.names)? {
        Command::Help => write!(world.out, "{}", help::text(program))?,
        Command::Version => writeln!(world.out, "{}", help::VERSION)?,
        Command::List(list) => show(&list, world)?,
        Command::Save { numeric } => {
            let table = world.director.table(None).map_err(unlisted)?;
            let mut out = BufWriter::with_capacity(BUFFER, &mut world.out);
            save::save(&table, numeric, world.names, &mut out)?;
            out.flush()?;
        }
        Command::Restore => restore(program, Vec::new(), world)?,
        Command::Change(wish) => {
            make(&[Line { number: 0, wish }], world)?;
        }
    }
    Ok(())
}

/// How much is written at once, in bytes.
const BUFFER: usize = 64 << 10;

fn show(list: &List, world: &mut World<'_>) -> Result<(), Stop> {
    let mut out = BufWriter::with_capacity(BUFFER, &mut world.out);
    let names = world.names;
    match &list.what {
        Listed::Table { of, columns } => {
            let form = listing::Form {
                columns: *columns,
                exact: list.exact,
                sorted: list.sorted,
                numeric: list.numeric,
            };
            let table = world.director.table(*of).map_err(unlisted)?;
            match of {
                None => listing::all(&table, form, names, &mut out)?,
                Some(id) => {
                    let row = table.services.iter().find(|row| row.service == *id);
                    let row = row.ok_or_else(|| Complaint::unlisted("No such process"))?;
                    listing::one(row, form, names, &mut out)?;
                }
            }
        }
        Listed::Connections { engines } => {
            connections::list(world.director, *engines, list.numeric, names, &mut out)
                .map_err(unlisted)?;
        }
        Listed::Timeouts => {
            let table = world.director.table(None).map_err(unlisted)?;
            listing::timeouts(table.timeouts, &mut out)?;
        }
        Listed::Daemons => {
            let table = world.director.table(None).map_err(unlisted)?;
            daemons::list(&table.sync_daemons, &mut out)?;
        }
    }
    out.flush()?;
    Ok(())
}

/// What cannot be shown.
fn unlisted(fault: Fault) -> Stop {
    match fault {
        Fault::Output(error) => Stop::Output(error),
        Fault::Refused(_) | Fault::Denied | Fault::Other(_) => {
            Complaint::unlisted(fault.to_string()).into()
        }
    }
}

/// Reads commands from standard input, and makes them after those that are there already.
fn restore(program: &str, mut lines: Vec<Line>, world: &mut World<'_>) -> Result<(), Stop> {
    let mut text = Vec::new();
    world
        .input
        .read_to_end(&mut text)
        .map_err(|error| Complaint::refused(format!("standard input cannot be read: {error}")))?;
    lines.extend(read(program, &String::from_utf8_lossy(&text), world.names)?);
    make(&lines, world)
}

/// Makes changes, all or none.
fn make(lines: &[Line], world: &mut World<'_>) -> Result<(), Stop> {
    if lines.is_empty() {
        return Ok(());
    }
    let table = match lines.iter().any(|line| needs_table(&line.wish)) {
        true => Some(world.director.table(None).map_err(refused_by(&[]))?),
        false => None,
    };
    let marks = Marks::new(world.firewall);
    let mut notes = Vec::new();
    let mut unmatched = Vec::new();
    let mut matches = |service: &ServiceId| matches(service, &marks, &mut unmatched);
    let mut known = Circumstances {
        table: table.as_ref(),
        matches: &mut matches,
        notes: &mut notes,
    };
    let mut changes = Changes::default();
    for line in lines {
        let change = change::change(&line.wish, &mut known)
            .map_err(|complaint| numbered(complaint, line))?;
        changes.changes.push(change);
    }
    // What the daemon notes besides, that an address is not on this router, scripts do not expect.
    world.director.change(&changes).map_err(refused_by(lines))?;
    notes.extend(unmatched);
    for note in notes {
        writeln!(world.err, "{note}")?;
    }
    Ok(())
}

/// What belongs to a group, by the rules of the packet filter.
fn matches(
    service: &ServiceId,
    marks: &Marks<'_>,
    unmatched: &mut Vec<String>,
) -> Option<Vec<Selector>> {
    let ServiceId::Mark { mark, family } = service else {
        return None;
    };
    let found = marks.selectors(*mark, *family);
    if found.is_empty() {
        unmatched.push(format!(
            "{service}: no rule of iptables or nft that sets mark {mark} could be read: nothing belongs to the group yet"
        ));
    }
    Some(found)
}

/// What is said of a list of changes that is refused.
fn refused_by(lines: &[Line]) -> impl Fn(Fault) -> Stop {
    move |fault| match fault {
        Fault::Refused(refused) => {
            let line = refused.index.and_then(|index| lines.get(index));
            let complaint = refusal(&refused, line.map(|line| &line.wish));
            match line {
                Some(line) => numbered(complaint, line).into(),
                None => complaint.into(),
            }
        }
        Fault::Output(error) => Stop::Output(error),
        Fault::Denied | Fault::Other(_) => Complaint::refused(fault.to_string()).into(),
    }
}

/// Names the line of a list; a command line has no number.
fn numbered(complaint: Complaint, line: &Line) -> Complaint {
    match line.number {
        0 => complaint,
        number => complaint.at_line(number),
    }
}
