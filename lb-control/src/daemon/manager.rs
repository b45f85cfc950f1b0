//! What the service manager is told, by a thread of its own: when its queue of datagrams is full, that thread waits,
//! and nobody else. What waits is only the latest of it.

use std::{
    io,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use sd_notify::NotifyState;
use tracing::warn;

/// How long the last words may take.
const LAST_WORDS: Duration = Duration::from_millis(200);

/// Where the daemon is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// It does what it has to do.
    Ready,
    /// It reads lvs.cf again.
    Reloading,
    /// It is about to end.
    Stopping,
}

/// Whoever tells the service manager. Without one there is nobody to tell.
#[derive(Debug)]
pub(super) struct Manager(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    /// In order; of an earlier reload nothing is told any more.
    phases: Vec<(Phase, Option<NotifyState<'static>>)>,
    status: Option<&'static str>,
    /// Something is being told.
    is_busy: bool,
    /// Nobody tells anything more.
    is_over: bool,
}

impl Waiting {
    fn is_empty(&self) -> bool {
        self.phases.is_empty() && self.status.is_none()
    }

    /// What comes next.
    fn take(&mut self) -> Vec<NotifyState<'static>> {
        let status = self.status.take().map(NotifyState::Status);
        let mut states = Vec::new();
        if !self.phases.is_empty() {
            let (phase, time) = self.phases.remove(0);
            states.push(match phase {
                Phase::Ready => NotifyState::Ready,
                Phase::Reloading => NotifyState::Reloading,
                Phase::Stopping => NotifyState::Stopping,
            });
            states.extend(time);
        }
        states.extend(status);
        states
    }
}

impl Manager {
    /// The one that started this daemon, if there is one.
    pub(super) fn of_this_daemon() -> Self {
        Self::with(sd_notify::notify)
    }

    fn with(mut send: impl FnMut(&[NotifyState<'_>]) -> io::Result<()> + Send + 'static) -> Self {
        let shared = Arc::new(Shared::default());
        let theirs = Arc::clone(&shared);
        let tell = move || {
            while let Some(states) = theirs.next() {
                if let Err(error) = send(&states) {
                    warn!(%error, "systemd was not told");
                }
            }
        };
        if let Err(error) = thread::Builder::new().name("notify".to_owned()).spawn(tell) {
            warn!(%error, "systemd is not told");
        }
        Self(shared)
    }

    /// The part that this node plays, for people.
    pub(super) fn status(&self, text: &'static str) {
        self.0.lock().status = Some(text);
        self.0.changed.notify_all();
    }

    /// The daemon has come so far.
    pub(super) fn phase(&self, phase: Phase) {
        let mut waiting = self.0.lock();
        let time = match phase {
            Phase::Reloading => NotifyState::monotonic_usec_now().ok(),
            Phase::Ready | Phase::Stopping => None,
        };
        match phase {
            Phase::Reloading | Phase::Stopping => waiting.phases.clear(),
            // After a reload that was not told yet.
            Phase::Ready => waiting.phases.retain(|(one, _)| *one != Phase::Ready),
        }
        waiting.phases.push((phase, time));
        drop(waiting);
        self.0.changed.notify_all();
    }

    /// Waits until everything is told, though not for long.
    pub(super) fn last_words(&self) {
        let is_telling = |waiting: &mut Waiting| waiting.is_busy || !waiting.is_empty();
        let waiting = self.0.lock();
        // Whether it has all been told makes no difference now.
        let _ = self
            .0
            .changed
            .wait_timeout_while(waiting, LAST_WORDS, is_telling);
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        self.0.lock().is_over = true;
        self.0.changed.notify_all();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for what is to be told next; nothing if nobody tells anything more.
    fn next(&self) -> Option<Vec<NotifyState<'static>>> {
        let mut waiting = self.lock();
        waiting.is_busy = false;
        self.changed.notify_all();
        let is_idle = |waiting: &mut Waiting| waiting.is_empty() && !waiting.is_over;
        let waited = self.changed.wait_while(waiting, is_idle);
        let mut waiting = waited.unwrap_or_else(PoisonError::into_inner);
        if waiting.is_empty() {
            return None;
        }
        waiting.is_busy = true;
        Some(waiting.take())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram;

    use super::*;

    /// A service manager whose queue is full, and what was in it.
    fn full() -> (Manager, UnixDatagram, usize) {
        let (ours, theirs) = UnixDatagram::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let mut queued = 0;
        while ours.send(b"full").is_ok() {
            queued += 1;
        }
        ours.set_nonblocking(false).unwrap();
        let send = move |states: &[NotifyState<'_>]| {
            let text: Vec<_> = states.iter().map(ToString::to_string).collect();
            ours.send(text.join("\n").as_bytes()).map(drop)
        };
        (Manager::with(send), theirs, queued)
    }

    fn read(theirs: &UnixDatagram) -> String {
        let mut buffer = [0; 256];
        let length = theirs.recv(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    }

    #[test]
    fn a_full_queue_holds_up_nobody_and_only_the_latest_waits() {
        let (manager, theirs, queued) = full();
        manager.phase(Phase::Ready);
        // None of these returns before it is read, if it waits for the queue.
        for _ in 0..10_000 {
            manager.phase(Phase::Reloading);
            manager.phase(Phase::Ready);
            manager.status("standby");
        }
        manager.status("active");
        assert!(manager.0.lock().phases.len() <= 2);
        for _ in 0..queued {
            assert_eq!(read(&theirs), "full");
        }
        let mut told = Vec::new();
        while told
            .last()
            .is_none_or(|last: &String| !last.starts_with("READY=1"))
            || !told.iter().any(|text| text.contains("STATUS=active"))
            || !told
                .iter()
                .any(|text| text.starts_with("RELOADING=1\nMONOTONIC_USEC="))
        {
            told.push(read(&theirs));
            assert!(told.len() <= 5, "{told:?}");
        }
    }

    #[test]
    fn the_end_is_told_and_what_waited_before_it_is_not() {
        let (manager, theirs, queued) = full();
        manager.phase(Phase::Reloading);
        manager.phase(Phase::Stopping);
        for _ in 0..queued {
            read(&theirs);
        }
        manager.last_words();
        let mut told = read(&theirs);
        if told.starts_with("RELOADING") {
            // It was under way already.
            told = read(&theirs);
        }
        assert_eq!(told, "STOPPING=1");
    }
}
