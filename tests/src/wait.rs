//! Waiting for what nobody announces, within limits.

use std::{
    sync::mpsc::channel,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};

/// Time between two looks.
const PAUSE: Duration = Duration::from_millis(50);

/// Looks until there is something to return; an error that says `what` was waited for otherwise.
pub fn until<T>(
    what: &str,
    limit: Duration,
    mut look: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let deadline = Instant::now() + limit;
    // Nothing ever comes from it.
    let (_sender, pause) = channel::<()>();
    loop {
        if let Some(found) = look()? {
            return Ok(found);
        }
        if Instant::now() > deadline {
            bail!("waited {limit:?} in vain until {what}");
        }
        let _timeout = pause.recv_timeout(PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_with_what_was_found_or_the_limit() {
        let mut looks = 0;
        let third = until("the third look", Duration::from_secs(9), || {
            looks += 1;
            Ok((looks == 3).then_some(looks))
        });
        assert_eq!(third.unwrap(), 3);
        let never: Result<()> = until("never", Duration::ZERO, || Ok(None));
        assert!(never.unwrap_err().to_string().contains("until never"));
    }
}
