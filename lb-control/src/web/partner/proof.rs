//! What partners prove to each other, and how it is signed. Each word is followed by a 0, which none of them has in it.

use sha2::{Digest as _, Sha256};

use super::super::token::hexadecimal;
use crate::heartbeat::key::Key;

/// What the one who asks has made up: 64 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::web) struct Nonce(String);

impl Nonce {
    /// Of these random bytes.
    pub(in crate::web) fn of(bytes: &[u8; 32]) -> Self {
        Self(hexadecimal(bytes))
    }

    /// The one that somebody sent.
    pub(in crate::web) fn read(text: &str) -> Option<Self> {
        is_hexadecimal(text, 64).then(|| Self(text.to_owned()))
    }

    pub(in crate::web) fn as_str(&self) -> &str {
        &self.0
    }
}

/// What a certificate comes down to: SHA-256, 64 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::web) struct Fingerprint(String);

impl Fingerprint {
    /// Of a certificate in DER.
    pub(in crate::web) fn of(certificate: &[u8]) -> Self {
        Self(hexadecimal(&Sha256::digest(certificate)))
    }
}

/// What a body comes down to: SHA-256, 64 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::web) struct Digest(String);

impl Digest {
    /// Of a body.
    pub(in crate::web) fn of(body: &[u8]) -> Self {
        Self(hexadecimal(&Sha256::digest(body)))
    }

    /// The one that somebody sent.
    pub(in crate::web) fn read(text: &str) -> Option<Self> {
        is_hexadecimal(text, 64).then(|| Self(text.to_owned()))
    }

    pub(in crate::web) fn as_str(&self) -> &str {
        &self.0
    }
}

/// The one who asks for a challenge has the key, and means this connection.
pub(in crate::web) fn asking_proof(key: &Key, nonce: &Nonce, certificate: &Fingerprint) -> String {
    let message = words(&["ask", &nonce.0, &certificate.0]);
    hexadecimal(&key.sign(&message))
}

/// Whether it is one of those who have one of these keys.
pub(in crate::web) fn asks(
    keys: &[Key],
    nonce: &Nonce,
    certificate: &Fingerprint,
    proof: &str,
) -> bool {
    let message = words(&["ask", &nonce.0, &certificate.0]);
    has_signed(keys, &message, proof)
}

/// The one who answers has the key, and the certificate of this connection.
pub(in crate::web) fn server_proof(
    key: &Key,
    nonce: &Nonce,
    challenge: &str,
    certificate: &Fingerprint,
) -> String {
    let message = words(&["server", &nonce.0, challenge, &certificate.0]);
    hexadecimal(&key.sign(&message))
}

/// Whether it is one of those who have one of these keys.
pub(in crate::web) fn is_of_server(
    keys: &[Key],
    (nonce, challenge, certificate): (&Nonce, &str, &Fingerprint),
    proof: &str,
) -> bool {
    let message = words(&["server", &nonce.0, challenge, &certificate.0]);
    has_signed(keys, &message, proof)
}

/// The one who sends this body has the key, and means this connection.
pub(in crate::web) fn client_proof(
    key: &Key,
    challenge: &str,
    certificate: &Fingerprint,
    body: &Digest,
) -> String {
    let message = words(&["client", challenge, &certificate.0, &body.0]);
    hexadecimal(&key.sign(&message))
}

/// Whether it is one of those who have one of these keys.
pub(in crate::web) fn is_of_client(
    keys: &[Key],
    (challenge, certificate, body): (&str, &Fingerprint, &Digest),
    proof: &str,
) -> bool {
    let message = words(&["client", challenge, &certificate.0, &body.0]);
    has_signed(keys, &message, proof)
}

fn words(words: &[&str]) -> Vec<u8> {
    let all = ["lvs-xdp partner 1"].iter().chain(words);
    all.flat_map(|word| word.bytes().chain([0])).collect()
}

fn has_signed(keys: &[Key], message: &[u8], proof: &str) -> bool {
    let Some(proof) = bytes(proof) else {
        return false;
    };
    keys.iter().any(|key| key.has_signed(message, &proof))
}

