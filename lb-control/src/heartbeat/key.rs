//! The keys that heartbeats are signed with.

use std::{
    fmt,
    fs::File,
    io::{self, Read as _},
    os::unix::fs::PermissionsExt as _,
    path::Path,
};

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use zeroize::Zeroizing;

/// How many bytes a secret has at least.
pub const SHORTEST: usize = 16;

/// How long a signature is, in bytes.
pub const SIGNATURE: usize = 32;

/// A key: a number that messages carry, and a secret that nobody prints.
#[derive(Clone, PartialEq, Eq)]
pub struct Key {
    /// Its number, 1 to 255.
    pub id: u8,
    secret: Zeroizing<Vec<u8>>,
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key {} (not shown)", self.id)
    }
}

/// A text is no key. What it is instead is not repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoKey {
    /// There is no number in front.
    #[error("a key is its number, 1 to 255, a colon and its bytes in hexadecimal")]
    Number,
    /// The rest is not hexadecimal.
    #[error("the bytes of a key are hexadecimal digits, two for each")]
    Digits,
    /// It could be guessed.
    #[error("a key has at least {SHORTEST} bytes; `openssl rand -hex 32` makes one")]
    Short,
}

impl Key {
    /// `ID:HEX`.
    ///
    /// # Errors
    /// If it is none.
    pub fn parse(text: &str) -> Result<Self, NoKey> {
        let (id, digits) = text.trim().split_once(':').ok_or(NoKey::Number)?;
        let id = id.parse().ok().filter(|id| *id > 0).ok_or(NoKey::Number)?;
        let (pairs, rest) = digits.as_bytes().as_chunks::<2>();
        if !rest.is_empty() {
            return Err(NoKey::Digits);
        }
        let value = |digit: u8| {
            char::from(digit)
                .to_digit(16)
                .and_then(|it| u8::try_from(it).ok())
        };
        let bytes = pairs
            .iter()
            .map(|[high, low]| Some(value(*high)? << 4 | value(*low)?));
        let secret: Option<Zeroizing<Vec<u8>>> =
            bytes.collect::<Option<Vec<_>>>().map(Zeroizing::new);
        let secret = secret.ok_or(NoKey::Digits)?;
        match secret.len() >= SHORTEST {
            true => Ok(Self { id, secret }),
            false => Err(NoKey::Short),
        }
    }

    /// HMAC-SHA256 of a message.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> [u8; SIGNATURE] {
        self.mac(message)
            .map_or([0; SIGNATURE], |mac| mac.finalize().into_bytes().into())
    }

    /// Whether a message was signed with this key. It takes the same time whatever the signature is.
    #[must_use]
    pub fn has_signed(&self, message: &[u8], signature: &[u8]) -> bool {
        self.mac(message)
            .is_some_and(|mac| mac.verify_slice(signature).is_ok())
    }

    fn mac(&self, message: &[u8]) -> Option<Hmac<Sha256>> {
        // HMAC takes keys of any length.
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.secret).ok()?;
        mac.update(message);
        Some(mac)
    }
}

/// The keys of a file, a line each; blank lines and those that begin with `#` are none. The first one signs.
///
/// # Errors
/// If it cannot be read, others than its owner may read it, or a line is no key. The line is not repeated.
pub fn read(path: &Path) -> Result<Vec<Key>, String> {
    let name = path.display();
    let told = |error: io::Error| format!("{name}: {error}");
    let mut file = File::open(path).map_err(told)?;
    let mode = file.metadata().map_err(told)?.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(format!(
            "{name}: others than its owner may read or write it: chmod 600 {name}"
        ));
    }
    let mut text = Zeroizing::new(String::new());
    file.by_ref()
        .take(1 << 16)
        .read_to_string(&mut text)
        .map_err(told)?;
    let lines = text.lines().enumerate();
    let lines = lines.filter(|(_, line)| !line.trim().is_empty() && !line.trim().starts_with('#'));
    let keys = lines.map(|(number, line)| {
        Key::parse(line).map_err(|error| format!("{name}:{}: {error}", number + 1))
    });
    let keys = keys.collect::<Result<Vec<_>, _>>()?;
    match keys.is_empty() {
        true => Err(format!("{name}: there is no key in it")),
        false => Ok(keys),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};

    use super::*;

    #[test]
    fn keys_are_read_and_never_shown() {
        let table = [
            ("1:000102030405060708090a0b0c0d0e0f", None),
            (" 255:000102030405060708090A0B0C0D0E0F ", None),
            ("000102030405060708090a0b0c0d0e0f", Some(NoKey::Number)),
            ("0:000102030405060708090a0b0c0d0e0f", Some(NoKey::Number)),
            ("256:000102030405060708090a0b0c0d0e0f", Some(NoKey::Number)),
            ("1:000102030405060708090a0b0c0d0e0", Some(NoKey::Digits)),
            ("1:000102030405060708090a0b0c0d0e0g", Some(NoKey::Digits)),
            ("1:00010203", Some(NoKey::Short)),
        ];
        for (text, error) in table {
            assert_eq!(Key::parse(text).err(), error, "{text}");
        }
        let key = Key::parse("7:ffffffffffffffffffffffffffffffff").unwrap();
        assert_eq!(format!("{key:?}"), "Key 7 (not shown)");
    }

    #[test]
    fn a_file_of_keys_is_for_its_owner_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("keys");
        let one = "1:000102030405060708090a0b0c0d0e0f";
        fs::write(
            &path,
            format!("# ours\n\n{one}\n2:ffffffffffffffffffffffffffffffff\n"),
        )
        .unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        let ids: Vec<_> = read(&path).unwrap().iter().map(|key| key.id).collect();
        assert_eq!(ids, [1, 2]);
        fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        assert!(read(&path).unwrap_err().contains("chmod 600"));
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        fs::write(&path, format!("{one}\nsecret but wrong\n")).unwrap();
        let error = read(&path).unwrap_err();
        assert!(
            error.contains("keys:2: ") && !error.contains("wrong"),
            "{error}"
        );
    }
}
