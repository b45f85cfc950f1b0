//! A compiler that is not ours to choose: whether it will do.

use std::path::Path;

use anyhow::{Result, bail};

/// The newest LLVM whose bitcode the pinned bpf-linker reads.
const NEWEST_LLVM: u32 = 22;
/// The oldest compiler that takes our sources.
const OLDEST_RUST: (u32, u32) = (1, 90);

/// What `rustc -vV` says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Rustc {
    release: String,
    version: (u32, u32),
    llvm: u32,
}

impl Rustc {
    /// Reads the answer to `rustc -vV`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let field = |name: &str| {
            text.lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
        };
        let release = field("release")?;
        let mut numbers = release.split('.').map_while(|number| number.parse().ok());
        let version = (numbers.next()?, numbers.next()?);
        let llvm = field("LLVM version")?.split('.').next()?.parse().ok()?;
        Some(Self {
            release: release.to_owned(),
            version,
            llvm,
        })
    }

    /// Whether it builds our program with these sources, for our linker.
    pub(crate) fn fits(&self, sources: &Path) -> Result<()> {
        let name = sources.file_name().unwrap_or_default().to_string_lossy();
        let Self {
            release,
            version,
            llvm,
        } = self;
        if name != format!("rustc-{release}") {
            bail!("rustc is {release}, but the sources are those of {name}");
        }
        if *version < OLDEST_RUST {
            bail!(
                "rustc is {release}, too old (Debian 12 has a newer rustc-web in its \
                 security updates)"
            );
        }
        if *llvm > NEWEST_LLVM {
            bail!("rustc has LLVM {llvm}; bpf-linker reads up to LLVM {NEWEST_LLVM}");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER: &str = "rustc 1.96.0 (ac68faa20 2026-05-25) (built from a source tarball)\n\
        binary: rustc\nhost: x86_64-unknown-linux-gnu\nrelease: 1.96.0\nLLVM version: 22.1.8\n";

    #[test]
    fn the_compiler_is_read_from_its_version() {
        let rustc = Rustc::parse(ANSWER).unwrap();
        let expected = Rustc {
            release: "1.96.0".into(),
            version: (1, 96),
            llvm: 22,
        };
        assert_eq!(rustc, expected);
        assert_eq!(Rustc::parse("rustc 1.96.0\n"), None);
        assert_eq!(Rustc::parse(""), None);
    }

    #[test]
    fn a_compiler_must_fit_sources_workspace_and_linker() {
        let rustc = |release: &str, version, llvm| Rustc {
            release: release.into(),
            version,
            llvm,
        };
        let sources = Path::new("/usr/src/rustc-1.96.0");
        assert!(rustc("1.96.0", (1, 96), 22).fits(sources).is_ok());
        assert!(rustc("1.96.1", (1, 96), 22).fits(sources).is_err());
        assert!(rustc("1.96.0", (1, 96), 23).fits(sources).is_err());
        assert!(
            rustc("1.85.0", (1, 85), 19)
                .fits(Path::new("/usr/src/rustc-1.85.0"))
                .is_err()
        );
    }
}
