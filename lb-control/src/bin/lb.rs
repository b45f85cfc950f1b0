//! `lb`: the one program of lvs-xdp.
#![forbid(unsafe_code)]

use std::{
    io::{self, Write},
    process::ExitCode,
};

use clap::Parser;
use lb_control::cli::{Command, ipvsadm, output};

fn main() -> ExitCode {
    let done = ipvsadm::by_name(std::env::args_os()).unwrap_or_else(|| Command::parse().run());
    match done {
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
