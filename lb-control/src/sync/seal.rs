//! The keys of the heartbeat, for what directors tell each other of connections.
//!
//! Behind a message stand its signature (HMAC-SHA256 of the message and the number of the key, 32 bytes) and the number
//! of the key (1 byte); behind one that is not signed, a 0. A heartbeat and a message of ours begin with other bytes, so
//! that none can be taken for the other.

use super::wire::Seal;
use crate::heartbeat::{
    key::{Key, SIGNATURE},
    wire::Authentication,
};

/// The keys, and who is believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keys {
    /// The first one signs.
    pub keys: Vec<Key>,
    /// Who is believed.
    pub authentication: Authentication,
}

impl Keys {
    fn signing(&self) -> Option<&Key> {
        match self.authentication {
            Authentication::Receive => None,
            Authentication::Permissive | Authentication::Enforce => self.keys.first(),
        }
    }
}

impl Seal for Keys {
    fn length(&self) -> usize {
        SIGNATURE + 1
    }

    fn seal(&self, message: &mut Vec<u8>) {
        let Some(key) = self.signing() else {
            message.push(0);
            return;
        };
        message.push(key.id);
        let signature = key.sign(message);
        message.pop();
        message.extend(signature);
        message.push(key.id);
    }

    fn open<'a>(&self, datagram: &'a [u8]) -> Option<&'a [u8]> {
        let (id, sealed) = datagram.split_last()?;
        if *id == 0 {
            let is_believed =
                self.keys.is_empty() || self.authentication != Authentication::Enforce;
            return is_believed.then_some(sealed);
        }
        let (message, signature) = sealed.split_last_chunk::<SIGNATURE>()?;
        let mut signed = message.to_vec();
        signed.push(*id);
        let mut keys = self.keys.iter().filter(|key| key.id == *id);
        keys.any(|key| key.has_signed(&signed, signature))
            .then_some(message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_believed() {
        use Authentication::{Enforce, Permissive, Receive};
        let one = Key::parse("1:000102030405060708090a0b0c0d0e0f").unwrap();
        let two = Key::parse("2:ffffffffffffffffffffffffffffffff").unwrap();
        let other = Key::parse("1:ffffffffffffffffffffffffffffffff").unwrap();
        let keys = |keys: &[&Key], authentication| Keys {
            keys: keys.iter().copied().cloned().collect(),
            authentication,
        };
        let table = [
            (
                "the same key",
                keys(&[&one], Enforce),
                keys(&[&one], Enforce),
                true,
            ),
            (
                "another with its number",
                keys(&[&other], Enforce),
                keys(&[&one], Enforce),
                false,
            ),
            (
                "the new one of two",
                keys(&[&two, &one], Enforce),
                keys(&[&one, &two], Enforce),
                true,
            ),
            (
                "one that is not known",
                keys(&[&two], Enforce),
                keys(&[&one], Enforce),
                false,
            ),
            (
                "none, where one has to be",
                keys(&[], Enforce),
                keys(&[&one], Enforce),
                false,
            ),
            (
                "none, and none is needed",
                keys(&[], Enforce),
                keys(&[], Enforce),
                true,
            ),
            (
                "not signed yet",
                keys(&[&one], Receive),
                keys(&[&one], Permissive),
                true,
            ),
            (
                "signed, to one without",
                keys(&[&one], Permissive),
                keys(&[], Enforce),
                false,
            ),
        ];
        for (what, sender, receiver, expected) in table {
            let mut bytes = b"message".to_vec();
            sender.seal(&mut bytes);
            assert!(bytes.len() <= 7 + sender.length());
            let opened = receiver.open(&bytes);
            assert_eq!(opened, expected.then_some(&b"message"[..]), "{what}");
            for place in 0..bytes.len() {
                let mut forged = bytes.clone();
                forged[place] ^= 1;
                // Who has no keys believes what says that it is not signed.
                let is_signed = bytes.last() != Some(&0) && !receiver.keys.is_empty();
                if is_signed && receiver.authentication == Enforce {
                    assert_eq!(receiver.open(&forged), None, "{what}: {place}");
                }
            }
        }
        assert_eq!(keys(&[&one], Enforce).open(&[]), None);
        assert_eq!(keys(&[&one], Enforce).open(&[1, 2, 1]), None);
    }
}
