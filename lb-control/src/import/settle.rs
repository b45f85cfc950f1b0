//! The last look at a draft, by the parser that will read it: what it refuses is switched off, and told.

use super::{
    draft::{Draft, Origin, State},
    report::{Place, Report},
};
use crate::config::{self, Severity, names::Names};

/// The text of a draft without errors.
pub(super) fn settle(mut draft: Draft, report: &mut Report) -> String {
    loop {
        let (text, origins) = draft.text();
        let refused = errors(&text, &origins);
        if refused.is_empty() || draft.is_empty() {
            return text;
        }
        // From the last to the first, for directives are taken out by their index.
        for (origin, message) in refused.into_iter().rev() {
            draft.give_up(origin, &message, report);
        }
    }
}

/// What the parser says is wrong, once for each line, in order.
fn errors(text: &str, origins: &[Origin]) -> Vec<(Origin, String)> {
    let outcome = config::parse_with("lvs.cf", text.as_bytes(), &mut NoNames);
    let mut refused: Vec<(Origin, String)> = Vec::new();
    let mut lines = Vec::new();
    let source = &outcome.document.source;
    for error in &outcome.diagnostics {
        let line = source.position(error.span).line;
        if error.severity == Severity::Error && !lines.contains(&line) {
            lines.push(line);
            let origin = origins.get(line.saturating_sub(1)).copied();
            refused.push((origin.unwrap_or(Origin::Note), error.message.clone()));
        }
    }
    refused
}

impl Draft {
    fn is_empty(&self) -> bool {
        self.notes.is_empty() && self.globals.is_empty() && self.services.is_empty()
    }

    /// Takes back what was refused: each call leaves less of the draft, so settling comes to an end.
    fn give_up(&mut self, origin: Origin, why: &str, report: &mut Report) {
        match origin {
            // Something that is not of one line. It is in no comment, so it is not known where.
            Origin::Note => {
                self.notes.clear();
                self.globals.clear();
                self.services.clear();
                report.left_out(&Place::whole("lvs.cf"), why);
            }
            Origin::Global(index) => {
                if index < self.globals.len() {
                    let setting = self.globals.remove(index);
                    let name = setting.name;
                    report.left_out(&setting.place, format!("`{name}`: {why}"));
                }
            }
            Origin::Service(service, setting) => {
                let Some(block) = self.services.get_mut(service) else {
                    return;
                };
                let setting = setting.and_then(|index| block.settings.get(index));
                let place = setting.map_or(&block.place, |setting| &setting.place);
                block.state = lesser(block.state);
                let becomes = words(block.state);
                let name = &block.name;
                report.left_out(place, format!("virtual `{name}` {becomes}: {why}"));
            }
            Origin::Server(service, server, setting) => {
                let block = self.services.get_mut(service);
                let Some(server) = block.and_then(|block| block.servers.get_mut(server)) else {
                    return;
                };
                let setting = setting.and_then(|index| server.settings.get(index));
                let place = setting.map_or(&server.place, |setting| &setting.place);
                server.state = lesser(server.state);
                let becomes = words(server.state);
                let name = &server.name;
                report.left_out(place, format!("server `{name}` {becomes}: {why}"));
            }
        }
    }
}

fn lesser(state: State) -> State {
    match state {
        State::On => State::Off,
        State::Off | State::Gone => State::Gone,
    }
}

fn words(state: State) -> &'static str {
    match state {
        State::On => "stays",
        State::Off => "is switched off",
        State::Gone => "is not written",
    }
}

/// An imported file has addresses and numbers only.
struct NoNames;

impl Names for NoNames {
    fn host(&mut self, _name: &str) -> Option<std::net::IpAddr> {
        None
    }

    fn service(&mut self, _name: &str) -> Option<u16> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::import::{
        draft::{Block, ServerBlock},
        found::Setting,
    };

    fn at(line: usize) -> Place {
        Place {
            file: "f".into(),
            line,
        }
    }

    fn block(name: &str, line: usize, settings: &[(&'static str, &str)]) -> Block {
        let setting = |(index, (name, value)): (usize, &(&'static str, &str))| {
            Setting::plain(name, value, &at(line + index + 1))
        };
        Block {
            name: name.to_owned(),
            place: at(line),
            notes: vec!["a note\nof two lines".to_owned()],
            state: State::On,
            settings: settings.iter().enumerate().map(setting).collect(),
            servers: vec![ServerBlock {
                name: "s".to_owned(),
                place: at(line + 50),
                state: State::On,
                settings: vec![
                    Setting::plain("address", "10.0.0.1", &at(line + 51)),
                    Setting::plain("weight", "1", &at(line + 52)),
                ],
            }],
        }
    }

    #[test]
    fn what_the_parser_refuses_is_switched_off_and_told() {
        let web = [("address", "192.0.2.10 eth0:1"), ("port", "80")];
        let mut draft = Draft {
            notes: vec!["Imported".to_owned()],
            globals: vec![
                Setting::plain("keepalive", "2", &at(1)),
                Setting::plain("deadtime", "soon", &at(2)),
                Setting::plain("network", "direct", &at(3)),
            ],
            services: vec![
                block("web", 100, &web),
                block("again", 200, &web),
                block("odd", 300, &[("address", "nowhere eth0:1")]),
            ],
        };
        draft.services[0].servers[0].settings[1].value = "70000".to_owned();
        let mut report = Report::default();
        let text = settle(draft, &mut report);
        let outcome = config::parse_with("lvs.cf", text.as_bytes(), &mut NoNames);
        assert!(outcome.site.is_some(), "{text}\n{:?}", outcome.diagnostics);
        assert!(!text.contains("virtual odd"), "{text}");
        assert!(text.contains("virtual again {\n    active = 0"), "{text}");
        let lines: Vec<_> = report
            .finish()
            .iter()
            .map(|one| {
                (
                    one.place.line,
                    one.why.split(':').next().unwrap().to_owned(),
                )
            })
            .collect();
        let expected = [
            (2, "`deadtime`"),
            (152, "server `s` is switched off"),
            (200, "virtual `again` is switched off"),
            (301, "virtual `odd` is switched off"),
            (301, "virtual `odd` is not written"),
        ];
        let expected = expected.map(|(line, why)| (line, why.to_owned()));
        assert_eq!(lines, expected, "{text}");
    }
}
