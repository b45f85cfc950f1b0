//! `-R`: a list of commands from standard input.

use super::{
    command::{Command, Wish},
    complaint::Complaint,
    names::Names,
    parse::parse,
};

/// A change, and the line that it stands on, from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Where it stands.
    pub number: usize,
    /// What it is.
    pub wish: Wish,
}

/// Reads all lines. What ipvsadm's own `-S` wrote is read, words are separated by blanks, and nothing is
/// quoted. Empty lines and comments do not count.
///
/// # Errors
/// The first line that is wrong, by its number.
pub fn read(program: &str, text: &str, names: &dyn Names) -> Result<Vec<Line>, Complaint> {
    let mut lines = Vec::new();
    for (number, line) in (1..).zip(text.split('\n')) {
        let words: Vec<String> = words(line).map(str::to_owned).collect();
        if words.is_empty() {
            continue;
        }
        let command = parse(program, &words, names).map_err(|complaint| {
            // Where a line is wrong from its first word on, the help is of no help.
            let is_lost = complaint == Complaint::try_help(program);
            match (is_lost, words.first()) {
                (true, Some(word)) => Complaint::refused(format!("`{word}' is no command")),
                _ => complaint,
            }
            .at_line(number)
        })?;
        let wish = wish(command).map_err(|complaint| complaint.at_line(number))?;
        lines.push(Line { number, wish });
    }
    Ok(lines)
}

/// The words of a line, without a comment and without the name of the program.
fn words(line: &str) -> impl Iterator<Item = &str> {
    let is_comment = line.trim_start().starts_with('#');
    let line = if is_comment { "" } else { line };
    line.split([' ', '\t', '\r', '\x0b', '\x0c'])
        .filter(|word| !word.is_empty())
        .skip_while(|word| *word == "ipvsadm")
}

fn wish(command: Command) -> Result<Wish, Complaint> {
    match command {
        Command::Change(wish) => Ok(wish),
        Command::Help
        | Command::Version
        | Command::List(_)
        | Command::Save { .. }
        | Command::Restore => Err(Complaint::refused("only changes can be restored")),
    }
}
