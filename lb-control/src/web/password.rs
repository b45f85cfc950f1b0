//! The password file: a line `USER:ROLE:HASH` for each user, the hash an argon2id string (PHC).
//!
//! `lb web passwd` writes it, the web tool reads it again whenever it is another file.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Write as _},
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::{Context as _, anyhow, bail, ensure};
use argon2::{
    Argon2, PasswordHasher as _, PasswordVerifier as _, password_hash::phc::PasswordHash,
};
use nix::unistd::{Gid, Uid, chown};
use tempfile::NamedTempFile;

use super::{
    role::Role,
    token::{digest, random},
};

/// The name of the file in the folder of the web tool.
pub(crate) const FILE: &str = "passwd";

/// A password has at least so many characters (NIST SP 800-63B §3.1.1.2 asks for no other rule).
pub(crate) const SHORTEST: usize = 8;

/// And at most so many bytes.
pub(crate) const LONGEST: usize = 1_024;

/// No password file is longer, in bytes.
const LARGEST: u64 = 1 << 20;

/// A user of the web tool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct User {
    /// What the user may do.
    pub(super) role: Role,
    hash: String,
}

impl User {
    /// Whether this is the user's password. It takes some ten milliseconds and 19 MiB, so it is for a thread that
    /// may block.
    pub(super) fn has(&self, password: &str) -> bool {
        verify(&self.hash, password)
    }

    /// What stands for all that is said of the user.
    pub(super) fn digest(&self) -> [u8; 32] {
        digest(format!("{}:{}", self.role, self.hash).as_bytes())
    }
}

/// All users, by name.
pub(super) type Users = BTreeMap<String, User>;

/// Takes as long as to look at the password of a user, for one that there is not: whether there is such a user
/// cannot be told from the time of an answer.
pub(super) fn pretend(password: &str) {
    let _ = Argon2::default().hash_password_with_salt(password.as_bytes(), &[0; 16]);
}

fn verify(hash: &str, password: &str) -> bool {
    let Ok(hash) = PasswordHash::new(hash) else {
        return false;
    };
    Argon2::default()
        .verify_password(password.as_bytes(), &hash)
        .is_ok()
}

fn hash(password: &str) -> anyhow::Result<String> {
    let salt: [u8; 16] = random()?;
    let hash = Argon2::default()
        .hash_password_with_salt(password.as_bytes(), &salt)
        .map_err(|error| anyhow!("hashing the password: {error}"))?;
    Ok(hash.to_string())
}

/// What a user may be called: it is written to logs and headers as it is.
///
/// # Errors
/// Says what is wrong with it.
pub(crate) fn check_name(name: &str) -> anyhow::Result<()> {
    let is_allowed = |letter: char| letter.is_ascii_alphanumeric() || "._-@".contains(letter);
    ensure!(
        !name.is_empty() && name.len() <= 32 && name.chars().all(is_allowed),
        "“{}” is no name for a user: 1 to 32 of the letters a-z, A-Z, 0-9, “.”, “_”, “-” and “@”",
        name.escape_debug()
    );
    Ok(())
}

/// Whether a password may be used.
///
/// # Errors
/// Says what is wrong with it.
pub(crate) fn check_password(password: &str) -> anyhow::Result<()> {
    ensure!(
        password.chars().count() >= SHORTEST,
        "a password has at least {SHORTEST} characters"
    );
    ensure!(
        password.len() <= LONGEST,
        "a password has at most {LONGEST} bytes"
    );
    Ok(())
}

fn read(text: &str) -> anyhow::Result<Users> {
    let lines = text.lines().zip(1..).filter(|(line, _)| {
        let line = line.trim();
        !line.is_empty() && !line.starts_with('#')
    });
    let users = lines.map(|(line, number)| {
        let entry = |line: &str| {
            let mut fields = line.trim().splitn(3, ':');
            let (Some(name), Some(role), Some(hash)) =
                (fields.next(), fields.next(), fields.next())
            else {
                bail!("a line is USER:ROLE:HASH");
            };
            check_name(name)?;
            let role = role.parse()?;
            ensure!(
                PasswordHash::new(hash).is_ok_and(|hash| hash.algorithm.as_str() == "argon2id"),
                "the password of {name} is no argon2id hash; set it by `lb web passwd {name}`"
            );
            let hash = hash.to_owned();
            Ok((name.to_owned(), User { role, hash }))
        };
        entry(line).with_context(|| format!("line {number}"))
    });
    users.collect()
}

fn write(users: &Users) -> String {
    let lines = users
        .iter()
        .map(|(name, User { role, hash })| format!("{name}:{role}:{hash}\n"));
    lines.collect()
}

/// A password file, read again whenever it is another one.
#[derive(Debug)]
pub(super) struct PasswordFile {
    path: PathBuf,
    last: Mutex<(Option<Mark>, Arc<Users>)>,
}

/// By what one sees that a file is another one: number, length, time of change.
type Mark = (u64, u64, i64, i64);

fn mark(path: &Path) -> io::Result<Mark> {
    let data = fs::metadata(path)?;
    Ok((data.ino(), data.len(), data.mtime(), data.mtime_nsec()))
}

impl PasswordFile {
    /// The one in this folder, which need not be there.
    pub(super) fn below(folder: &Path) -> Self {
        Self {
            path: folder.join(FILE),
            last: Mutex::default(),
        }
    }

    /// The users as the file says now; without a file there are none.
    ///
    /// # Errors
    /// If the file cannot be read or understood. Nobody is let in by what it said before.
    pub(super) fn users(&self) -> anyhow::Result<Arc<Users>> {
        let context = || format!("reading {}", self.path.display());
        let found = match mark(&self.path) {
            Ok(found) => found,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Arc::default()),
            Err(error) => return Err(error).with_context(context),
        };
        // Whoever panicked with it in hand left it whole.
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.0 == Some(found) {
            return Ok(Arc::clone(&last.1));
        }
        let users = Arc::new(load(&self.path).with_context(context)?);
        *last = (Some(found), Arc::clone(&users));
        Ok(users)
    }
}

