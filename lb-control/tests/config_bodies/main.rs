//! Bodies about lvs.cf, whole and broken, as by `fuzz/fuzz_targets/config_bodies.rs` but the same each time.

mod body;

use std::{fs, io, path::Path};

/// What the fuzzer begins with.
fn seeds() -> io::Result<Vec<Vec<u8>>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/config_bodies");
    fs::read_dir(folder)?
        .map(|file| fs::read(file?.path()))
        .collect()
}

#[test]
fn what_clients_send_is_understood() -> io::Result<()> {
    let seeds = seeds()?;
    assert!(seeds.len() > 10);
    for seed in seeds {
        assert!(body::take(&seed), "{}", String::from_utf8_lossy(&seed));
    }
    Ok(())
}

/// Each seed without its end, without each of its bytes, and with another one there.
#[test]
fn what_is_broken_does_no_harm() -> io::Result<()> {
    for seed in seeds()? {
        for place in 0..seed.len() {
            body::take(&seed[..place]);
            let mut other = seed.clone();
            other.remove(place);
            body::take(&other);
            for byte in *b"\"\\{}#\n\0\xff" {
                other.clone_from(&seed);
                other[place] = byte;
                body::take(&other);
            }
        }
    }
    Ok(())
}
