//! The layout of a BPF object's maps, as its BTF tells it: whether the control plane of this checkout can
//! fill those of another object.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, bail};
use aya_obj::Object;

/// The maps that the control plane or a measurement reads or writes. What others hold is the data plane's
/// own affair.
const SHARED: [&str; 17] = [
    "addresses",
    "events",
    "interfaces",
    "loads",
    "persistence",
    "queued",
    "reasons",
    "ring",
    "servers",
    "service_ranges",
    "services",
    "settings",
    "sieve",
    "thresholds",
    "traffic",
    "turns",
    "vlans",
];

/// Sees to it that what is shared has the same layout in both objects.
pub(crate) fn check(ours: &[u8], theirs: &[u8]) -> Result<()> {
    let (ours, theirs) = (layouts(ours)?, layouts(theirs)?);
    let different: Vec<_> = SHARED
        .into_iter()
        .filter(|name| ours.get(*name) != theirs.get(*name))
        .collect();
    if !different.is_empty() {
        bail!(
            "the other object cannot be compared: the control plane of this one cannot fill its tables. Of \
             another layout, or missing in one of them: {}",
            different.join(", ")
        );
    }
    Ok(())
}

/// What each map holds, by name: key and value down to the names and places of fields.
fn layouts(object: &[u8]) -> Result<BTreeMap<String, String>> {
    let object = Object::parse(object).context("this is no BPF object")?;
    let btf = object.btf.context("the object has no BTF")?.to_bytes();
    Btf::read(&btf).context("the object's BTF is not as it should be")
}

/// The types of an object, as it is in the section `.BTF` (Documentation/bpf/btf.rst of Linux).
struct Btf<'a> {
    types: Vec<Type>,
    strings: &'a [u8],
}

/// A type.
struct Type {
    name: u32,
    kind: u32,
    /// Bytes, or the number of the type that this one refers to.
    size_or_type: u32,
    /// What follows the common part, in words.
    rest: Vec<u32>,
}

/// Kinds of types that mean something here.
const PTR: u32 = 2;
const ARRAY: u32 = 3;
const STRUCT: u32 = 4;
const UNION: u32 = 5;
const VAR: u32 = 14;
const DATASEC: u32 = 15;

impl<'a> Btf<'a> {
    fn read(bytes: &'a [u8]) -> Option<BTreeMap<String, String>> {
        let header: Vec<u32> = words(bytes.get(..24)?);
        // Magic, version and flags; length of the header; place and length of types, and of strings.
        let &[
            _,
            length,
            types_at,
            types_length,
            strings_at,
            strings_length,
        ] = header.as_slice()
        else {
            return None;
        };
        let section = |at: u32, size: u32| {
            let from = length.checked_add(at)? as usize;
            bytes.get(from..from.checked_add(size as usize)?)
        };
        let btf = Btf {
            types: types(&words(section(types_at, types_length)?))?,
            strings: section(strings_at, strings_length)?,
        };
        btf.maps()
    }

    /// The maps: what the section `.maps` has in it.
    fn maps(&self) -> Option<BTreeMap<String, String>> {
        let mut maps = BTreeMap::new();
        let sections = self.types.iter().filter(|one| one.kind == DATASEC);
        for section in sections.filter(|one| self.name(one.name) == ".maps") {
            for entry in section.rest.chunks_exact(3) {
                let variable = self.get(*entry.first()?)?;
                let definition = self.get(variable.size_or_type)?;
                let mut layout = String::new();
                for member in definition.rest.chunks_exact(3) {
                    let &[name, target, _] = member else {
                        continue;
                    };
                    let name = self.name(name);
                    if ["type", "key", "value"].contains(&name.as_str()) {
                        let target = self.get(target)?;
                        layout += &format!("{name}: {} ", self.describe(target.size_or_type)?);
                    }
                }
                maps.insert(self.name(variable.name), layout);
            }
        }
        Some(maps)
    }

    /// A type with all that is in it.
    fn describe(&self, number: u32) -> Option<String> {
        let one = self.get(number)?;
        let name = self.name(one.name);
        Some(match one.kind {
            PTR => "a pointer".to_owned(),
            ARRAY => {
                let &[element, _, count] = one.rest.as_slice() else {
                    return None;
                };
                format!("[{}; {count}]", self.describe(element)?)
            }
            STRUCT | UNION => {
                let mut text = format!("{name} of {} {{", one.size_or_type);
                for member in one.rest.chunks_exact(3) {
                    let &[field, target, place] = member else {
                        continue;
                    };
                    let (field, target) = (self.name(field), self.describe(target)?);
                    text += &format!("{field} at {place}: {target}, ");
                }
                text + "}"
            }
            _ => format!("{name} {} {:?}", one.size_or_type, one.rest),
        })
    }

