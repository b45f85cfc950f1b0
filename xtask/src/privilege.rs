//! Who we are: root, somebody who may become root through sudo, or neither.

use std::{ffi::OsStr, fs, io::IsTerminal as _, os::unix::fs::MetadataExt as _, process::Command};

use crate::command;

/// What lets us act as root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Privilege {
    /// We are root.
    Root,
    /// sudo lets us, or will ask for the password on this terminal.
    Sudo,
    /// Nothing does.
    None,
}

/// What is known of sudo here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sudo {
    Missing,
    AsksForPassword,
    Willing,
}

impl Privilege {
    /// Looks at this process and at sudo.
    pub(crate) fn find() -> Self {
        if is_root() {
            return Self::Root;
        }
        let sudo = match command::program("sudo") {
            None => Sudo::Missing,
            Some(sudo) => match command::answer(Command::new(sudo).args(["-n", "true"])) {
                Some(_) => Sudo::Willing,
                None => Sudo::AsksForPassword,
            },
        };
        Self::of_user(sudo, std::io::stdin().is_terminal())
    }

    fn of_user(sudo: Sudo, can_be_asked: bool) -> Self {
        match (sudo, can_be_asked) {
            (Sudo::Willing, _) | (Sudo::AsksForPassword, true) => Self::Sudo,
            (Sudo::AsksForPassword, false) | (Sudo::Missing, _) => Self::None,
        }
    }

    /// The command that runs `program` as root, if we may.
    pub(crate) fn command(self, program: impl AsRef<OsStr>) -> Option<Command> {
        match self {
            Self::Root => Some(Command::new(program)),
            Self::Sudo => {
                let mut sudo = Command::new("sudo");
                sudo.arg(program);
                Some(sudo)
            }
            Self::None => None,
        }
    }

    /// Why there is no way to act as root.
    pub(crate) const REFUSED: &str =
        "this user is not root, and sudo is missing or wants a password that cannot be asked for";
}

/// Whether we have root's identity. `/proc/self` belongs to the effective user.
fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sudo_counts_if_it_needs_no_password_or_can_ask_for_it() {
        let table = [
            (Sudo::Missing, true, Privilege::None),
            (Sudo::Missing, false, Privilege::None),
            (Sudo::AsksForPassword, true, Privilege::Sudo),
            (Sudo::AsksForPassword, false, Privilege::None),
            (Sudo::Willing, true, Privilege::Sudo),
            (Sudo::Willing, false, Privilege::Sudo),
        ];
        for (sudo, can_be_asked, expected) in table {
            assert_eq!(Privilege::of_user(sudo, can_be_asked), expected, "{sudo:?}");
        }
    }
}
