//! `virtual_server_group`: several addresses and marks that have one set of servers.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
};

use super::{addresses, known::tell_rest, tree::Node};
use crate::{
    import::report::{Place, Report},
    model::Family,
};

/// What is in a group.
#[derive(Debug, Default)]
pub(super) struct Group {
    /// Addresses with their ports, 0 for all.
    pub(super) sockets: Vec<SocketAddr>,
    /// Marks, with their family if it is said.
    pub(super) marks: Vec<(u32, Option<Family>, Place)>,
}

/// All groups, by name.
pub(super) fn groups<'a>(
    nodes: impl Iterator<Item = &'a Node>,
    report: &mut Report,
) -> BTreeMap<String, Group> {
    let mut groups = BTreeMap::new();
    for node in nodes {
        let mut group = Group::default();
        for line in node.inside() {
            if let Err(why) = group.line(line, report) {
                report.left_out(&line.place, why);
            }
        }
        if groups.insert(node.value().to_owned(), group).is_some() {
            let why = format!("a group `{}` before it, with the same name", node.value());
            report.left_out(&node.place, why);
        }
    }
    groups
}

/// More than this nobody looks through.
const MOST: usize = 4096;

impl Group {
    fn line(&mut self, line: &Node, report: &mut Report) -> Result<(), String> {
        if line.name() == "fwmark" {
            let mark = mark(line.value())?;
            let family = match line.values().get(1).map(String::as_str) {
                None => None,
                Some("inet") => Some(Family::Ipv4),
                Some("inet6") => Some(Family::Ipv6),
                Some(other) => return Err(format!("`{other}` is no family")),
            };
            self.marks.push((mark, family, line.place.clone()));
            tell_rest(line, 2, report);
            return Ok(());
        }
        let all: Vec<IpAddr> = addresses::several(line.name())?;
        let port = match line.values().first() {
            None => 0,
            Some(text) => port(text)?,
        };
        tell_rest(line, 1, report);
        if self.sockets.len() + all.len() > MOST {
            return Err(format!("the group has more than {MOST} addresses"));
        }
        let sockets = all
            .into_iter()
            .map(|address| SocketAddr::new(address, port));
        self.sockets.extend(sockets);
        Ok(())
    }
}

/// A mark that stands for something.
pub(super) fn mark(text: &str) -> Result<u32, String> {
    let mark = text.parse().ok().filter(|mark| *mark != 0);
    mark.filter(|mark| i32::try_from(*mark).is_ok())
        .ok_or_else(|| format!("`{text}` is no mark that lvs.cf can have"))
}

/// A port.
pub(super) fn port(text: &str) -> Result<u16, String> {
    text.parse().map_err(|_| format!("`{text}` is no port"))
}
