//! `lb`: the one program of lvs-xdp.
#![forbid(unsafe_code)]

use std::{
    io::{self, Write},
    process::ExitCode,
};

use clap::Parser;
use lb_control::cli::{Command, output};

fn main() -> ExitCode {
    match Command::parse().run() {
        Ok(code) => code,
        // Whoever reads us has seen enough: `lb status | head`.
        Err(error) if output::is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            // There is nobody left to tell if standard error is closed.
            let _ = writeln!(io::stderr(), "lb: {}", output::one_line(&error));
            ExitCode::FAILURE
        }
    }
}
