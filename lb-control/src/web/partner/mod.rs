//! lvs.cf pushed to the web tool of the partner, which writes it there.
//!
//! Both tools have the same key (`lb web key`). Certificates need not be known: whoever answers proves with the key that
//! the certificate of this very connection is its own, so nobody in between sees the file.
//!
//! ```text
//! GET  /partner/challenge?nonce=N   →   C, HMAC(key, "server", N, C, F)
//!      lb-partner-proof: HMAC(key, "ask", N, F)
//! POST /partner/config              →   what became of it
//!      lb-partner-challenge: C
//!      lb-partner-digest: D             SHA-256 of the body
//!      lb-partner-proof: HMAC(key, "client", C, F, D)
//! ```
//!
//! F is the SHA-256 of the certificate, as the one who pushes saw it in the handshake, as the other knows it. A challenge
//! is given to those who have the key only, so a partner with another key is known, and written down, on both sides. It
//! is good once and for half a minute. Nothing of a body is read before its proof is right.
//!
//! `proof` is the words and their signatures, without socket or clock, `challenges` who has asked, `push` the way to the
//! partner.

mod challenges;
mod proof;
mod push;

use std::{
    collections::BTreeMap,
    fmt,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    str::FromStr,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context as _, ensure};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

pub(super) use self::{
    challenges::Challenges,
    proof::{
        Digest, Fingerprint, Nonce, asking_proof, asks, client_proof, is_of_client, server_proof,
    },
    push::{Given, NotPushed, push},
};
use super::{
    PORT,
    password::replace,
    token::{hexadecimal, random},
};
use crate::{
    config::{store, text::Text},
    heartbeat::key::{self, Key},
};

/// The name of the file with the key in the folder of the web tool.
const FILE: &str = "partner.key";

/// The headers of a push.
pub(super) const CHALLENGE: &str = "lb-partner-challenge";
pub(super) const DIGEST: &str = "lb-partner-digest";
pub(super) const PROOF: &str = "lb-partner-proof";

/// Where partners ask for a challenge, and where they push.
pub(super) const CHALLENGE_PATH: &str = "/partner/challenge";
pub(super) const CONFIG_PATH: &str = "/partner/config";

/// What this tool knows of its partner, and partners of it.
#[derive(Debug)]
pub(super) struct Partner {
    key: PathBuf,
    /// Of the certificate that clients of this tool see; none if it has none of its own.
    pub(super) fingerprint: Option<Fingerprint>,
    /// Where the partner is, if that was said.
    pub(super) address: Option<Address>,
    pub(super) challenges: Challenges,
    /// Whether this process may open a connection to it.
    pub(super) is_open: bool,
    /// When each was written down last.
    complained: Mutex<BTreeMap<Complaint, Instant>>,
}

/// What is wrong with somebody who pushes, and is written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Complaint {
    /// He has no key, or another one. Anybody may come like that.
    Stranger,
    /// What he proves was proven before, or is of something else: he has heard a partner.
    Echo,
}

/// Anybody may send something wrong; it is written down so seldom that nothing else is pushed out of the audit log.
const COMPLAIN_EVERY: Duration = Duration::from_secs(60);

impl Partner {
    pub(super) fn new(
        folder: &Path,
        fingerprint: Option<Fingerprint>,
        address: Option<Address>,
    ) -> anyhow::Result<Self> {
        Ok(Self {
            key: folder.join(FILE),
            fingerprint,
            address,
            challenges: Challenges::new(random()?),
            is_open: true,
            complained: Mutex::default(),
        })
    }

    /// Whether this is to be written down now.
    pub(super) fn complains(&self, what: Complaint, now: Instant) -> bool {
        // Whoever panicked with it in hand left it whole.
        let mut complained = self
            .complained
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let last = complained.get(&what);
        let is_due = last.is_none_or(|last| now.duration_since(*last) >= COMPLAIN_EVERY);
        if is_due {
            complained.insert(what, now);
        }
        is_due
    }

    /// Whether there is a file of keys.
    pub(super) fn has_key(&self) -> bool {
        self.key.exists()
    }

    /// The keys; none if there is no file of them. The first one signs.
    pub(super) fn keys(&self) -> Result<Vec<Key>, String> {
        match self.has_key() {
            true => key::read(&self.key),
            false => Ok(Vec::new()),
        }
    }
}

/// Makes a key in a folder. Where it is.
///
/// # Errors
/// If there is one, and it is not to be replaced, or it cannot be written.
pub(crate) fn make_key(folder: &Path, anew: bool) -> anyhow::Result<PathBuf> {
    let path = folder.join(FILE);
    ensure!(
        anew || !path.exists(),
        "there is a key in {} already; --new replaces it, on both directors then",
        path.display()
    );
    let secret: [u8; 32] = random()?;
    let text = format!("1:{}\n", hexadecimal(&secret));
    replace(folder, &path, &text).with_context(|| format!("writing {}", path.display()))?;
    Ok(path)
}

/// Where the web tool of the partner is: `https://192.0.2.3:3636`. An address, for names are not looked up here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Address(pub(crate) SocketAddr);

impl From<IpAddr> for Address {
    fn from(address: IpAddr) -> Self {
        Self(SocketAddr::new(address, PORT))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "https://{}", self.0)
    }
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let address = text
            .strip_prefix("https://")
            .map(|rest| rest.trim_end_matches('/'));
        let address = address.and_then(|rest| {
            let bare = rest.trim_start_matches('[').trim_end_matches(']');
            let with_port = rest.parse().ok();
            with_port.or_else(|| Some(SocketAddr::new(bare.parse().ok()?, PORT)))
        });
        let wrong = || format!("`{text}` is no https://ADDRESS or https://ADDRESS:PORT");
        address.map(Self).ok_or_else(wrong)
    }
}

/// What is pushed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Pushed {
    /// What lvs.cf is to say.
    #[serde(flatten)]
    pub(super) text: Text,
    /// The versions that it was made of, one out of the other: the partner's file has to be one of them.
    pub(super) ancestors: Vec<store::Fingerprint>,
    /// Whatever the partner's file says is to be replaced.
    pub(super) overwrite: bool,
    /// Who wants it.
    pub(super) user: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_written() {
        let table = [
            ("https://192.0.2.3", Some("https://192.0.2.3:3636")),
            ("https://192.0.2.3:8443/", Some("https://192.0.2.3:8443")),
            ("https://[2001:db8::3]", Some("https://[2001:db8::3]:3636")),
            ("https://[2001:db8::3]:1", Some("https://[2001:db8::3]:1")),
            ("http://192.0.2.3", None),
            ("192.0.2.3", None),
            ("https://lb2", None),
            ("https://192.0.2.3/x", None),
        ];
        for (text, expected) in table {
            let found: Result<Address, _> = text.parse();
            let found = found.ok().map(|it| it.to_string());
            assert_eq!(found.as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn a_key_is_made_once() {
        let folder = tempfile::tempdir().unwrap();
        let partner = Partner::new(folder.path(), None, None).unwrap();
        assert_eq!(partner.keys().unwrap(), []);
        make_key(folder.path(), false).unwrap();
        let first = partner.keys().unwrap();
        assert_eq!(first.len(), 1);
        assert!(make_key(folder.path(), false).is_err());
        make_key(folder.path(), true).unwrap();
        assert_ne!(partner.keys().unwrap(), first);
    }
}
