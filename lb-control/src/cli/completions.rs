//! `lb completions`.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use clap::{Args, CommandFactory, ValueEnum};
use clap_complete::shells;

#[derive(Debug, Args)]
#[command(
    after_help = "bash:  lb completions bash > /etc/bash_completion.d/lb\n\
                        zsh:   lb completions zsh > /usr/local/share/zsh/site-functions/_lb\n\
                        fish:  lb completions fish > /etc/fish/completions/lb.fish"
)]
pub(super) struct Completions {
    /// The shell.
    shell: Shell,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Shell {
    /// The usual one.
    Bash,
    /// The Z shell.
    Zsh,
    /// The friendly interactive shell.
    Fish,
}

impl Completions {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        io::stdout().lock().write_all(&self.shell.script())?;
        Ok(ExitCode::SUCCESS)
    }
}

impl Shell {
    fn script(self) -> Vec<u8> {
        let mut command = super::Command::command();
        let mut script = Vec::new();
        match self {
            Self::Bash => clap_complete::generate(shells::Bash, &mut command, "lb", &mut script),
            Self::Zsh => clap_complete::generate(shells::Zsh, &mut command, "lb", &mut script),
            Self::Fish => clap_complete::generate(shells::Fish, &mut command, "lb", &mut script),
        }
        script
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn shells_take_their_scripts() {
        for (shell, program) in [
            (Shell::Bash, "bash"),
            (Shell::Zsh, "zsh"),
            (Shell::Fish, "fish"),
        ] {
            let script = shell.script();
            let text = String::from_utf8(script).unwrap();
            for word in ["status", "drain", "deadline"] {
                assert!(text.contains(word), "{program}: {word}");
            }
            let file = tempfile::NamedTempFile::new().unwrap();
            std::fs::write(file.path(), &text).unwrap();
            // A shell that is not here cannot be asked.
            if let Ok(status) = Command::new(program).arg("-n").arg(file.path()).status() {
                assert!(status.success(), "{program}");
            }
        }
    }
}