fn is_hexadecimal(text: &str, digits: usize) -> bool {
    text.len() == digits
        && text
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

fn bytes(text: &str) -> Option<Vec<u8>> {
    if !is_hexadecimal(text, 64) {
        return None;
    }
    let (pairs, _) = text.as_bytes().as_chunks::<2>();
    let value = |digit: u8| {
        char::from(digit)
            .to_digit(16)
            .and_then(|it| u8::try_from(it).ok())
    };
    let byte = |[high, low]: &[u8; 2]| Some(value(*high)? << 4 | value(*low)?);
    pairs.iter().map(byte).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(first: u8) -> Key {
        let bytes: Vec<_> = (first..first + 32).collect();
        Key::parse(&format!("1:{}", hexadecimal(&bytes))).unwrap()
    }

    /// The test vectors of docs/web.md, computed with Python's hmac and hashlib.
    #[test]
    fn vectors() {
        let key = key(0);
        let nonce = Nonce::of(&[0x11; 32]);
        let certificate = Fingerprint::of(b"a certificate");
        let body = Digest::of(b"{}");
        assert_eq!(
            asking_proof(&key, &nonce, &certificate),
            "5764f4a61eae738b77431681bb17198bd90bfbda6c441346edc498016e1752a7"
        );
        assert_eq!(
            server_proof(&key, &nonce, "challenge-1", &certificate),
            "45736417d07d742a2846127a88829b5887f39400fe608052ba526bf3eeb93ace"
        );
        assert_eq!(
            client_proof(&key, "challenge-1", &certificate, &body),
            "420b321de96e768f7234798f28c082f640a7ad919ea5909a59d2dfff22c2f5c3"
        );
    }

    #[test]
    fn every_word_counts_and_any_of_the_keys_will_do() {
        let (old, new) = (key(0), key(64));
        let nonce = Nonce::of(&[1; 32]);
        let (mine, other) = (Fingerprint::of(b"mine"), Fingerprint::of(b"other"));
        let keys = [new.clone(), old.clone()];
        let asked = asking_proof(&old, &nonce, &mine);
        assert!(asks(&keys, &nonce, &mine, &asked));
        assert!(!asks(&keys, &Nonce::of(&[2; 32]), &mine, &asked));
        assert!(!asks(&keys, &nonce, &other, &asked));
        assert!(!asks(std::slice::from_ref(&new), &nonce, &mine, &asked));

        let proof = server_proof(&old, &nonce, "c", &mine);
        assert!(is_of_server(&keys, (&nonce, "c", &mine), &proof));
        assert!(!asks(&keys, &nonce, &mine, &proof));
        let stranger = Nonce::of(&[2; 32]);
        for (nonce, challenge, certificate) in [
            (&stranger, "c", &mine),
            (&nonce, "d", &mine),
            (&nonce, "c", &other),
        ] {
            assert!(!is_of_server(
                &keys,
                (nonce, challenge, certificate),
                &proof
            ));
        }
        assert!(!is_of_server(&[new], (&nonce, "c", &mine), &proof));
        assert!(!is_of_server(&[], (&nonce, "c", &mine), &proof));

        let (one, two) = (Digest::of(b"one"), Digest::of(b"two"));
        let proof = client_proof(&old, "c", &mine, &one);
        assert!(is_of_client(&keys, ("c", &mine, &one), &proof));
        assert!(!is_of_client(&keys, ("c", &mine, &two), &proof));
        assert!(!is_of_client(&keys, ("c", &other, &one), &proof));
        // What one side says is nothing that the other could have said.
        assert!(!is_of_server(&keys, (&nonce, "c", &mine), &proof));
        for wrong in ["", "00", &proof.to_uppercase(), &"é".repeat(32)] {
            assert!(!is_of_client(&keys, ("c", &mine, &one), wrong), "{wrong}");
        }
    }

    #[test]
    fn what_comes_from_outside_is_looked_at() {
        let long = "a".repeat(10_000);
        for wrong in ["", "abc", &long, &"g".repeat(64), &"A".repeat(64)] {
            assert!(Nonce::read(wrong).is_none() && Digest::read(wrong).is_none());
        }
        let right = "0123456789abcdef".repeat(4);
        assert_eq!(Nonce::read(&right).unwrap().as_str(), right);
    }
}
