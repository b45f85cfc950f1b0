//! Puts the BPF object where `dataplane/kernel.rs` embeds it from. `cargo xtask` builds it and says
//! where it is by `LB_BPF_OBJECT`.

use std::{env, fs, io, path::PathBuf};

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-env-changed=LB_BPF_OBJECT");
    let object = match env::var_os("LB_BPF_OBJECT") {
        Some(path) => {
            println!("cargo::rerun-if-changed={}", path.display());
            fs::read(path)?
        }
        // Enough for an editor, a linter and the tests that need no kernel; `lb run` says so.
        None => Vec::new(),
    };
    let out = env::var_os("OUT_DIR").ok_or(io::ErrorKind::NotFound)?;
    fs::write(PathBuf::from(out).join("balancer.o"), object)
}
