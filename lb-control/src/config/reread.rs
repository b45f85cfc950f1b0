//! lvs.cf read again. A file of 100,000 servers takes most of a second to be read; mostly one line of it is
//! another.
//!
//! What a service means depends on its own block, on what stands outside of all blocks, and on other services
//! only where both want the same address, port or alias device. So if the text differs within one block alone,
//! that block is read together with what stands outside; and if it wants the same of the network as before, all
//! other services mean what they meant. Whatever else differs, the file is read as a whole; so is one with
//! names, marks or anything to say about, whose meaning depends on more than its text or tells places in it.

use std::{net::IpAddr, ops::Range, path::Path, sync::Arc};

use super::{
    Global, LoadError, Loaded, Outcome, bytes, digest,
    document::ServiceKind,
    names::{Names, SystemNames},
    parse_with, usable,
};
use crate::model::{ServiceId, Site, VirtualService};

/// Reads a file again and again.
#[derive(Debug, Default)]
pub struct Rereader {
    last: Option<Last>,
}

/// What was read last.
#[derive(Debug)]
struct Last {
    name: String,
    text: Vec<u8>,
    /// Where the blocks are in it, in order.
    blocks: Vec<Range<usize>>,
    /// All that is not in a block.
    outside: Vec<u8>,
    global: Global,
    site: Site,
}

impl Rereader {
    /// Reads the file at `path` for use, as [`load`](super::load) does. Services that mean the same as when it
    /// was read last are the same in memory, where that costs nothing.
    ///
    /// # Errors
    /// If it cannot be read or has errors.
    pub fn load(&mut self, path: &Path) -> Result<Loaded, LoadError> {
        self.read(&path.to_string_lossy(), bytes(path)?)
    }

    /// The same with these bytes.
    ///
    /// # Errors
    /// If they have errors.
    pub fn read(&mut self, name: &str, text: Vec<u8>) -> Result<Loaded, LoadError> {
        let mut last = self.last.take().filter(|last| last.name == name);
        if let Some(last) = &mut last
            && last.follow(&text).is_some()
        {
            last.text = text;
        } else {
            let mut names = Asked::default();
            let outcome = parse_with(name, &text, &mut names);
            let blocks = (!names.was_asked)
                .then(|| blocks(&outcome, &text))
                .flatten();
            let loaded = usable(outcome, digest(&text))?;
            match blocks {
                Some(blocks) => last = Some(Last::new(name, text, blocks, &loaded)),
                None => return Ok(loaded),
            }
        }
        self.last = last;
        let Some(Last {
            global, site, text, ..
        }) = &self.last
        else {
            unreachable!("it was put there just now");
        };
        Ok(Loaded {
            global: global.clone(),
            site: site.clone(),
            digest: digest(text),
            warnings: Vec::new(),
        })
    }
}

/// Where the blocks of a file are, if it can be followed.
fn blocks(outcome: &Outcome, text: &[u8]) -> Option<Vec<Range<usize>>> {
    let (_, site) = outcome.site.as_ref()?;
    let document = &outcome.document;
    let is_plain = outcome.diagnostics.is_empty()
        // Places are those in the bytes.
        && document.source.text().as_bytes() == text
        && document
            .services
            .iter()
            .all(|block| block.kind == ServiceKind::Virtual)
        && site
            .services
            .iter()
            .all(|service| matches!(service.key, ServiceId::Address(_)));
    is_plain.then(|| {
        let blocks = document.services.iter();
        blocks
            .map(|block| block.span.start..block.span.end)
            .collect()
    })
}

impl Last {
    fn new(name: &str, text: Vec<u8>, blocks: Vec<Range<usize>>, loaded: &Loaded) -> Self {
        let mut outside = Vec::new();
        let mut from = 0;
        for block in &blocks {
            outside.extend(text.get(from..block.start).unwrap_or_default());
            outside.push(b'\n');
            from = block.end;
        }
        outside.extend(text.get(from..).unwrap_or_default());
        outside.push(b'\n');
        Self {
            name: name.to_owned(),
            text,
            blocks,
            outside,
            global: loaded.global.clone(),
            site: loaded.site.clone(),
        }
    }

    /// Makes the site that of another text; `None` if it has to be read as a whole.
    fn follow(&mut self, text: &[u8]) -> Option<()> {
        let Some((old, new)) = differing(&self.text, text) else {
            return Some(());
        };
        let number = self.blocks.partition_point(|block| block.end <= old.start);
        let block = self.blocks.get(number)?.clone();
        // The first word and the closing brace are as they were.
        if old.start <= block.start || block.end <= old.end {
            return None;
        }
        let end = block.end - old.end + new.end;
        let before = self.alone(self.text.get(block.clone())?)?;
        let after = self.alone(text.get(block.start..end)?)?;
        if !before.wants_the_same(&after) {
            return None;
        }
        let key = before.service.key;
        let place = self.site.services.iter().position(|it| it.key == key)?;
        let service = self.site.services.get_mut(place)?;
        // What it means alone is what it means among all others.
        if **service != *before.service {
            return None;
        }
        *service = after.service;
        for (other, range) in self.blocks.iter_mut().enumerate().skip(number) {
            if other > number {
                range.start = range.start - old.end + new.end;
            }
            range.end = range.end - old.end + new.end;
        }
        Some(())
    }

