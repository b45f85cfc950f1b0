//! Files → lines: comments and `@` lines taken out, files included, parameters and sequences put in.
//!
//! Whatever the text says, there is an end to it: lines, steps, files and nesting are bounded.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Component, Path, PathBuf},
    sync::Arc,
};

use super::{
    files::{Files, expand},
    sequence::{self, Sequence},
};
use crate::import::report::{Place, Report};

/// A line as it is to be understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) place: Place,
    pub(super) text: String,
}

/// How deeply files include each other.
const DEEPEST_INCLUDE: usize = 16;
/// How many parameters are put into a line, one after the other.
const MOST_PARAMETERS: usize = 1000;
/// How many files are read.
const MOST_FILES: usize = 1000;
/// How many bytes are read, of all files.
const MOST_READ: usize = 64 << 20;
/// How much is made of parameters and sequences: bytes, and something for each line.
const MOST_MADE: usize = 16 << 20;
const LINE: usize = 64;
/// How many lines the text may have in the end.
const MOST_LINES: usize = 1 << 20;
/// How long a line may become.
const LONGEST_LINE: usize = 64 << 10;

/// All lines of a file and of those that it includes.
pub(super) fn lines(
    path: &Path,
    text: &str,
    files: &mut dyn Files,
    config_id: &str,
    report: &mut Report,
) -> Vec<Line> {
    let mut reader = Reader {
        files,
        config_id,
        report,
        parameters: BTreeMap::new(),
        conditions: Conditions::default(),
        lines: Vec::new(),
        made: 0,
        read: text.len(),
        opened: 0,
        chain: Vec::new(),
        is_exhausted: false,
    };
    reader.file(path, text, 0);
    reader.tell_conditions();
    reader.lines
}

struct Reader<'a> {
    files: &'a mut dyn Files,
    config_id: &'a str,
    report: &'a mut Report,
    parameters: BTreeMap<String, String>,
    conditions: Conditions,
    lines: Vec<Line>,
    made: usize,
    read: usize,
    opened: usize,
    /// The files that are being read, each included by the one before.
    chain: Vec<Arc<str>>,
    is_exhausted: bool,
}

/// What `@` lines asked for.
#[derive(Default)]
struct Conditions {
    /// One that names this machine was there.
    held: bool,
    /// The others, and the line of the first of each.
    others: BTreeMap<String, Place>,
}

/// What is still to be looked at.
enum Task {
    /// A line, and through how many parameters it has come.
    Line(String, usize),
    /// A parameter gets a value.
    Set(String, String),
}

