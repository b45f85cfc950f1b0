//! Any bytes become a value or diagnostics, by both parsers: real files with pieces changed, at random but
//! the same each time.
#![allow(clippy::unwrap_used, reason = "the helpers of tests are tests")]

use std::{fs, net::IpAddr, path::Path};

use lb_control::config::{self, Colour, Format, Verdict, names::Names, piranha};

const GOLDEN: &str = include_str!("data/lvs-cf-probes.jsonl");
const WEB_TOOL: &str = include_str!("data/web-tool.cf");

/// What takes the place of other text, or is put in between.
const PIECES: &[&[u8]] = &[
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
    b"\\",
    b"\xff",
    b"\xc3",
    "ä".as_bytes(),
    "\u{feff}".as_bytes(),
    b"\0",
    b"0",
    b"-1",
    b"99999999999999999999",
    b"/",
    b"::",
    b"0.0.0.0",
    b"10.0.0.9 eth0:1",
    b"[",
    b"]",
    b"\nserver s {\n",
    b"\nvirtual v {\n",
    b"\t",
    b" ",
    b"(",
    b"*",
    b"%h",
    b"500ms",
    b"mh_secret",
    b"\nfwmark = 1\nmatch = \"tcp 10.0.0.9:1-65535\"\n",
    b"\nsend = \"QUIT\" \n",
    b"\nactive = 1\n",
    b"\nport = 0-65535\n",
];

/// Some seconds; `LB_MUTATIONS=N` for more.
const ROUNDS: usize = 20_000;

#[test]
fn nothing_panics() {
    let rounds = std::env::var("LB_MUTATIONS").map_or(ROUNDS, |rounds| rounds.parse().unwrap());
    let threads = 4;
    std::thread::scope(|scope| {
        for thread in 0..threads {
            scope.spawn(move || mutate(thread, rounds / threads));
        }
    });
}

/// What a fuzzer begins with: `UPDATE_CORPUS=1` writes it to where it looks for it.
#[test]
fn what_a_fuzzer_begins_with() {
    let seeds = seeds();
    assert!(seeds.len() > 100, "{}", seeds.len());
    if std::env::var_os("UPDATE_CORPUS").is_none() {
        return;
    }
    for target in ["lvs_cf", "lvs_cf_strict"] {
        let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz");
        let folder = fuzz.join("corpus").join(target);
        fs::create_dir_all(&folder).unwrap();
        for (number, seed) in seeds.iter().enumerate() {
            fs::write(folder.join(format!("seed-{number}")), seed).unwrap();
        }
    }
}

fn seeds() -> Vec<Vec<u8>> {
    let mut seeds: Vec<Vec<u8>> = GOLDEN
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
        .map(|probe| probe["input"].as_str().unwrap().as_bytes().to_vec())
        .collect();
    seeds.push(WEB_TOOL.as_bytes().to_vec());
    seeds
}

fn mutate(thread: usize, rounds: usize) {
    let seeds = seeds();
    let mut random = Random(0x1234_5678_9abc_def1 + thread as u64);
    for round in 0..rounds {
        let mut bytes = random.of(&seeds).clone();
        for _ in 0..=random.below(6) {
            let at = random.below(bytes.len() + 1);
            let end = (at + random.below(9)).min(bytes.len());
            let piece = random.of(PIECES).iter().copied();
            match random.below(3) {
                0 => drop(bytes.drain(at..end)),
                1 => drop(bytes.splice(at..at, piece)),
                _ => drop(bytes.splice(at..end, piece)),
            }
        }
        look(&bytes, round);
    }
}

/// Both parsers, and now and then what they say.
fn look(bytes: &[u8], round: usize) {
    let said = config::parse_with("lvs.cf", bytes, &mut NoNames);
    assert!(
        said.site.is_some() || !said.diagnostics.is_empty(),
        "refused without a word: {bytes:?}"
    );
    let answer = piranha::parse(bytes, &mut NoNames);
    // Text is the dear part, and is made of few pieces.
    if !round.is_multiple_of(32) {
        return;
    }
    for diagnostic in &said.diagnostics {
        let text = config::render(diagnostic, &said.document.source, Colour::Always);
        assert!(!text.is_empty(), "{bytes:?}");
    }
    let strict = |format| {
        let mut out = Vec::new();
        let verdict = config::check_strict_with("lvs.cf", bytes, format, &mut NoNames, &mut out);
        (verdict.unwrap(), out)
    };
    let (verdict, json) = strict(Format::Json);
    let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
    assert_eq!(json["ok"], answer.is_loaded(), "{bytes:?}");
    assert_eq!(
        answer.is_loaded(),
        verdict == Verdict::Loadable,
        "{bytes:?}"
    );
    let (in_words, text) = strict(Format::Text(Colour::Never));
    // In words CR and LF are a fault too, though Piranha loaded the file.
    assert!(
        answer.is_loaded() || in_words == Verdict::Refused,
        "{bytes:?}: {}",
        String::from_utf8_lossy(&text)
    );
}

struct NoNames;

impl Names for NoNames {
    fn host(&mut self, _: &str) -> Option<IpAddr> {
        None
    }

    fn service(&mut self, _: &str) -> Option<u16> {
        None
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

    fn of<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        &list[self.below(list.len())]
    }
}
