//! Edits and canonical text on many files: what is asked for becomes so, and nothing else changes.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::net::IpAddr;

use lb_control::config::{
    self,
    directives::{Entry, GLOBALS, Kind, SERVERS, SERVICES},
    document::{Directive, Document, Item, Service, ServiceKind},
    edit::{Assignment, Edit, Place, Value, Which, edit_with},
    format::format_with,
    names::Names,
};
use serde_json::json;
use similar::{Algorithm, DiffOp, capture_diff_slices};

const WEB_TOOL: &str = include_str!("data/web-tool.cf");
const PROBES: &str = include_str!("data/lvs-cf-probes.jsonl");

/// What people write who like it neat: columns, comments everywhere, tabs.
const NEAT: &str = "\
# lvs.cf of the machine room
# nobody touches this by hand

primary        = 192.0.2.2   # left
backup         = 192.0.2.3   # right
backup_active  = 1
network        = direct

# The web.
# Ask Anna first.
virtual web {
\tactive    = 1
\taddress   = 192.0.2.10 eth0:1  # an alias
\tport      = 80

\t# how it is checked
\tsend      = \"GET / HTTP/1.0\\r\\n\\r\\n\"
\texpect    = 'HTTP'

\tserver one { # old
\t\taddress = 10.0.0.11
\t\tactive  = 1
\t}
\t# soon
\t#server three {
\t#}
\tserver two
\t{
\t\taddress=10.0.0.12
\t\tactive=1
\t} # end
} # end of web

virtual mail {
    active = 0
    fwmark = 7
    match = \"tcp 192.0.2.11:25\"
    match = \"tcp 192.0.2.11:587,993\"
    unknown = 3
}
failover \"my ftp\" {
active = 0
}
# the end";

fn seeds(neat: &str) -> Vec<Vec<u8>> {
    let mut seeds: Vec<Vec<u8>> = PROBES
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
        .map(|probe| probe["input"].as_str().unwrap().as_bytes().to_vec())
        .collect();
    for text in [WEB_TOOL, neat] {
        seeds.push(text.as_bytes().to_vec());
        seeds.push(text.replace('\n', "\r\n").into_bytes());
        seeds.push(text.replace('\n', "\r").into_bytes());
    }
    let mut strange = b"\xef\xbb\xbf# Gr\xfc\xdfe\n".to_vec();
    strange.extend_from_slice(neat.replace("unknown", "# \u{e4}").as_bytes());
    seeds.push(strange);
    seeds
}

/// The text of an example, without the quotes around it.
fn example(kind: Kind) -> &'static str {
    kind.example().trim_matches('"')
}

fn path(place: &Place, directive: &str) -> config::edit::DirectivePath {
    config::edit::DirectivePath {
        place: place.clone(),
        directive: directive.to_owned(),
    }
}

fn set(place: &Place, directive: &str, value: &str) -> Edit {
    Edit::Set {
        path: path(place, directive),
        value: value.into(),
    }
}

/// Each directive can be set, changed and taken away again, and then the file is what it was.
#[test]
fn every_directive() {
    fn check<K>(table: &'static [Entry<K>], place: &Place) {
        let more = "    address = 192.0.2.11 eth0:2\n    server m {\n        weight = 1\n    }\n";
        let file = NEAT.replace("    unknown = 3\n", more);
        for entry in table {
            let apply = |bytes: &[u8], edit: &Edit| {
                let edits = std::slice::from_ref(edit);
                edit_with("lvs.cf", bytes, edits, &mut Fixed)
                    .unwrap_or_else(|refused| panic!("{edit:?}: {refused}"))
                    .bytes
            };
            let removed = Edit::Unset {
                path: path(place, entry.name),
            };
            let bare = match said(&parse(file.as_bytes()), place, entry.name).is_empty() {
                true => file.clone().into_bytes(),
                false => apply(file.as_bytes(), &removed),
            };
            let text = example(entry.kind);
            let one = apply(&bare, &set(place, entry.name, text));
            let words: Vec<_> = text.split(' ').collect();
            let expected = match matches!(entry.kind, Kind::HostAndDevice | Kind::List) {
                true => words.iter().map(|w| (*w).to_owned()).collect(),
                false => vec![text.to_owned()],
            };
            assert_eq!(
                said(&parse(&one), place, entry.name),
                [expected],
                "{}",
                entry.name
            );
            let again = apply(&one, &set(place, entry.name, text));
            assert_eq!(again, one, "{}", entry.name);
            assert_eq!(apply(&one, &removed), bare, "{}", entry.name);
            // One line came.
            let (gone, came) = difference(&bare, &one);
            assert_eq!((gone.len(), came.len()), (0, 1), "{}: {came:?}", entry.name);
        }
    }
    check(GLOBALS, &Place::Global);
    let mail = Place::Service(ServiceKind::Virtual, Which::named("mail"));
    check(SERVICES, &mail);
    let mail = Which::named("mail");
    check(
        SERVERS,
        &Place::Server(ServiceKind::Virtual, mail, Which::named("m")),
    );
}