impl Reader<'_> {
    fn file(&mut self, path: &Path, text: &str, depth: usize) {
        let name: Arc<str> = shortest(path).to_string_lossy().into();
        self.report.reading(&name);
        self.chain.push(name.clone());
        let folder = path.parent().unwrap_or(Path::new("")).to_owned();
        let mut definition: Option<(Place, String)> = None;
        for (index, raw) in text.lines().enumerate() {
            if self.is_exhausted {
                break;
            }
            let place = Place {
                file: name.clone(),
                line: index + 1,
            };
            if raw.len() > LONGEST_LINE {
                let why = "the line is longer than any that a person writes";
                self.report.left_out(&place, why);
                continue;
            }
            let clean = without_comment(raw).trim();
            // A definition of several lines goes on as long as they end with a backslash.
            if let Some((begun, mut value)) = definition.take() {
                let (part, goes_on) = continued(clean);
                value.push('\n');
                value.push_str(part);
                if value.len() > LONGEST_LINE {
                    let why = "the definition is longer than any that a person writes";
                    self.report.left_out(&begun, why);
                } else if goes_on {
                    definition = Some((begun, value));
                } else {
                    self.line(&begun, value, &folder);
                }
                continue;
            }
            if clean.is_empty() {
                continue;
            }
            if let Some(pattern) = included(clean) {
                self.include(&place, &folder, pattern, depth);
                continue;
            }
            let (part, goes_on) = continued(clean);
            let is_definition = part.trim_start().starts_with(['$', '@']) && part.contains('=');
            if goes_on && is_definition {
                definition = Some((place, part.to_owned()));
            } else {
                self.line(&place, clean.to_owned(), &folder);
            }
        }
        if let Some((begun, value)) = definition {
            self.line(&begun, value, &folder);
        }
        self.chain.pop();
    }

    fn include(&mut self, place: &Place, folder: &Path, pattern: &str, depth: usize) {
        let pattern = pattern.trim_matches(['"', '\'']);
        if depth >= DEEPEST_INCLUDE {
            let why = format!("files include each other more than {DEEPEST_INCLUDE} deep");
            self.report.left_out(place, why);
            return;
        }
        if pattern.contains('{') {
            let why = format!("`include {pattern}`: braces in it are not understood");
            self.report.left_out(place, why);
            return;
        }
        let paths = expand(&folder.join(pattern), self.files);
        if paths.is_empty() {
            let why = format!("`include {pattern}`: there is no such file");
            self.report.left_out(place, why);
        }
        for path in paths {
            let is_open = shortest(&path);
            if self.chain.iter().any(|open| Path::new(&**open) == is_open) {
                let why = format!("`include {pattern}`: {} includes itself", is_open.display());
                self.report.left_out(place, why);
                continue;
            }
            self.opened += 1;
            if self.opened > MOST_FILES {
                let why = format!("more than {MOST_FILES} files are included");
                self.report.left_out(place, why);
                self.is_exhausted = true;
                return;
            }
            match self.files.read(&path) {
                Ok(bytes) => {
                    let text = String::from_utf8_lossy(&bytes);
                    self.read = self.read.saturating_add(text.len());
                    if self.spend(0, place) {
                        self.file(&path, &text, depth + 1);
                    }
                }
                Err(error) => {
                    let why = format!("`include {pattern}`: {}: {error}", path.display());
                    self.report.left_out(place, why);
                }
            }
        }
    }

    /// One line, until there is nothing left in it to be replaced.
    fn line(&mut self, place: &Place, text: String, folder: &Path) {
        let mut tasks = Vec::new();
        self.step(place, text, 0, folder, &mut tasks);
        while let Some(task) = tasks.pop() {
            match task {
                Task::Set(name, value) => {
                    self.parameters.insert(name, value);
                }
                Task::Line(text, depth) => {
                    if !self.spend(text.len() + LINE, place) {
                        return;
                    }
                    self.step(place, text, depth, folder, &mut tasks);
                }
            }
        }
    }

    fn step(
        &mut self,
        place: &Place,
        text: String,
        depth: usize,
        folder: &Path,
        tasks: &mut Vec<Task>,
    ) {
        let text = text.trim();
        if text.is_empty() {
            return;
        }
        if let Some(rest) = text.strip_prefix('@') {
            let (id, rest) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
            if self.holds(id, place) {
                tasks.push(Task::Line(rest.to_owned(), depth));
            }
            return;
        }
        if let Some((name, value)) = definition(text) {
            let value = value.trim_start_matches([' ', '\t']).to_owned();
            self.parameters.insert(name.to_owned(), value);
            return;
        }
        if text.starts_with("~SEQ") || text.starts_with("~LST") {
            match sequence::parse(text) {
                Ok(Sequence { values, rest }) => {
                    if !self.spend(values.len() * (rest.len() + LINE), place) {
                        return;
                    }
                    for assignments in values.into_iter().rev() {
                        tasks.push(Task::Line(rest.to_owned(), depth));
                        let set = |(name, value)| Task::Set(name, value);
                        tasks.extend(assignments.into_iter().map(set));
                    }
                }
                Err(why) => self.report.left_out(place, why),
            }
            return;
        }
        match self.substituted(text, place, folder) {
            None if text.contains('\n') => self.lines_of(text, depth, tasks),
            None => self.lines.push(Line {
                place: place.clone(),
                text: text.replace(HASH, "#").replace(BANG, "!"),
            }),
            Some(_) if depth >= MOST_PARAMETERS => {
                let why = format!(
                    "more than {MOST_PARAMETERS} parameters, or some that stand for themselves"
                );
                self.report.left_out(place, why);
            }
            Some(replaced) if replaced.len() > LONGEST_LINE => {
                let why = "with its parameters the line is longer than any that a person writes";
                self.report.left_out(place, why);
            }
            Some(replaced) => self.lines_of(&replaced, depth + 1, tasks),
        }
    }

    /// Each line for itself, the first one first.
    fn lines_of(&self, text: &str, depth: usize, tasks: &mut Vec<Task>) {
        let lines = text.split('\n').rev();
        tasks.extend(lines.map(|line| Task::Line(line.to_owned(), depth)));
    }

    /// Whether the line is for this machine.
    fn holds(&mut self, id: &str, place: &Place) -> bool {
        let (negated, id) = match id.strip_prefix('^') {
            Some(id) => (true, id),
            None => (false, id),
        };
        let is_this = id == self.config_id;
        if is_this {
            self.conditions.held = true;
        } else {
            let other = self.conditions.others.entry(id.to_owned());
            other.or_insert_with(|| place.clone());
        }
        is_this != negated
    }

    /// If no `@` line names this machine, the file is read on another one than it is for.
    fn tell_conditions(&mut self) {
        if self.conditions.held {
            return;
        }
        let ids: BTreeSet<_> = self.conditions.others.keys().cloned().collect();
        let ids: Vec<_> = ids.into_iter().take(8).collect();
        let first = self
            .conditions
            .others
            .values()
            .min_by_key(|place| place.line);
        if let Some(place) = first.cloned() {
            let why = format!(
                "no `@` line is for `{}`: those for `{}` are; say which with --config-id",
                self.config_id,
                ids.join("`, `")
            );
            self.report.left_out(&place, why);
        }
    }

    /// The text with its first known parameter replaced.
    fn substituted(&mut self, text: &str, place: &Place, folder: &Path) -> Option<String> {
        let mut from = 0;
        while let Some(at) = text.get(from..)?.find('$') {
            let start = from + at;
            let after = text.get(start + 1..)?;
            let (name, length) = parameter(after);
            if let Some(value) = self.value(name, place, folder) {
                let before = text.get(..start)?;
                let behind = after.get(length..)?;
                return Some(format!("{before}{value}{behind}"));
            }
            from = start + 1;
        }
        None
    }

    fn value(&mut self, name: &str, place: &Place, folder: &Path) -> Option<String> {
        if let Some(value) = self.parameters.get(name) {
            return Some(value.clone());
        }
        match name.split_ascii_whitespace().next()? {
            "_PWD" => Some(absolute(folder)),
            "_INSTANCE" => Some(self.config_id.to_owned()),
            "_HASH" => Some(HASH.to_string()),
            "_BANG" => Some(BANG.to_string()),
            known @ ("_ENV" | "_RANDOM") => {
                let why = format!("`${{{known}}}` is not known before keepalived runs");
                self.report.left_out(place, why);
                None
            }
            _ => None,
        }
    }

    /// Whether there is work left for this much.
    fn spend(&mut self, bytes: usize, place: &Place) -> bool {
        self.made = self.made.saturating_add(bytes);
        let is_too_much =
            self.made > MOST_MADE || self.read > MOST_READ || self.lines.len() > MOST_LINES;
        if is_too_much && !self.is_exhausted {
            self.is_exhausted = true;
            let why = "everything from here on: with its files, parameters and sequences this is far too large";
            self.report.left_out(place, why);
        }
        !self.is_exhausted
    }
}

