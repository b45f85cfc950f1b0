//! The XDP program of lvs-xdp: a thin shell round `lb-common`.
//!
//! [`program`] holds the entry points, `packet` the only packet pointers, `maps` the only map
//! pointers. It is built by `cargo xtask`; for any other target it is an empty program, so that
//! editors and `cargo check --workspace` can work on it.
#![cfg_attr(target_arch = "bpf", no_std, no_main)]
#![cfg_attr(target_arch = "bpf", feature(core_intrinsics, asm_experimental_arch))]
#![cfg_attr(
    target_arch = "bpf",
    expect(
        internal_features,
        reason = "`core::sync::atomic` has no exchanging operation for BPF"
    )
)]

#[cfg(target_arch = "bpf")]
mod kernel;
#[cfg(all(target_arch = "bpf", feature = "log"))]
mod log;
#[cfg(target_arch = "bpf")]
mod maps;
#[cfg(target_arch = "bpf")]
mod packet;
#[cfg(target_arch = "bpf")]
mod program;

#[cfg(not(target_arch = "bpf"))]
fn main() {}
