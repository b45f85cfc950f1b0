//! How the web tool gets rid of rights: it is another user than root, without capabilities, for good.

use std::{ffi::CString, fs, os::unix::fs::PermissionsExt as _, path::Path};

use anyhow::{Context as _, ensure};
use caps::{CapSet, Capability};
use nix::{
    sys::prctl::set_no_new_privs,
    unistd::{Uid, User, chown, initgroups, setgid, setuid},
};

/// Becomes this user for good, if this is root. The folder is made if there is none, and then belongs to the user.
///
/// # Errors
/// If there is no such user, or the kernel refuses something. Then nothing is to be served.
pub(super) fn drop_all(name: &str, folder: &Path) -> anyhow::Result<()> {
    let user = match Uid::effective().is_root() {
        true => Some(find(name)?),
        false => None,
    };
    make(folder, user.as_ref())?;
    if let Some(user) = user {
        // What a program that is executed later could get. None is, but it costs nothing.
        for capability in caps::all() {
            let _ = caps::drop(None, CapSet::Bounding, capability);
        }
        let becoming = || format!("becoming {name}");
        let called = CString::new(user.name.as_str()).with_context(becoming)?;
        initgroups(&called, user.gid).with_context(becoming)?;
        setgid(user.gid).with_context(becoming)?;
        setuid(user.uid).with_context(becoming)?;
        ensure!(
            setuid(Uid::from_raw(0)).is_err(),
            "{name} can become root again"
        );
    }
    set_no_new_privs().context("giving up new rights")?;
    for set in [
        CapSet::Ambient,
        CapSet::Inheritable,
        CapSet::Effective,
        CapSet::Permitted,
    ] {
        caps::clear(None, set).context("giving up capabilities")?;
    }
    let left = caps::has_cap(None, CapSet::Permitted, Capability::CAP_DAC_OVERRIDE);
    ensure!(matches!(left, Ok(false)), "capabilities are left");
    Ok(())
}

/// The user that the web tool is to be.
///
/// # Errors
/// If there is none, with what to do.
pub(crate) fn find(name: &str) -> anyhow::Result<User> {
    let user = User::from_name(name).with_context(|| format!("looking for the user {name}"))?;
    let user = user.with_context(|| {
        format!(
            "there is no user {name}, and the web tool does not run as root: `useradd --system --user-group \
             --home-dir /nonexistent --shell /usr/sbin/nologin {name}` makes one, or name another by --user"
        )
    })?;
    ensure!(
        !user.uid.is_root(),
        "the web tool does not run as root; name another user by --user"
    );
    Ok(user)
}

/// Makes the folder that only its owner may read.
pub(crate) fn make(folder: &Path, owner: Option<&User>) -> anyhow::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    let making = || format!("making {}", folder.display());
    fs::create_dir_all(folder).with_context(making)?;
    fs::set_permissions(folder, fs::Permissions::from_mode(0o700)).with_context(making)?;
    if let Some(owner) = owner {
        chown(folder, Some(owner.uid), Some(owner.gid)).with_context(making)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_user_it_is_said_what_to_do() {
        let refused = find("no-such-user").unwrap_err().to_string();
        assert!(refused.contains("useradd --system"), "{refused}");
        assert!(refused.ends_with("or name another by --user"), "{refused}");
        let refused = find("root").unwrap_err().to_string();
        assert!(refused.contains("does not run as root"), "{refused}");
    }
}
