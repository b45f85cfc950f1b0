//! Who wants a change: for the log and for the journal.

use axum::{
    extract::{ConnectInfo, FromRequestParts},
    http::request::Parts,
};

use serde::Deserialize;
use utoipa::IntoParams;

use super::{ON_BEHALF_OF, routes::Failure, server::Peer};

/// For the description only: for whom somebody asks.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Header)]
pub(super) struct Behalf {
    /// For whom this is asked, for the log and the events: `ada from 192.0.2.7`. At most 128 characters are taken.
    #[serde(rename = "lb-on-behalf-of")]
    #[param(value_type = String, required = false)]
    _name: Option<String>,
}

/// No name of somebody for whom another asks is longer, in characters.
const LONGEST: usize = 128;

/// Who asks, and for whom: `uid 990 pid 12 (piranha) for ada from 192.0.2.7`.
pub(super) struct Who(pub(super) String);

impl<S: Send + Sync> FromRequestParts<S> for Who {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Failure> {
        let peer = parts.extensions.get::<ConnectInfo<Peer>>();
        let peer = peer.map_or("somebody", |ConnectInfo(Peer(peer))| peer);
        let name = parts.headers.get(ON_BEHALF_OF);
        let name = name.map(|name| cleaned(name.as_bytes()));
        Ok(Self(match name.filter(|name| !name.is_empty()) {
            Some(name) => format!("{peer} for {name}"),
            None => peer.to_owned(),
        }))
    }
}

/// A name fit for one line of a log: short, and without anything that a terminal obeys.
fn cleaned(name: &[u8]) -> String {
    let name = String::from_utf8_lossy(name);
    let letters = name.trim().chars().take(LONGEST);
    letters
        .map(|letter| match letter.is_control() {
            true => '?',
            false => letter,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_short_and_harmless() {
        let long = "x".repeat(1_000);
        let table: [(&[u8], &str); 5] = [
            (b" ada from 192.0.2.7 ", "ada from 192.0.2.7"),
            (b"", ""),
            (b"ada\x1b[31m\tb", "ada?[31m?b"),
            (b"ad\xff", "ad\u{fffd}"),
            (long.as_bytes(), &long[..LONGEST]),
        ];
        for (name, expected) in table {
            assert_eq!(cleaned(name), expected);
        }
    }
}
