//! What a developer types: build, run, test.
//!
//! Everything that is needed is found or installed by [`bpf::Builder::provide`] (compiler and
//! linker for BPF) and [`packages::Packages::provide`] (Debian packages). The rest calls cargo.
#![forbid(unsafe_code)]

mod base;
mod bench;
mod bpf;
mod cache;
mod command;
mod fuzz;
mod lab;
mod linker;
mod lint;
mod object;
mod packages;
mod privilege;
mod product;
mod report;
mod run;
mod rustc;
mod test;
mod toolchain;
mod vm;
mod workspace;

use std::{ffi::OsString, io::Write as _, path::PathBuf, process::ExitCode};

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::{
    bpf::Builder,
    cache::Cache,
    lab::LabOptions,
    packages::{Package, Packages},
    privilege::Privilege,
    product::Profile,
    report::Report,
    workspace::Workspace,
};

/// Build, run and test lvs-xdp. What is needed for that is installed, or you are told what to type.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Build the BPF object and lb
    Build {
        /// As it is used, not for debugging
        #[arg(long)]
        release: bool,
    },
    /// Build the BPF objects only
    Bpf,
    /// Run the lab; with arguments after --, build and run `lb run ARGS` on this machine
    Run {
        #[command(flatten)]
        options: LabOptions,
        /// Arguments of `lb run`
        #[arg(last = true, value_name = "ARGS", conflicts_with_all = ["once", "method", "pair"])]
        lb: Vec<OsString>,
    },
    /// Run every test that this machine can run; says what it skipped and why
    Test {
        /// Only these
        only: Option<test::Only>,
        /// Further arguments of `cargo test`
        #[arg(last = true)]
        arguments: Vec<OsString>,
    },
    /// Measure what the data plane costs: `bench help` tells what there is
    #[command(disable_help_flag = true)]
    Bench {
        /// What to measure, and how
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// Run a command as root on Debian's own kernel, in an emulated machine
    Vm {
        #[command(flatten)]
        options: vm::Options,
        #[command(subcommand)]
        job: Option<vm::Job>,
        /// A line for the shell, or a program and its arguments
        #[arg(last = true, value_name = "COMMAND")]
        command: Vec<OsString>,
    },
    /// Run the fuzz targets, each for a while, from what is saved in fuzz/corpus
    Fuzz(fuzz::Options),
    /// Check format and clippy
    Lint,
    /// Lint, test, and check the dependencies
    Ci,
    /// Install what build and tests need
    Tools {
        /// Only print the commands that would do it
        #[arg(long)]
        print: bool,
    },
    /// The lab, as root, with an lb that is built
    #[command(hide = true)]
    Lab {
        #[arg(long)]
        lb: PathBuf,
        #[command(flatten)]
        options: LabOptions,
    },
}

fn main() -> ExitCode {
    match perform(Arguments::parse().task) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            command::tell(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn perform(task: Task) -> Result<()> {
    let workspace = Workspace::find()?;
    let packages = Packages::new(Privilege::find());
    match task {
        Task::Build { release } => {
            let object = Builder::provide(&packages)?.build(&workspace)?;
            let profile = if release {
                Profile::Release
            } else {
                Profile::Debug
            };
            show(
                &product::build(&workspace, &object, profile)?
                    .display()
                    .to_string(),
            )
        }
        Task::Bpf => {
            let builder = Builder::provide(&packages)?;
            builder.build_driver(&workspace)?;
            show(&builder.build(&workspace)?.display().to_string())
        }
        Task::Run {
            options,
            lb: arguments,
        } => {
            let object = Builder::provide(&packages)?.build(&workspace)?;
            let lb = product::build(&workspace, &object, Profile::Release)?;
            if arguments.is_empty() {
                return run::lab(&lb, options, &packages);
            }
            run::lb(&lb, &arguments)
        }
        Task::Test { only, arguments } => {
            let mut report = Report::default();
            let builder = Builder::provide(&packages)?;
            test::run(
                &workspace,
                &packages,
                &builder,
                only,
                &arguments,
                &mut report,
            )?;
            report.finish()
        }
        Task::Bench { arguments } => bench::run(&workspace, &packages, &arguments),
        Task::Vm {
            options,
            job: Some(job),
            command: _,
        } => job.run(options, &workspace, &packages),
        Task::Vm {
            options,
            job: None,
            command,
        } => vm::run(options, &command, &packages),
        Task::Fuzz(options) => fuzz::run(&options, &workspace, &packages),
        Task::Lint => {
            let mut report = Report::default();
            lint::sources(&workspace, &Builder::provide(&packages)?, &mut report)?;
            report.finish()
        }
        Task::Ci => {
            let mut report = Report::default();
            let builder = Builder::provide(&packages)?;
            lint::sources(&workspace, &builder, &mut report)?;
            test::run(&workspace, &packages, &builder, None, &[], &mut report)?;
            lint::dependencies(&workspace, &mut report);
            report.finish()
        }
        Task::Tools { print: false } => {
            let builder = Builder::provide(&packages)?;
            packages.provide(&test::PACKAGES)?;
            packages.provide(&test::browser())?;
            packages.provide(&vm::PACKAGES)?;
            show(&builder.describe())
        }
        Task::Tools { print: true } => show(&tools()?),
        Task::Lab { lb, options } => lab::lab_run(&lb, options),
    }
}

/// What a person types to have all that build and tests need.
fn tools() -> Result<String> {
    let typed = |wanted: &[Package]| {
        let names: Vec<&str> = wanted.iter().map(|package| package.name).collect();
        packages::typed(&names)
    };
    Ok(format!(
        "The compiler for BPF, one of:\n{}\nIts linker:\n{}\nWhat lab and tests call:\n    {}\n\
         The browser that looks at the web tool:\n    {}\n\
         What the emulated machine needs:\n    {}",
        toolchain::typed(),
        linker::typed(&Cache::find()?),
        typed(&test::PACKAGES),
        typed(&test::BROWSER),
        typed(&vm::PACKAGES),
    ))
}

fn show(line: &str) -> Result<()> {
    Ok(writeln!(std::io::stdout(), "{line}")?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn run_takes_options_of_the_lab_or_arguments_of_lb() {
        let table: [(&[&str], bool); 6] = [
            (&["run"], true),
            (&["run", "--once", "--method", "tunnel", "--pair"], true),
            (
                &["run", "--", "--config", "lvs.cf", "--interface", "eth0"],
                true,
            ),
            (&["run", "--once", "--", "--config", "lvs.cf"], false),
            (&["run", "--config", "lvs.cf"], false),
            (&["run", "--method", "masq"], false),
        ];
        for (words, is_right) in table {
            let arguments = Arguments::try_parse_from([&["xtask"], words].concat());
            assert_eq!(arguments.is_ok(), is_right, "{words:?}");
        }
    }
}