/// Any edits of any file, one after the other, at random but the same each time.
#[test]
fn what_is_asked_for_and_nothing_else() {
    let seeds = seeds(NEAT);
    let mut random = Random(0x2545_f491_4f6c_dd1d);
    let (mut made, mut refused) = (0, 0);
    for round in 0..400 {
        let mut bytes = seeds[random.below(seeds.len())].clone();
        if round % 4 == 0 {
            mutate(&mut bytes, &mut random);
        }
        for _ in 0..6 {
            let before = parse(&bytes);
            let edit = any_edit(&before, &mut random);
            let edits = std::slice::from_ref(&edit);
            let Ok(edited) = edit_with("lvs.cf", &bytes, edits, &mut Fixed) else {
                refused += 1;
                continue;
            };
            made += 1;
            let why = format!(
                "{edit:?}\n{}\nbecame\n{}",
                String::from_utf8_lossy(&bytes),
                String::from_utf8_lossy(&edited.bytes)
            );
            let after = parse(&edited.bytes);
            is_asked(&edit, &before, &after, &why);
            is_all(&edit, &bytes, &edited.bytes, &why);
            bytes = edited.bytes;
        }
    }
    assert!(
        made > 800 && refused > 100,
        "{made} made, {refused} refused"
    );
}

/// What the edited document says is what was asked for.
fn is_asked(edit: &Edit, before: &Document, after: &Document, why: &str) {
    match edit {
        Edit::Set { path, value } => {
            let said = said(after, &path.place, &path.directive);
            let texts = match value {
                Value::One(text) => vec![text.clone()],
                Value::Many(texts) => texts.clone(),
            };
            let last: Vec<_> = said.iter().rev().take(texts.len()).rev().collect();
            for (said, text) in last.iter().zip(&texts) {
                let said = said.join(" ");
                let blanks = text.split_ascii_whitespace().collect::<Vec<_>>().join(" ");
                let is_same = said == *text || said == format!("[ {blanks} ]") || said == blanks;
                assert!(is_same, "{said}: {why}");
            }
            assert_eq!(last.len(), texts.len(), "{why}");
        }
        Edit::Unset { path } => {
            assert!(
                said(after, &path.place, &path.directive).is_empty(),
                "{why}"
            );
        }
        Edit::Add { path, .. } | Edit::Remove { path, .. } => {
            let count = |document| said(document, &path.place, &path.directive).len();
            assert_ne!(count(before), count(after), "{why}");
        }
        Edit::AddBlock { path, .. } => assert_eq!(blocks(after, path), 1, "{why}"),
        Edit::RemoveBlock { path } => {
            assert_eq!(blocks(after, path) + 1, blocks(before, path), "{why}");
        }
        Edit::RenameBlock { path, name } => {
            let new = match path {
                Place::Service(kind, _) => Place::Service(*kind, Which::named(name)),
                Place::Server(kind, of, _) => Place::Server(*kind, of.clone(), Which::named(name)),
                Place::Global => panic!("{why}"),
            };
            assert_eq!(blocks(after, &new), 1, "{why}");
        }
    }
}

