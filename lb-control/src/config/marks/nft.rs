//! What `nft list ruleset` prints: chains in braces, and rules of which sets may go over lines.

use super::{HOOKS, Rule, Rules};

/// The rules that set marks.
pub(super) fn rules(text: &str) -> Rules {
    let mut rules = Rules::new();
    let mut hook: Option<&str> = None;
    let mut lines = text.lines().enumerate();
    while let Some((index, line)) = lines.next() {
        let line = line.trim();
        if line.starts_with("chain ") {
            hook = None;
        } else if line.starts_with("type ") {
            let mut words = line.split_ascii_whitespace();
            hook = words.find(|word| *word == "hook").and(words.next());
        }
        if line.starts_with('#') || !line.contains("mark set") && !line.contains("daddr") {
            continue;
        }
        let mut rule = line.to_owned();
        while rule.matches('{').count() > rule.matches('}').count() {
            let Some((_, more)) = lines.next() else { break };
            rule.push(' ');
            rule.push_str(more.trim());
        }
        if rule.contains("mark set") {
            rules.push((index + 1, self::rule(hook, &rule)));
        }
    }
    rules
}

fn rule(hook: Option<&str>, text: &str) -> Result<Rule, String> {
    match hook {
        Some(hook) if HOOKS.contains(&hook) => {}
        Some(hook) => {
            return Err(format!(
                "a mark that is set in hook {hook} comes too late for balancing"
            ));
        }
        None => {
            return Err("this chain is reached by other rules, which are not followed".to_owned());
        }
    }
    let mut rule = Rule::default();
    let text = text
        .replace('{', " { ")
        .replace('}', " } ")
        .replace(',', " ");
    let mut words = Words(text.split_ascii_whitespace().collect());
    while let Some(word) = words.next() {
        match (word, words.peek()) {
            ("ip" | "ip6", "daddr") => {
                words.next();
                for address in words.values()? {
                    rule.add_address(address)?;
                }
            }
            ("ip", "protocol") | ("ip6", "nexthdr") | ("meta", "l4proto") => {
                words.next();
                rule.set_protocol(words.single()?)?;
            }
            (protocol @ ("tcp" | "udp" | "sctp"), "dport") => {
                words.next();
                rule.set_protocol(protocol)?;
                for port in words.values()? {
                    rule.add_port(port, '-')?;
                }
            }
            ("meta", "mark") => {}
            ("mark", "set") => {
                words.next();
                rule.set_mark(words.single()?)?;
            }
            ("counter", _) => words.skip_counts(),
            ("comment", _) => break,
            ("accept", "" | "comment") => {}
            (word, "") => return Err(format!("`{word}` is not known to groups")),
            (word, next) => return Err(format!("`{word} {next}` is not known to groups")),
        }
    }
    Ok(rule)
}

/// The words of a rule, from the front.
struct Words<'a>(std::collections::VecDeque<&'a str>);

impl<'a> Words<'a> {
    fn next(&mut self) -> Option<&'a str> {
        self.0.pop_front()
    }

    /// The next word; empty at the end.
    fn peek(&self) -> &'a str {
        self.0.front().copied().unwrap_or_default()
    }

    /// One value, or all those of a set.
    fn values(&mut self) -> Result<Vec<&'a str>, String> {
        match self.next() {
            Some("{") => {
                let mut values = Vec::new();
                while let Some(word) = self.next() {
                    if word == "}" {
                        return Ok(values);
                    }
                    values.push(word);
                }
                Err("a set is not closed".to_owned())
            }
            Some(name) if name.starts_with('@') => Err(format!("the set {name} is not followed")),
            Some("!=") => Err("`!=` is not known to groups".to_owned()),
            Some(value) => Ok(vec![value]),
            None => Err("a value is missing".to_owned()),
        }
    }

    fn single(&mut self) -> Result<&'a str, String> {
        match self.values()?.as_slice() {
            [value] => Ok(value),
            values => Err(format!("{} is more than one value", values.join(" "))),
        }
    }

    /// `packets 0 bytes 0` behind a counter.
    fn skip_counts(&mut self) {
        while matches!(self.peek(), "packets" | "bytes") {
            self.next();
            self.next();
        }
    }
}