/// Stand for `#` and `!` that begin no comment, until a line is finished.
const HASH: char = '\u{e000}';
const BANG: char = '\u{e001}';

fn absolute(folder: &Path) -> String {
    let folder = if folder.as_os_str().is_empty() {
        Path::new(".")
    } else {
        folder
    };
    let absolute: PathBuf = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
    absolute.to_string_lossy().into_owned()
}

/// The path without `..` where it only takes back what stands before it.
fn shortest(path: &Path) -> PathBuf {
    let mut short = PathBuf::new();
    for part in path.components() {
        let takes_back = matches!(part, Component::ParentDir)
            && matches!(short.components().next_back(), Some(Component::Normal(_)));
        if takes_back {
            short.pop();
        } else {
            short.push(part);
        }
    }
    short
}

/// A line that goes on in the next one, without its backslash.
fn continued(text: &str) -> (&str, bool) {
    match text.strip_suffix('\\') {
        Some(part) => (part.trim_end(), true),
        None => (text, false),
    }
}

/// `$NAME=VALUE`.
fn definition(text: &str) -> Option<(&str, &str)> {
    let (name, value) = text.strip_prefix('$')?.split_once('=')?;
    is_name(name).then_some((name, value))
}

/// The name of a parameter behind its `$`, and how much of the text names it; empty if it names none.
fn parameter(after: &str) -> (&str, usize) {
    const LONGEST: usize = 256;
    if let Some(inner) = after.strip_prefix('{') {
        let close = inner.bytes().take(LONGEST).position(|byte| byte == b'}');
        let name = close.and_then(|close| inner.get(..close));
        return name.map_or(("", 0), |name| (name, name.len() + 2));
    }
    let letter = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    let length = after.bytes().take(LONGEST).take_while(letter).count();
    let ends = after
        .get(length..)
        .is_some_and(|rest| rest.chars().next().is_none_or(char::is_whitespace));
    match after.get(..length) {
        Some(name) if ends => (name, length),
        Some(_) | None => ("", 0),
    }
}

fn is_name(name: &str) -> bool {
    let letter = |c: char| c.is_ascii_alphanumeric() || c == '_';
    !name.is_empty() && name.chars().all(letter) && !name.starts_with(|c: char| c.is_ascii_digit())
}

/// What `include` and its kin name.
fn included(text: &str) -> Option<&str> {
    let (word, rest) = text.split_once(char::is_whitespace)?;
    let kin = [
        "include", "includer", "includem", "includew", "includeb", "includea",
    ];
    kin.contains(&word).then_some(rest.trim())
}

/// `#` and `!` begin a comment, except within quotes that are closed.
fn without_comment(line: &str) -> &str {
    let mut quote: Option<char> = None;
    let mut escaped = false;
    for (at, c) in line.char_indices() {
        let rest = || line.get(at + c.len_utf8()..).unwrap_or_default();
        match (c, quote) {
            _ if escaped => escaped = false,
            ('\\', _) => escaped = true,
            ('"' | '\'', None) if rest().contains(c) => quote = Some(c),
            (c, Some(open)) if c == open => quote = None,
            ('#' | '!', None) => return line.get(..at).unwrap_or_default(),
            _ => {}
        }
    }
    line
}
