//! `ipvsadm-save` and `ipvsadm-restore`, which are shell scripts where ipvsadm is.

use std::io;

use super::{Complaint, Line, Stop, Wish, World, conclude, restore, run};

/// By which name the program was called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    /// `ipvsadm`
    Ipvsadm,
    /// `ipvsadm-save`
    Save,
    /// `ipvsadm-restore`
    Restore,
}

impl Program {
    /// By the last part of what a program was called by.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "ipvsadm" => Some(Self::Ipvsadm),
            "ipvsadm-save" => Some(Self::Save),
            "ipvsadm-restore" => Some(Self::Restore),
            _ => None,
        }
    }

    /// Carries out a command line; `name` is what messages call the program. The exit status.
    ///
    /// # Errors
    /// If standard output or standard error cannot be written.
    pub fn run(self, name: &str, words: &[String], world: &mut World<'_>) -> io::Result<u8> {
        match self {
            Self::Ipvsadm => run(name, words, world),
            Self::Save => save(name, words, world),
            Self::Restore => {
                // The table is replaced in one go. What the script is called with does not matter.
                let clear = Line {
                    number: 0,
                    wish: Wish::Clear,
                };
                let done = restore(name, vec![clear], world);
                conclude(done, world)
            }
        }
    }
}

/// `-n` is for addresses instead of names; other words do not matter, other options are explained.
fn save(name: &str, words: &[String], world: &mut World<'_>) -> io::Result<u8> {
    let other = words
        .iter()
        .find(|word| word.starts_with('-') && *word != "-n");
    if other.is_some() {
        let text = format!(
            "{name}: Script to save the IPVS table to stdout.\n   With the -n option, prints out the table in numeric format."
        );
        let complaint = Complaint { text, status: 1 };
        return conclude(Err(Stop::Complaint(complaint)), world);
    }
    let mut line = vec!["-S".to_owned()];
    line.extend(words.iter().find(|word| *word == "-n").cloned());
    run(name, &line, world)
}
