//! Debian packages: which are missing, and their installation.
//!
//! What is looked for is the file that we need of a package, not the package: who has nginx from
//! `nginx-full`, or another distribution, has nginx.

use std::{
    cell::Cell,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, anyhow, bail};

use crate::{command, privilege::Privilege};

/// A package, and the file of it that is needed: an absolute path, or the name of a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Package {
    /// Its name in Debian.
    pub(crate) name: &'static str,
    /// The program or file that it is wanted for.
    pub(crate) file: &'static str,
}

impl Package {
    /// A package by name and by the file that is needed of it.
    pub(crate) const fn new(name: &'static str, file: &'static str) -> Self {
        Self { name, file }
    }

    fn is_missing(&self) -> bool {
        match Path::new(self.file).is_absolute() {
            true => !Path::new(self.file).exists(),
            false => command::program(self.file).is_none(),
        }
    }
}

/// Of these packages, those whose files are not there.
pub(crate) fn missing(wanted: &[Package]) -> Vec<&'static str> {
    wanted
        .iter()
        .filter(|package| package.is_missing())
        .map(|package| package.name)
        .collect()
}

/// What a person types to install packages.
pub(crate) fn typed(names: &[&str]) -> String {
    format!(
        "sudo apt-get update && sudo apt-get install --no-install-recommends {}",
        names.join(" ")
    )
}

/// The package manager of this machine.
pub(crate) struct Packages {
    privilege: Privilege,
    apt: Option<PathBuf>,
    updated: Cell<bool>,
}

impl Packages {
    /// What there is to install packages with.
    pub(crate) fn new(privilege: Privilege) -> Self {
        Self {
            privilege,
            apt: command::program("apt-get"),
            updated: Cell::new(false),
        }
    }

    /// Sees to it that these packages are there. Costs a few file look-ups if they are.
    pub(crate) fn provide(&self, wanted: &[Package]) -> Result<()> {
        let names = missing(wanted);
        if names.is_empty() {
            return Ok(());
        }
        self.install(&names)
            .map_err(|error| anyhow!("{error:#}. Type:\n    {}", typed(&names)))?;
        let still = missing(wanted);
        if !still.is_empty() {
            bail!(
                "apt-get installed {} but their files are not there",
                still.join(", ")
            );
        }
        Ok(())
    }

    /// Installs packages, or brings them up to date.
    pub(crate) fn install(&self, names: &[&str]) -> Result<()> {
        if self.apt.is_none() {
            bail!(
                "the packages {} (names of Debian) are needed, and there is no apt-get",
                names.join(", ")
            );
        }
        let Some(mut shell) = self.privilege.command("sh") else {
            bail!(
                "the packages {} are needed, and {}",
                names.join(", "),
                Privilege::REFUSED
            );
        };
        command::tell(&format!("installing the packages {}", names.join(" ")));
        let lists = if self.updated.replace(true) {
            "keep-lists"
        } else {
            "update-lists"
        };
        let status = shell
            .args(["-c", INSTALL, "sh", lists])
            .args(names)
            .status()
            .context("cannot start a shell")?;
        if !status.success() {
            bail!("apt-get ended with {status}");
        }
        Ok(())
    }
}

/// Installs `$2…`, after an update of the lists if `$1` says so.
///
/// A service that comes with a package (nginx) must neither start now nor at the next boot: Debian's
/// way to say so is a `policy-rc.d` that answers 101 while dpkg runs. One that was there before us
/// is the machine owner's and stays; one that a kill made us leave behind is known by its comment.
const INSTALL: &str = r#"
set -eu
export DEBIAN_FRONTEND=noninteractive
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ] || grep -qs 'written by lvs-xdp' "$policy"; then
    trap 'rm -f "$policy"' EXIT
    trap 'exit 130' HUP INT TERM
    printf '#!/bin/sh\n# written by lvs-xdp while it installs packages\nexit 101\n' > "$policy"
    chmod 755 "$policy"
fi
if [ "$1" = update-lists ]; then
    apt-get -q update || echo "apt-get update failed: trying with the lists that are here" >&2
fi
shift
new=
[ -e /etc/init.d/nginx ] || new=nginx
apt-get -qy -o DPkg::Lock::Timeout=300 install --no-install-recommends --no-remove "$@"
for service in $new; do
    if [ -e "/etc/init.d/$service" ]; then
        update-rc.d "$service" disable
    fi
done
"#;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_is_there_if_its_file_is() {
        let wanted = [
            Package::new("dash", "sh"),
            Package::new("base-files", "/etc"),
            Package::new("no-such-program", "lvs-xdp-no-such-program"),
            Package::new("no-such-file", "/no/such/file"),
        ];
        assert_eq!(missing(&wanted), ["no-such-program", "no-such-file"]);
    }

    #[test]
    fn what_to_type_names_every_package() {
        let line = typed(&["curl", "tcpdump"]);
        assert!(
            line.ends_with("install --no-install-recommends curl tcpdump"),
            "{line}"
        );
    }

    #[test]
    fn who_may_not_install_is_told_what_to_type() {
        let packages = Packages {
            privilege: Privilege::None,
            apt: Some("apt-get".into()),
            updated: Cell::new(false),
        };
        let error = packages
            .provide(&[Package::new("curl", "/no/such/curl")])
            .unwrap_err();
        let text = format!("{error:#}");
        assert!(
            text.contains("apt-get install --no-install-recommends curl"),
            "{text}"
        );
        assert!(text.contains("not root"), "{text}");
    }
}
