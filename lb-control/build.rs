//! Puts the BPF objects where `dataplane/kernel.rs` and `dataplane/log.rs` embed them from. `cargo xtask`
//! builds them and says where the first is by `LB_BPF_OBJECT`; the one with the decision log lies beside
//! it.

use std::{env, fs, io, path::PathBuf};

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-env-changed=LB_BPF_OBJECT");
    let object = env::var_os("LB_BPF_OBJECT").map(PathBuf::from);
    let log = object
        .as_ref()
        .map(|path| path.with_file_name("balancer-log.o"))
        // Whoever names another object may have no second one; `lb log on` says so.
        .filter(|path| path.exists());
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or(io::ErrorKind::NotFound)?);
    for (name, path) in [("balancer.o", object), ("balancer-log.o", log)] {
        let bytes = match path {
            Some(path) => {
                println!("cargo::rerun-if-changed={}", path.display());
                fs::read(path)?
            }
            // Enough for an editor, a linter and the tests that need no kernel; `lb run` says so.
            None => Vec::new(),
        };
        fs::write(out.join(name), bytes)?;
    }
    Ok(())
}