    /// Types are counted from 1 on.
    fn get(&self, number: u32) -> Option<&Type> {
        self.types.get(number.checked_sub(1)? as usize)
    }

    fn name(&self, at: u32) -> String {
        let text = self.strings.get(at as usize..).unwrap_or_default();
        let end = text.iter().position(|byte| *byte == 0).unwrap_or(0);
        String::from_utf8_lossy(text.get(..end).unwrap_or_default()).into_owned()
    }
}

fn types(mut words: &[u32]) -> Option<Vec<Type>> {
    let mut types = Vec::new();
    while let [name, info, size_or_type, after @ ..] = words {
        let (kind, count) = (info >> 24 & 0x1f, (info & 0xffff) as usize);
        let length = match kind {
            // Integers, variables and tags of declarations have a word more.
            1 | VAR | 17 => 1,
            ARRAY => 3,
            STRUCT | UNION | DATASEC => count * 3,
            // Enumerations and prototypes; enumerations of 64 bits.
            6 | 13 => count * 2,
            19 => count * 3,
            _ => 0,
        };
        types.push(Type {
            name: *name,
            kind,
            size_or_type: *size_or_type,
            rest: after.get(..length)?.to_vec(),
        });
        words = after.get(length..)?;
    }
    Some(types)
}

/// An object has the byte order of the machine that it is for.
fn words(bytes: &[u8]) -> Vec<u32> {
    bytes
        .chunks_exact(4)
        .map(|word| u32::from_ne_bytes([word[0], word[1], word[2], word[3]]))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The BTF of one map `m` of kind 1, from a u32 to a struct of two fields that are there.
    fn btf(fields: [(&str, u32); 2]) -> Vec<u8> {
        let mut strings = vec![0];
        let mut name = |text: &str| {
            let at = strings.len() as u32;
            strings.extend_from_slice(text.as_bytes());
            strings.push(0);
            at
        };
        let kind = |kind: u32, count: u32| kind << 24 | count;
        let [(first, first_at), (second, second_at)] = fields;
        let types = [
            // 1: u32, 2: the value, 3 and 4: pointers to them, 5: an array of one u32, 6: a pointer to it.
            vec![name("u32"), kind(1, 0), 4, 32],
            vec![
                name("Value"),
                kind(STRUCT, 2),
                8,
                name(first),
                1,
                first_at,
                name(second),
                1,
                second_at,
            ],
            vec![0, kind(PTR, 0), 1],
            vec![0, kind(PTR, 0), 2],
            vec![0, kind(ARRAY, 0), 0, 1, 1, 1],
            vec![0, kind(PTR, 0), 5],
            // 7: the definition, 8: the map, 9: the section.
            vec![
                name("Map"),
                kind(STRUCT, 3),
                24,
                name("type"),
                6,
                0,
                name("key"),
                3,
                64,
                name("value"),
                4,
                128,
            ],
            vec![name("m"), kind(VAR, 0), 7, 1],
            vec![name(".maps"), kind(DATASEC, 1), 0, 8, 0, 24],
        ]
        .concat();
        let (types_length, strings_length) = (types.len() as u32 * 4, strings.len() as u32);
        let mut bytes = Vec::new();
        let header = [0x1_eb9f, 24, 0, types_length, types_length, strings_length];
        for word in header.iter().chain(&types) {
            bytes.extend_from_slice(&word.to_ne_bytes());
        }
        bytes.extend_from_slice(&strings);
        bytes
    }

    #[test]
    fn a_layout_is_what_key_and_value_have_where() {
        let before = [("one", 0), ("two", 32)];
        let found = Btf::read(&btf(before)).unwrap();
        assert_eq!(found.len(), 1);
        assert!(found["m"].contains("two at 32"), "{found:?}");
        // Fields that are there; whether that is the same layout.
        let table = [
            (before, true),
            ([("two", 0), ("one", 32)], false),
            ([("one", 0), ("other", 32)], false),
            ([("one", 32), ("two", 0)], false),
        ];
        for (fields, same) in table {
            assert_eq!(
                Btf::read(&btf(fields)).unwrap() == found,
                same,
                "{fields:?}"
            );
        }
    }

    #[test]
    fn what_ends_too_early_is_refused() {
        let whole = btf([("one", 0), ("two", 32)]);
        for length in 0..whole.len() {
            assert!(Btf::read(&whole[..length]).is_none(), "{length}");
        }
    }
}
