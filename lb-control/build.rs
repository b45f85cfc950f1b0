//! Puts the BPF object where `dataplane/kernel.rs` embeds it from. `cargo xtask` builds it and says
//! where it is by `LB_BPF_OBJECT`.

use std::{env, fs, path::PathBuf};

fn main() {
    println!("cargo::rerun-if-env-changed=LB_BPF_OBJECT");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR")).join("balancer.o");
    let object = match env::var_os("LB_BPF_OBJECT") {
        Some(path) => {
            println!("cargo::rerun-if-changed={}", path.display());
            fs::read(&path).unwrap_or_else(|error| panic!("reading {}: {error}", path.display()))
        }
        // Enough for an editor, a linter and the tests that need no kernel; `lb run` says so.
        None => Vec::new(),
    };
    fs::write(&out, object).unwrap_or_else(|error| panic!("writing {}: {error}", out.display()));
}