/// All lines that were not meant are there as before, to the byte, and in their order.
fn is_all(edit: &Edit, before: &[u8], after: &[u8], why: &str) {
    let (gone, came) = difference(before, after);
    let silent = |line: &&Vec<u8>| line.trim_ascii_start().starts_with(b"#");
    // The last line gets an end if something comes below.
    let ends = usize::from(!before.ends_with(b"\n") && !before.ends_with(b"\r"));
    match edit {
        Edit::Set { path, value } => {
            let many = match value {
                // All that were there go.
                _ if matches!(path.directive.as_str(), "match" | "address") => 9,
                Value::One(_) => 1,
                Value::Many(texts) => texts.len(),
            };
            assert!(gone.len() <= many + ends, "{gone:?}: {why}");
            assert!(came.len() <= many + ends + 1, "{came:?}: {why}");
        }
        Edit::Unset { path } => {
            assert!(came.is_empty(), "{why}");
            for line in gone {
                let line = line.trim_ascii_start();
                let line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line);
                assert!(
                    line.trim_ascii_start()
                        .starts_with(path.directive.as_bytes()),
                    "{why}"
                );
            }
        }
        Edit::Add { .. } => assert!(gone.len() <= ends && came.len() <= 1 + ends, "{why}"),
        Edit::Remove { .. } => assert_eq!((gone.len(), came.len()), (1, 0), "{why}"),
        Edit::AddBlock { directives, .. } => {
            assert!(gone.len() <= ends, "{why}");
            assert!(came.len() <= directives.len() + 5 + ends, "{why}");
        }
        Edit::RemoveBlock { .. } => assert!(came.is_empty(), "{why}"),
        Edit::RenameBlock { .. } => {
            assert!(gone.len() == came.len() && gone.len() <= 1, "{why}");
        }
    }
    let (gone, came) = difference(before, after);
    // Those above a block that goes belong to it.
    if ends == 0 && !matches!(edit, Edit::RemoveBlock { .. }) {
        assert_eq!(
            gone.iter().filter(silent).count(),
            came.iter().filter(silent).count(),
            "{why}"
        );
    }
}

fn any_edit(document: &Document, random: &mut Random) -> Edit {
    let place = any_place(document, random);
    let names: Vec<(&str, Kind)> = match &place {
        Place::Global => GLOBALS.iter().map(|one| (one.name, one.kind)).collect(),
        Place::Service(..) => SERVICES.iter().map(|one| (one.name, one.kind)).collect(),
        Place::Server(..) => SERVERS.iter().map(|one| (one.name, one.kind)).collect(),
    };
    let (name, kind) = names[random.below(names.len())];
    let strange = [
        "", "a b", "it's", "#1", "{", "\"x\"", "[ x ]", "ä", "a\tb", "6", "1 2",
    ];
    let value = match random.below(4) {
        0 => strange[random.below(strange.len())],
        _ => example(kind),
    };
    let called = ["new", "my block", "x{", "a/b", "a#1", "}", "web"];
    let name_of = called[random.below(called.len())];
    match random.below(12) {
        0..=4 => set(&place, name, value),
        5 | 6 => {
            // One that is there.
            let there: Vec<_> = names
                .iter()
                .filter(|(name, _)| !said(document, &place, name).is_empty())
                .collect();
            match there.is_empty() {
                true => set(&place, name, value),
                false => Edit::Unset {
                    path: path(&place, there[random.below(there.len())].0),
                },
            }
        }
        7 => Edit::Add {
            path: path(&place, "match"),
            value: "udp 10.0.0.7:53".into(),
        },
        8 => match random.below(2) {
            0 => Edit::Remove {
                path: path(&place, "match"),
                value: "udp 10.0.0.7:53".into(),
            },
            _ => Edit::Set {
                path: path(&place, "match"),
                value: Value::Many(vec!["esp 10.0.0.1".into(), "tcp 10.0.0.2:7".into()]),
            },
        },
        9 => Edit::AddBlock {
            path: match (&place, random.below(3)) {
                (Place::Service(kind, of) | Place::Server(kind, of, _), _) => {
                    Place::Server(*kind, of.clone(), Which::named(name_of))
                }
                (Place::Global, 0) => Place::Service(ServiceKind::Failover, Which::named(name_of)),
                (Place::Global, _) => Place::Service(ServiceKind::Virtual, Which::named(name_of)),
            },
            directives: vec![Assignment {
                directive: "active".into(),
                value: "0".into(),
            }],
        },
        10 => Edit::RemoveBlock { path: place },
        _ => Edit::RenameBlock {
            path: place,
            name: name_of.into(),
        },
    }
}

