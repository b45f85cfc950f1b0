//! What `iptables-save` and `iptables -S` print, and commands of scripts: one rule on a line.

use super::{HOOKS, Rule, Rules};

/// The rules that set marks.
pub(super) fn rules(text: &str) -> Rules {
    let mut rules = Rules::new();
    let mut table = String::from("mangle");
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if let Some(name) = line.strip_prefix('*') {
            name.clone_into(&mut table);
            continue;
        }
        let words = words(line);
        let about_marks = words.iter().any(|word| {
            matches!(word.as_str(), "MARK" | "CONNMARK" | "TPROXY") && !line.starts_with('#')
        });
        if about_marks {
            rules.push((index + 1, rule(&table, &words)));
        }
    }
    rules
}

/// One line, without the counters and the name of the program that may stand in front.
fn rule(table: &str, words: &[String]) -> Result<Rule, String> {
    let mut rule = Rule::default();
    let mut table = table;
    let mut words = words
        .iter()
        .map(String::as_str)
        .skip_while(|word| word.starts_with('[') || word.ends_with("tables"));
    while let Some(option) = words.next() {
        let mut value = || {
            let value = words.next();
            value.ok_or_else(|| format!("{option} has no value"))
        };
        match option {
            "-t" | "--table" => table = value()?,
            "-A" | "-I" | "--append" | "--insert" => chain(value()?)?,
            "-d" | "--destination" | "--dst" => {
                for address in value()?.split(',') {
                    rule.add_address(address)?;
                }
            }
            "-p" | "--protocol" => rule.set_protocol(value()?)?,
            "--dport" | "--destination-port" => rule.add_port(value()?, ':')?,
            "--dports" | "--destination-ports" => {
                for port in value()?.split(',') {
                    rule.add_port(port, ':')?;
                }
            }
            "-m" | "--match" => match value()? {
                "tcp" | "udp" | "sctp" | "ah" | "esp" | "multiport" | "comment" => {}
                other => return Err(format!("-m {other} is not known to groups")),
            },
            "--comment" => drop(value()?),
            "-j" | "--jump" => match value()? {
                "MARK" => {}
                other => return Err(format!("-j {other} is not known to groups")),
            },
            "--set-mark" | "--set-xmark" => rule.set_mark(value()?)?,
            // The place of an insertion.
            place if place.parse::<u32>().is_ok() => {}
            other => return Err(format!("{other} is not known to groups")),
        }
    }
    match table {
        "mangle" => Ok(rule),
        other => Err(format!("marks are set in table mangle, not {other}")),
    }
}

fn chain(name: &str) -> Result<(), String> {
    if HOOKS.contains(&name.to_lowercase().as_str()) {
        return Ok(());
    }
    let ours = ["FORWARD", "OUTPUT", "POSTROUTING"];
    Err(if ours.contains(&name) {
        format!("a mark that is set in {name} comes too late for balancing")
    } else {
        format!("chain {name} is reached by other rules, which are not followed")
    })
}

/// Words at blanks; quotes hold them together.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut is_quoted = false;
    let mut letters = line.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '"' => {
                is_quoted = !is_quoted;
                word.get_or_insert_default();
            }
            '\\' => word.get_or_insert_default().extend(letters.next()),
            blank if blank.is_whitespace() && !is_quoted => words.extend(word.take()),
            letter => word.get_or_insert_default().push(letter),
        }
    }
    words.extend(word);
    words
}
