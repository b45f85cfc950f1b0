//! Numbers that nobody can guess: the kernel's.

use std::{
    fs::File,
    hash::{BuildHasher as _, RandomState},
    io::{self, Read as _},
    time::Instant,
};

/// A number that nobody can guess.
///
/// # Errors
/// If the kernel gives none.
pub fn draw() -> io::Result<u64> {
    let mut bytes = [0; 8];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(u64::from_ne_bytes(bytes))
}

/// The same for what goes on without: then it is at least another one each time.
#[must_use]
pub fn number() -> u64 {
    draw().unwrap_or_else(|_| RandomState::new().hash_one(Instant::now()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_another_one() {
        let drawn: std::collections::BTreeSet<_> = (0..100)
            .map(|_| draw().unwrap())
            .chain((0..100).map(|_| number()))
            .collect();
        assert_eq!(drawn.len(), 200);
    }
}