fn any_place(document: &Document, random: &mut Random) -> Place {
    if document.services.is_empty() || random.below(4) == 0 {
        return Place::Global;
    }
    let service = &document.services[random.below(document.services.len())];
    let same = document
        .services
        .iter()
        .filter(|one| one.kind == service.kind && one.name.text == service.name.text);
    let spans: Vec<_> = same.map(|one| one.span).collect();
    let which = numbered(&service.name.text, &spans, service.span);
    let servers: Vec<_> = servers(service).collect();
    if servers.is_empty() || random.below(2) == 0 {
        return Place::Service(service.kind, which);
    }
    let server = servers[random.below(servers.len())];
    let same = servers
        .iter()
        .filter(|one| one.name.text == server.name.text);
    let spans: Vec<_> = same.map(|one| one.span).collect();
    let server = numbered(&server.name.text, &spans, server.span);
    Place::Server(service.kind, which, server)
}

fn numbered<T: PartialEq>(name: &str, all: &[T], this: T) -> Which {
    let nth = all.iter().position(|one| *one == this).map(|at| at + 1);
    Which {
        name: Some(name.to_owned()),
        nth: nth.filter(|_| all.len() > 1),
    }
}

fn servers(service: &Service) -> impl Iterator<Item = &config::document::Server> {
    service.items.iter().filter_map(|item| match item {
        Item::Server(server) => Some(server),
        Item::Directive(_) => None,
    })
}

fn services<'d>(
    document: &'d Document,
    kind: ServiceKind,
    which: &Which,
) -> impl Iterator<Item = &'d Service> {
    let all = document.services.iter().filter(move |one| one.kind == kind);
    let name = which.name.clone();
    let same = all.filter(move |one| name.as_ref().is_none_or(|name| *name == one.name.text));
    let (skip, take) = range(which);
    same.skip(skip).take(take)
}

fn range(which: &Which) -> (usize, usize) {
    which.nth.map_or((0, usize::MAX), |nth| (nth - 1, 1))
}

/// How many blocks are called so, whichever of them is meant.
fn blocks(document: &Document, place: &Place) -> usize {
    let all = |which: &Which| Which {
        nth: None,
        ..which.clone()
    };
    match place {
        Place::Global => 0,
        Place::Service(kind, which) => services(document, *kind, &all(which)).count(),
        Place::Server(kind, of, which) => {
            let service = services(document, *kind, of).next().unwrap();
            servers(service)
                .filter(|one| which.name.as_ref() == Some(&one.name.text))
                .count()
        }
    }
}

/// What a directive says, each time with its words.
fn said(document: &Document, place: &Place, name: &str) -> Vec<Vec<String>> {
    fn words<K>(directive: &Directive<K>, name: &str) -> Option<Vec<String>> {
        let arguments = directive.arguments.iter();
        let words = arguments.map(|word| word.text.clone()).collect();
        (directive.entry.name == name).then_some(words)
    }
    match place {
        Place::Global => {
            let globals = document.globals.iter();
            globals.filter_map(|one| words(one, name)).collect()
        }
        Place::Service(kind, which) => {
            let service = services(document, *kind, which).next().unwrap();
            let items = service.items.iter().filter_map(|item| match item {
                Item::Directive(directive) => words(directive, name),
                Item::Server(_) => None,
            });
            items.collect()
        }
        Place::Server(kind, of, which) => {
            let service = services(document, *kind, of).next().unwrap();
            let (skip, _) = range(which);
            let mut same = servers(service).filter(|one| {
                which
                    .name
                    .as_ref()
                    .is_none_or(|name| *name == one.name.text)
            });
            let server = same.nth(skip).unwrap();
            let directives = server.directives.iter();
            directives.filter_map(|one| words(one, name)).collect()
        }
    }
}

/// The lines that are only in one of two texts, with their ends.
fn difference(before: &[u8], after: &[u8]) -> (Vec<Vec<u8>>, Vec<Vec<u8>>) {
    let (old, new) = (lines(before), lines(after));
    let (mut gone, mut came) = (Vec::new(), Vec::new());
    for op in capture_diff_slices(Algorithm::Myers, &old, &new) {
        if !matches!(op, DiffOp::Equal { .. }) {
            gone.extend(old[op.old_range()].iter().map(|line| line.to_vec()));
            came.extend(new[op.new_range()].iter().map(|line| line.to_vec()));
        }
    }
    (gone, came)
}

fn lines(bytes: &[u8]) -> Vec<&[u8]> {
    let is_end =
        |at: usize| bytes[at] == b'\n' || (bytes[at] == b'\r' && bytes.get(at + 1) != Some(&b'\n'));
    let mut lines = Vec::new();
    let mut start = 0;
    for at in (0..bytes.len()).filter(|at| is_end(*at)) {
        lines.push(&bytes[start..=at]);
        start = at + 1;
    }
    if start < bytes.len() {
        lines.push(&bytes[start..]);
    }
    lines
}

