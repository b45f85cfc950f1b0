//! What needs no test to be found: format, clippy, and what the dependencies bring along.

use anyhow::Result;

use crate::{
    bpf::{self, Builder},
    cache::{Cache, Tool},
    command,
    report::Report,
    workspace::Workspace,
};

/// The checker of dependencies.
const DENY: Tool = Tool {
    name: "cargo-deny",
    version: "0.20.2",
    variant: "",
    arguments: &[],
};

/// Format and clippy, for the host and for BPF.
pub(crate) fn sources(workspace: &Workspace, builder: &Builder, report: &mut Report) -> Result<()> {
    if has("fmt") {
        report.step("format", || {
            command::run(command::cargo().args(["fmt", "--all", "--check"]))
        });
    } else {
        report.skip("format", "type: rustup component add rustfmt");
    }
    if has("clippy") {
        let object = builder.build(workspace)?;
        let mut clippy = command::cargo();
        clippy
            .current_dir(&workspace.root)
            .args([
                "clippy",
                "--quiet",
                "--workspace",
                "--all-targets",
                "--target-dir",
            ])
            .arg(&workspace.target)
            .env(bpf::OBJECT, object)
            .args(["--", "-Dwarnings"]);
        report.step("clippy", || command::run(&mut clippy));
    } else {
        report.skip("clippy", "type: rustup component add clippy");
    }
    match builder.clippy(workspace) {
        Some(mut clippy) => report.step("clippy for BPF", || command::run(&mut clippy)),
        None => report.skip("clippy for BPF", &builder.without_clippy()),
    }
    Ok(())
}

/// Licences, origins and versions of the dependencies; known holes if the list can be fetched.
pub(crate) fn dependencies(workspace: &Workspace, report: &mut Report) {
    let deny = match Cache::find().and_then(|cache| cache.provide(&DENY, &[])) {
        Ok(program) => program,
        Err(error) => return report.skip("cargo deny", &format!("{error:#}")),
    };
    let command = |arguments: &[&str]| {
        let mut deny = std::process::Command::new(&deny);
        deny.current_dir(&workspace.root).args(arguments);
        deny
    };
    report.step("cargo deny", || {
        command::run(&mut command(&["check", "bans", "licenses", "sources"]))
    });
    match command::answer(&mut command(&["fetch", "db"])) {
        Some(_) => report.step("cargo deny, advisories", || {
            command::run(&mut command(&["check", "--disable-fetch", "advisories"]))
        }),
        None => report.skip("cargo deny, advisories", "the list cannot be fetched"),
    }
}

fn has(subcommand: &str) -> bool {
    command::answer(command::cargo().args([subcommand, "--version"])).is_some()
}