    /// What a block means with what stands outside, if that is one service of which there is nothing to say.
    fn alone(&self, block: &[u8]) -> Option<Alone> {
        let mut text = self.outside.clone();
        let start = text.len();
        text.extend(block);
        let end = text.len();
        text.push(b'\n');
        let mut names = Asked::default();
        let outcome = parse_with(&self.name, &text, &mut names);
        let (global, mut site) = outcome.site.filter(|_| outcome.diagnostics.is_empty())?;
        let [found] = &outcome.document.services[..] else {
            return None;
        };
        let is_whole = found.span.start == start && found.span.end == end;
        let [service] = &site.services[..] else {
            return None;
        };
        let service = Arc::clone(service);
        site.services.clear();
        (is_whole && !names.was_asked && matches!(service.key, ServiceId::Address(_))).then_some(
            Alone {
                service,
                global,
                site,
            },
        )
    }
}

/// What a block means with what stands outside.
struct Alone {
    service: Arc<VirtualService>,
    global: Global,
    /// The rest of the site.
    site: Site,
}

impl Alone {
    /// Whether both want the same of the network, so that other services get along with one as with the other.
    fn wants_the_same(&self, other: &Self) -> bool {
        let of = |alone: &Self| (alone.service.key, alone.service.name.clone());
        of(self) == of(other)
            && self.service.selectors == other.service.selectors
            && self.site == other.site
            && self.global == other.global
    }
}

/// What is not alike between what two texts begin and end with alike, in the one and in the other; `None` if
/// they are alike.
fn differing(old: &[u8], new: &[u8]) -> Option<(Range<usize>, Range<usize>)> {
    if old == new {
        return None;
    }
    let alike = alike(old, new);
    let (rest_of_old, rest_of_new) = (old.get(alike..)?, new.get(alike..)?);
    let shorter = rest_of_old.len().min(rest_of_new.len());
    let backwards = rest_of_old.iter().rev().zip(rest_of_new.iter().rev());
    let at_end = backwards.take(shorter).take_while(|(a, b)| a == b).count();
    Some((alike..old.len() - at_end, alike..new.len() - at_end))
}

/// How many bytes two texts begin with alike.
fn alike(old: &[u8], new: &[u8]) -> usize {
    const PIECE: usize = 4096;
    let pieces = old.chunks(PIECE).zip(new.chunks(PIECE));
    let whole = pieces.take_while(|(a, b)| a == b).count() * PIECE;
    let whole = whole.min(old.len()).min(new.len());
    let rest = old.iter().skip(whole).zip(new.iter().skip(whole));
    whole + rest.take_while(|(a, b)| a == b).count()
}

/// The names of the system, and whether anybody asked.
#[derive(Default)]
struct Asked {
    names: SystemNames,
    was_asked: bool,
}

impl Names for Asked {
    fn host(&mut self, name: &str) -> Option<IpAddr> {
        self.was_asked = true;
        self.names.host(name)
    }

    fn service(&mut self, name: &str) -> Option<u16> {
        self.was_asked = true;
        self.names.service(name)
    }

    fn tcp_service(&mut self, name: &str) -> Option<u16> {
        self.was_asked = true;
        self.names.tcp_service(name)
    }
}

#[cfg(test)]
mod tests {
    use lb_common::testing::Lot;

    use super::*;

    /// A file of so many services with two servers each.
    fn file(services: usize) -> String {
        let mut text = "# of the test\nserial_no = 1\nnetwork = direct\n".to_owned();
        for number in 0..services {
            text += &format!(
                "virtual s{number} {{\n  active = 1\n  address = 10.0.{}.1 eth0:{}\n  port = {}\n  scheduler = rr\n",
                number % 3,
                number % 3,
                80 + number
            );
            for server in 1..3 {
                text += &format!(
                    "  server r{server} {{\n    address = 10.1.{number}.{server}\n    active = 1\n    weight = {server}\n  }}\n"
                );
            }
            text += "}\n# between\n";
        }
        text + "tcp_timeout = 600\n"
    }

    /// Both, as far as anybody sees it.
    fn shown(loaded: &Result<Loaded, LoadError>) -> String {
        match loaded {
            Ok(Loaded {
                global,
                site,
                digest,
                warnings,
            }) => format!("{global:?} {site:?} {digest} {warnings:?}"),
            Err(error) => format!("{error}"),
        }
    }

    fn whole(text: &str) -> Result<Loaded, LoadError> {
        let outcome = parse_with("lvs.cf", text.as_bytes(), &mut Asked::default());
        usable(outcome, digest(text.as_bytes()))
    }