/// Canonical text means the same, has the same comments, and is canonical.
#[test]
fn canonical_text() {
    let mut seeds = seeds(&NEAT.replace("    unknown = 3\n", ""));
    seeds.retain(|bytes| {
        config::parse_with("lvs.cf", bytes, &mut Fixed)
            .site
            .is_some()
    });
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut formatted = 0;
    for round in 0..2000 {
        let mut bytes = seeds[round % seeds.len()].clone();
        if round >= seeds.len() {
            match round % 4 {
                0 => mutate(&mut bytes, &mut random),
                _ => decorate(&mut bytes, &mut random),
            }
        }
        let before = config::parse_with("lvs.cf", &bytes, &mut Fixed);
        let result = format_with("lvs.cf", &bytes, &mut Fixed);
        let why = String::from_utf8_lossy(&bytes);
        let Ok(text) = result else {
            assert!(before.site.is_none(), "{why}");
            continue;
        };
        formatted += 1;
        let after = config::parse_with("lvs.cf", &text, &mut Fixed);
        assert_eq!(after.site, before.site, "{why}");
        assert_eq!(
            json!(after.settings(&mut Fixed)),
            json!(before.settings(&mut Fixed)),
            "{why}"
        );
        let again = format_with("lvs.cf", &text, &mut Fixed).unwrap();
        assert_eq!(
            String::from_utf8_lossy(&again),
            String::from_utf8_lossy(&text),
            "{why}"
        );
        let comments = |bytes: &[u8]| bytes.iter().filter(|byte| **byte == b'#').count();
        assert_eq!(comments(&text), comments(&bytes), "{why}");
    }
    assert!(formatted > 400, "{formatted}");
}

/// Blanks, comments and line ends between words, which are no errors mostly.
fn decorate(bytes: &mut Vec<u8>, random: &mut Random) {
    let pieces: &[&[u8]] = &[
        b"  ",
        b"\t",
        b" # c",
        b"\n\n",
        b"\n# c\n",
        b"\r\n",
        b"\n \t# \xe4\n",
        b"\nkeepalive=3 #d\n",
    ];
    for _ in 0..=random.below(4) {
        let places = [b' ', b'\n', b'='];
        let is_place = |at: &usize| places.contains(&bytes[*at]);
        let between: Vec<_> = (0..bytes.len()).filter(is_place).collect();
        if between.is_empty() {
            return;
        }
        let at = between[random.below(between.len())];
        bytes.splice(at..at, pieces[random.below(pieces.len())].iter().copied());
    }
}

fn mutate(bytes: &mut Vec<u8>, random: &mut Random) {
    let pieces: &[&[u8]] = &[
        b"{",
        b"}",
        b"\"",
        b"'",
        b"=",
        b" = ",
        b"\n",
        b"\r",
        b"\r\n",
        b"#",
        b" # c\n",
        b"\\",
        b"\xff",
        "ä".as_bytes(),
        b"\0",
        b"0",
        b"99999999999999999999",
        b"[",
        b"]",
        b"server s {\n",
        b"virtual v {\n",
        b"\t",
        b"}\n",
        b"match = \"esp 10.0.0.1\"\n",
    ];
    for _ in 0..=random.below(4) {
        let at = random.below(bytes.len() + 1);
        let end = (at + random.below(9)).min(bytes.len());
        let piece = pieces[random.below(pieces.len())].iter().copied();
        match random.below(3) {
            0 => drop(bytes.drain(at..end)),
            1 => drop(bytes.splice(at..at, piece)),
            _ => drop(bytes.splice(at..end, piece)),
        }
    }
}

fn parse(bytes: &[u8]) -> Document {
    config::parse_with("lvs.cf", bytes, &mut Fixed).document
}

/// Every name is known, and none is asked for.
struct Fixed;

impl Names for Fixed {
    fn host(&mut self, name: &str) -> Option<IpAddr> {
        (name == "localhost").then(|| [127, 0, 0, 1].into())
    }

    fn service(&mut self, name: &str) -> Option<u16> {
        (name == "http").then_some(80)
    }
}

/// Marsaglia's xorshift.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % limit.max(1) as u64).unwrap()
    }
}
