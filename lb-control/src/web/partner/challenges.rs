//! Challenges: each is good once, and not for long. Nothing is kept of one that was given away, for anybody may ask; it
//! says itself when it ends, and that it is ours.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use subtle::ConstantTimeEq as _;

use super::super::token::hexadecimal;

/// For how long a challenge is good.
const LIFE: Duration = Duration::from_secs(30);

/// No more of those that were used are remembered; a partner is one, and uses one for each push.
const MOST: usize = 1_024;

/// The challenges of this process.
#[derive(Debug)]
pub(in crate::web) struct Challenges {
    secret: [u8; 32],
    /// Those that were used, and when they end.
    used: Mutex<BTreeMap<String, Duration>>,
}

/// Why a challenge is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(in crate::web) enum NoChallenge {
    /// It was not given by this process.
    #[error("the challenge is not from here")]
    Foreign,
    /// Its time is over.
    #[error("the challenge is too old; ask for another")]
    Over,
    /// It was used before, or too many were.
    #[error("the challenge was used before")]
    Used,
}

impl Challenges {
    /// With a secret that nobody else knows.
    pub(in crate::web) fn new(secret: [u8; 32]) -> Self {
        Self {
            secret,
            used: Mutex::default(),
        }
    }

    /// One of these random bytes, at this time.
    pub(in crate::web) fn give(&self, random: &[u8; 16], now: Duration) -> String {
        let end = now.saturating_add(LIFE).as_millis();
        let word = format!("{}.{end}", hexadecimal(random));
        let seal = self.seal(&word);
        format!("{word}.{seal}")
    }

    /// Whether one is good at this time. After that it is not any more.
    pub(in crate::web) fn take(&self, challenge: &str, now: Duration) -> Result<(), NoChallenge> {
        let (word, seal) = challenge.rsplit_once('.').ok_or(NoChallenge::Foreign)?;
        let is_ours: bool = self.seal(word).as_bytes().ct_eq(seal.as_bytes()).into();
        let end = word.split_once('.').and_then(|(_, end)| end.parse().ok());
        let Some(end) = end.map(Duration::from_millis).filter(|_| is_ours) else {
            return Err(NoChallenge::Foreign);
        };
        if end <= now {
            return Err(NoChallenge::Over);
        }
        // Whoever panicked with them in hand left them whole.
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        used.retain(|_, end| *end > now);
        if used.len() >= MOST || used.insert(word.to_owned(), end).is_some() {
            return Err(NoChallenge::Used);
        }
        Ok(())
    }

    fn seal(&self, word: &str) -> String {
        // HMAC takes keys of any length.
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.secret) else {
            return String::new();
        };
        mac.update(word.as_bytes());
        hexadecimal(&mac.finalize().into_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(1_000);

    #[test]
    fn a_challenge_is_good_once_and_not_for_long() {
        let challenges = Challenges::new([7; 32]);
        let one = challenges.give(&[1; 16], NOW);
        let two = challenges.give(&[2; 16], NOW);
        assert_eq!(challenges.take(&one, NOW), Ok(()));
        assert_eq!(challenges.take(&one, NOW), Err(NoChallenge::Used));
        assert_eq!(challenges.take(&two, NOW + LIFE), Err(NoChallenge::Over));
        let later = two.replace(&(NOW + LIFE).as_millis().to_string(), "99999999999");
        let foreign = Challenges::new([8; 32]).give(&[3; 16], NOW);
        for wrong in [&later, &foreign, "", ".", "..", "a.b.c", "é"] {
            assert_eq!(
                challenges.take(wrong, NOW),
                Err(NoChallenge::Foreign),
                "{wrong}"
            );
        }
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let challenges = Challenges::new([7; 32]);
        let give = |number: usize, now| {
            let mut random = [0; 16];
            random[..8].copy_from_slice(&number.to_be_bytes());
            challenges.give(&random, now)
        };
        for number in 0..MOST {
            assert_eq!(challenges.take(&give(number, NOW), NOW), Ok(()));
        }
        assert_eq!(
            challenges.take(&give(MOST, NOW), NOW),
            Err(NoChallenge::Used)
        );
        let later = NOW + LIFE;
        assert_eq!(challenges.take(&give(0, later), later), Ok(()));
        assert_eq!(challenges.used.lock().unwrap().len(), 1);
    }
}
