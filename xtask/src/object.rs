//! The BPF object as a file: the sections that loaders and bpftool look for.

use anyhow::{Context as _, Result, bail};

/// Where a 64-bit ELF header has the table of sections, the size of its entries, their number,
/// and the entry of the section with all names.
const TABLE: usize = 0x28;
const ENTRY_SIZE: usize = 0x3a;
const ENTRIES: usize = 0x3c;
const NAMES: usize = 0x3e;
/// Where an entry has its name's place among the names, and the section's place in the file.
const ENTRY_NAME: usize = 0x00;
const ENTRY_OFFSET: usize = 0x18;

/// The object must describe its maps and types in BTF, and only there: libbpf and bpftool refuse
/// the old section `maps`.
pub(crate) fn check(object: &[u8]) -> Result<()> {
    check_log(object)?;
    let sections = sections(object).context("this is not a BPF object")?;
    if sections.iter().any(|section| section == "maps") {
        bail!("the BPF object has maps without BTF; define them with #[btf_map]");
    }
    Ok(())
}

/// The object with the decision log must do so but for the ring of aya-log, which is in that section: only
/// aya loads it.
pub(crate) fn check_log(object: &[u8]) -> Result<()> {
    let sections = sections(object).context("this is not a BPF object")?;
    if !sections.iter().any(|section| section == ".BTF") {
        bail!(
            "the BPF object has no BTF: the compiler left out debug information, or the linker --btf"
        );
    }
    Ok(())
}

/// The names of an ELF file's sections, in their order.
fn sections(object: &[u8]) -> Option<Vec<String>> {
    let file = Elf::new(object)?;
    let names = file.word(file.entry(file.half(NAMES)?)? + ENTRY_OFFSET)?;
    (0..file.half(ENTRIES)?)
        .map(|index| {
            let name = names.checked_add(file.int(file.entry(index)? + ENTRY_NAME)?)?;
            let bytes = object.get(name..)?.split(|byte| *byte == 0).next()?;
            Some(String::from_utf8_lossy(bytes).into_owned())
        })
        .collect()
}

/// A 64-bit ELF file of either byte order.
struct Elf<'a> {
    bytes: &'a [u8],
    is_little: bool,
}

impl<'a> Elf<'a> {
    fn new(bytes: &'a [u8]) -> Option<Self> {
        match bytes.get(..6)? {
            b"\x7fELF\x02\x01" => Some(Self {
                bytes,
                is_little: true,
            }),
            b"\x7fELF\x02\x02" => Some(Self {
                bytes,
                is_little: false,
            }),
            _ => None,
        }
    }

    fn entry(&self, index: usize) -> Option<usize> {
        self.word(TABLE)?
            .checked_add(index * self.half(ENTRY_SIZE)?)
    }

    fn half(&self, at: usize) -> Option<usize> {
        self.number(at, 2)
    }

    fn int(&self, at: usize) -> Option<usize> {
        self.number(at, 4)
    }

    fn word(&self, at: usize) -> Option<usize> {
        self.number(at, 8)
    }

    fn number(&self, at: usize, length: usize) -> Option<usize> {
        let bytes = self.bytes.get(at..at.checked_add(length)?)?.iter();
        let join = |number: u64, byte: &u8| (number << 8) | u64::from(*byte);
        let number = if self.is_little {
            bytes.rev().fold(0, join)
        } else {
            bytes.fold(0, join)
        };
        usize::try_from(number).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An ELF file with nothing but a header, a table of sections, and their names.
    fn elf(names: &[&str], is_little: bool) -> Vec<u8> {
        let number = |value: usize, length: usize| {
            let bytes = (value as u64).to_be_bytes()[8 - length..].to_vec();
            if is_little {
                bytes.into_iter().rev().collect()
            } else {
                bytes
            }
        };
        let mut file = vec![0; 64];
        let put = |file: &mut Vec<u8>, at: usize, bytes: Vec<u8>| {
            file[at..at + bytes.len()].copy_from_slice(&bytes);
        };
        file[..6].copy_from_slice(if is_little {
            b"\x7fELF\x02\x01"
        } else {
            b"\x7fELF\x02\x02"
        });
        put(&mut file, TABLE, number(64, 8));
        put(&mut file, ENTRY_SIZE, number(64, 2));
        put(&mut file, ENTRIES, number(names.len(), 2));
        put(&mut file, NAMES, number(0, 2));
        file.resize(64 + 64 * names.len(), 0);
        let names_at = file.len();
        for (index, name) in names.iter().enumerate() {
            let at = file.len() - names_at;
            put(&mut file, 64 + 64 * index + ENTRY_NAME, number(at, 4));
            put(
                &mut file,
                64 + 64 * index + ENTRY_OFFSET,
                number(names_at, 8),
            );
            file.extend_from_slice(name.as_bytes());
            file.push(0);
        }
        file
    }

    #[test]
    fn sections_are_read_in_both_byte_orders() {
        for is_little in [true, false] {
            let file = elf(&[".strtab", ".BTF", "xdp"], is_little);
            assert_eq!(sections(&file).unwrap(), [".strtab", ".BTF", "xdp"]);
        }
    }

    #[test]
    fn btf_is_wanted_and_old_maps_are_not() {
        assert!(check(&elf(&[".strtab", ".BTF", ".maps"], true)).is_ok());
        assert!(check(&elf(&[".strtab", ".maps"], true)).is_err());
        assert!(check(&elf(&[".strtab", ".BTF", "maps"], true)).is_err());
        assert!(check_log(&elf(&[".strtab", ".BTF", "maps"], true)).is_ok());
        assert!(check_log(&elf(&[".strtab", "maps"], true)).is_err());
    }

    #[test]
    fn any_bytes_are_an_object_or_an_error() {
        let file = elf(&[".strtab", ".BTF"], true);
        for length in 0..file.len() - ".strtab\0.BTF\0".len() {
            assert!(check(&file[..length]).is_err(), "{length}");
        }
        assert!(check(&[0xff; 200]).is_err());
    }
}