    /// How many services are the same in memory as before.
    fn same(before: &Site, after: &Site) -> usize {
        let both = before.services.iter().zip(&after.services);
        both.filter(|(one, other)| Arc::ptr_eq(one, other)).count()
    }

    #[test]
    fn only_what_can_be_read_alone_is() {
        // What is there, what is put in its place, and whether that is read alone.
        let table = [
            ("10.1.1.2\n", "10.1.1.9\n", true),
            ("weight = 1", "weight = 7", true),
            ("scheduler = rr", "scheduler = wlc", true),
            ("virtual s1 {\n", "virtual s1 {\n  # a comment\n", true),
            // Of a server without weight there is something to say.
            ("    weight = 2\n", "", false),
            ("active = 1\n  address", "active = 0\n  address", false),
            ("port = 81", "port = 80", false),
            ("10.0.1.1 eth0:1", "10.0.1.7 eth0:1", false),
            ("eth0:1", "eth1:1", false),
            ("virtual s1", "virtual s9", false),
            ("weight = 1", "weight = x", false),
            ("weight = 1", "wieght = 1", false),
            ("  server r1 {", "}\nvirtual s7 {\n  server r1 {", false),
            ("  }\n}\n", "  }\n", false),
            ("serial_no = 1", "serial_no = 2", false),
            ("tcp_timeout = 600", "tcp_timeout = 601", false),
            ("# between", "# among", false),
        ];
        for (there, instead, is_alone) in table {
            let text = file(3);
            let mut reader = Rereader::default();
            let before = reader.read("lvs.cf", text.clone().into()).unwrap();
            let changed = text.replacen(there, instead, 1);
            assert_ne!(changed, text, "{there}");
            let after = reader.read("lvs.cf", changed.clone().into());
            let what = format!("{there:?} becomes {instead:?}");
            assert_eq!(shown(&after), shown(&whole(&changed)), "{what}");
            let kept = after.map_or(0, |after| same(&before.site, &after.site));
            assert_eq!(kept, if is_alone { 2 } else { 0 }, "{what}");
        }
    }

    #[test]
    fn whatever_is_edited_means_what_the_whole_file_means() {
        let mut lot = Lot::new(7);
        let mut alone = 0;
        for _ in 0..20 {
            let mut reader = Rereader::default();
            let mut text = file(6);
            let mut before = reader.read("lvs.cf", text.clone().into()).unwrap().site;
            for _ in 0..25 {
                let edited = edit(&text, &mut lot);
                let read = reader.read("lvs.cf", edited.clone().into());
                assert_eq!(shown(&read), shown(&whole(&edited)), "{text}\n\n{edited}");
                if let Ok(Loaded { site, .. }) = read {
                    alone += usize::from(same(&before, &site) == 5);
                    before = site;
                }
                // What was wrong is put right; now and then it is read in the middle of that.
                if whole(&edited).is_ok() {
                    text = edited;
                }
            }
        }
        assert!(alone > 30, "only {alone} were read alone");
    }

    /// The text with one line that is another, or none, or one more.
    fn edit(text: &str, lot: &mut Lot) -> String {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        let place = lot.below(lines.len());
        let other = lines[lot.below(lines.len())].clone();
        let line = &mut lines[place];
        match lot.below(8) {
            0 => drop(lines.remove(place)),
            1 => lines.insert(place, other),
            2 => *line = other,
            3 => line.push(lot.of(&['}', '{', '#', ' ', '1'])),
            _ => {
                let digit = lot.below(10).to_string();
                let found: Vec<_> = line.match_indices(|it: char| it.is_ascii_digit()).collect();
                if let Some((at, _)) = found.get(lot.below(found.len().max(1))) {
                    line.replace_range(*at..*at + 1, &digit);
                }
            }
        }
        lines.join("\n") + "\n"
    }

    #[test]
    fn what_differs_is_found() {
        let long = "x".repeat(10_000);
        let table = [
            ("", "", None),
            ("abc", "abc", None),
            ("abc", "axc", Some((1..2, 1..2))),
            ("abc", "abbc", Some((2..2, 2..3))),
            ("aaa", "aa", Some((2..3, 2..2))),
            ("", "a", Some((0..0, 0..1))),
        ];
        for (old, new, expected) in table {
            let (ranges, texts) = (expected, [old, new]);
            let told = differing(texts[0].as_bytes(), texts[1].as_bytes());
            assert_eq!(told, ranges, "{old} {new}");
            let shifted = ranges.map(|(one, other)| {
                let by = long.len();
                (
                    one.start + by..one.end + by,
                    other.start + by..other.end + by,
                )
            });
            let [old, new] = texts.map(|text| format!("{long}{text}z{long}"));
            let told = differing(old.as_bytes(), new.as_bytes());
            assert_eq!(told.is_some(), shifted.is_some());
            if let (Some(told), Some(shifted)) = (told, shifted) {
                assert_eq!(
                    told.0.len() + shifted.1.len(),
                    told.1.len() + shifted.0.len()
                );
                assert!(told.0.start >= long.len(), "{told:?}");
            }
        }
    }
}