fn load(path: &Path) -> anyhow::Result<Users> {
    let length = fs::metadata(path)?.len();
    ensure!(length <= LARGEST, "it has more than {LARGEST} bytes");
    read(&fs::read_to_string(path)?)
}

/// What `lb web passwd` changes.
#[derive(Debug, Clone)]
pub(crate) enum Change {
    /// The user has this password, and this role if one is said; a new user is a viewer.
    Set(String, Option<Role>),
    /// There is no such user any more.
    Remove,
}

/// Changes what the password file in a folder says of a user. The file belongs to whom the folder belongs to.
///
/// # Errors
/// If the name or the password cannot be, there is no such user, or the file cannot be read or written.
pub(crate) fn change(folder: &Path, name: &str, change: Change) -> anyhow::Result<()> {
    check_name(name)?;
    let path = folder.join(FILE);
    let mut users = match path.exists() {
        true => load(&path).with_context(|| format!("reading {}", path.display()))?,
        false => Users::new(),
    };
    match change {
        Change::Set(password, role) => {
            check_password(&password)?;
            let before = users.get(name).map(|user| user.role);
            let role = role.or(before).unwrap_or(Role::Viewer);
            let hash = hash(&password)?;
            users.insert(name.to_owned(), User { role, hash });
        }
        Change::Remove => {
            ensure!(
                users.remove(name).is_some(),
                "{} has no user {name}",
                path.display()
            );
        }
    }
    replace(folder, &path, &write(&users)).with_context(|| format!("writing {}", path.display()))
}

/// Puts a file in the place of the old one, whole or not at all. Only the owner of the folder can read it.
pub(super) fn replace(folder: &Path, path: &Path, text: &str) -> io::Result<()> {
    let mut file = NamedTempFile::new_in(folder)?;
    file.as_file()
        .set_permissions(fs::Permissions::from_mode(0o600))?;
    file.write_all(text.as_bytes())?;
    let owner = fs::metadata(folder)?;
    if Uid::effective().is_root() && owner.uid() != 0 {
        let (uid, gid) = (Uid::from_raw(owner.uid()), Gid::from_raw(owner.gid()));
        chown(file.path(), Some(uid), Some(gid))?;
    }
    file.as_file().sync_all()?;
    file.persist(path)?;
    fs::File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_set_kept_and_removed() {
        let folder = tempfile::tempdir().unwrap();
        let file = PasswordFile::below(folder.path());
        let set = |name: &str, password: &str, role| {
            change(folder.path(), name, Change::Set(password.to_owned(), role))
        };
        assert!(file.users().unwrap().is_empty(), "there is no default user");
        set("ada", "correct horse", Some(Role::Admin)).unwrap();
        set("bob", "battery staple", None).unwrap();
        let mode = fs::metadata(folder.path().join(FILE)).unwrap().mode();
        assert_eq!(mode & 0o777, 0o600);

        let users = file.users().unwrap();
        assert_eq!(
            (users["ada"].role, users["bob"].role),
            (Role::Admin, Role::Viewer)
        );
        assert!(users["ada"].has("correct horse"));
        assert!(!users["ada"].has("battery staple") && !users["ada"].has(""));

        let before = users["ada"].digest();
        set("ada", "another horse", None).unwrap();
        let users = file.users().unwrap();
        assert_eq!(users["ada"].role, Role::Admin, "the role stays");
        assert_ne!(users["ada"].digest(), before);
        assert!(users["ada"].has("another horse"));

        change(folder.path(), "ada", Change::Remove).unwrap();
        assert!(!file.users().unwrap().contains_key("ada"));
        let refused = change(folder.path(), "ada", Change::Remove).unwrap_err();
        assert!(refused.to_string().ends_with("has no user ada"));
        let text = fs::read_to_string(folder.path().join(FILE)).unwrap();
        assert!(text.starts_with("bob:viewer:$argon2id$v=19$m=19456,t=2,p=1$"));
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let table = [
            ("", "long enough", "is no name"),
            ("a:b", "long enough", "is no name"),
            ("a b", "long enough", "is no name"),
            ("a\nroot:admin:x", "long enough", "is no name"),
            ("<script>", "long enough", "is no name"),
            (&*"a".repeat(33), "long enough", "is no name"),
            ("ada", "short", "at least 8 characters"),
            ("ada", &"x".repeat(LONGEST + 1), "at most 1024 bytes"),
        ];
        for (name, password, why) in table {
            let set = Change::Set(password.to_owned(), None);
            let refused = change(folder.path(), name, set).unwrap_err().to_string();
            assert!(refused.contains(why), "{name:?}: {refused}");
        }
        assert!(!folder.path().join(FILE).exists());
    }

    #[test]
    fn a_file_that_is_not_understood_lets_nobody_in() {
        let folder = tempfile::tempdir().unwrap();
        let file = PasswordFile::below(folder.path());
        let table = [
            ("ada", "line 1: a line is USER:ROLE:HASH"),
            ("# us\n\nada:root:x", "line 3: “root” is no role"),
            (
                "ada:admin:secret",
                "line 1: the password of ada is no argon2id hash",
            ),
            (
                "ada:admin:$2y$05$x",
                "line 1: the password of ada is no argon2id hash",
            ),
        ];
        for (text, why) in table {
            fs::write(folder.path().join(FILE), text).unwrap();
            let refused = format!("{:#}", file.users().unwrap_err());
            assert!(refused.contains(why), "{text}: {refused}");
        }
    }
}
