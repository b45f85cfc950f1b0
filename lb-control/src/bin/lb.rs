//! `lb`: the one program of lvs-xdp.

fn main() {}
