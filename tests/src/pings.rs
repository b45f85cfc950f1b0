//! A client that pings without a pause, and knows for how long nobody answered.

use std::{
    io::Read,
    net::{IpAddr, SocketAddr},
    os::fd::AsFd as _,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, ensure};
use nix::{
    poll::{PollFd, PollFlags, ppoll},
    sys::time::TimeSpec,
};
use socket2::{Domain, Protocol, Socket, Type};

use crate::host::Host;

/// Time between two pings.
pub const PACE: Duration = Duration::from_millis(2);

/// How long an answer is waited for after the last ping.
const PATIENCE: Duration = Duration::from_millis(500);

/// Echo requests of ICMP that go on until they are stopped.
#[derive(Debug)]
pub struct Pings {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    pinger: JoinHandle<Result<Answers>>,
}

/// Which of the pings were answered.
#[derive(Clone, Debug, Default)]
pub struct Answers {
    /// When each was sent, since the first, and whether an answer came.
    pings: Vec<(Duration, bool)>,
}

impl Pings {
    /// Begins to ping an IPv4 address from a host.
    pub fn start(host: &Host, address: IpAddr) -> Result<Self> {
        // Whoever may open a socket for pings.
        host.set(&[("ipv4/ping_group_range", "0 2147483647")])?;
        let socket = host.inside(|| {
            let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::ICMPV4))?;
            socket.connect(&SocketAddr::new(address, 0).into())?;
            socket.set_nonblocking(true)?;
            Ok(socket)
        })?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let answered = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&answered);
        let pinger = std::thread::spawn(move || ping(&socket, &stopped, &counter));
        Ok(Self {
            stop,
            answered,
            pinger,
        })
    }

    /// How many were answered so far.
    pub fn answered(&self) -> usize {
        self.answered.load(Ordering::Relaxed)
    }

    /// Stops, and waits for answers that are under way.
    pub fn stop(self) -> Result<Answers> {
        self.stop.store(true, Ordering::Relaxed);
        let joined = self.pinger.join();
        joined.map_err(|_| anyhow!("whoever pings panicked"))?
    }
}

impl Answers {
    /// How many were sent.
    pub fn sent(&self) -> usize {
        self.pings.len()
    }

    /// The longest time without service: from the last ping that was answered to the next one that was. An error
    /// if none was, at the begin or at the end.
    pub fn outage(&self) -> Result<Duration> {
        let answered = self.pings.iter().filter(|(_, answered)| *answered);
        let times: Vec<Duration> = answered.map(|(sent, _)| *sent).collect();
        let is_at_ends =
            |end: Option<&(Duration, bool)>| end.is_some_and(|(_, answered)| *answered);
        ensure!(is_at_ends(self.pings.first()), "the first was not answered");
        ensure!(is_at_ends(self.pings.last()), "the last was not answered");
        let longest = times.windows(2).map(|pair| pair[1] - pair[0]).max();
        longest.context("one ping tells nothing")
    }
}

fn ping(socket: &Socket, stop: &AtomicBool, answered: &AtomicUsize) -> Result<Answers> {
    let begun = Instant::now();
    let mut answers = Answers::default();
    while !stop.load(Ordering::Relaxed) {
        let number = u32::try_from(answers.pings.len())?;
        let sent = begun.elapsed();
        // The link may be cut.
        let _unreachable = socket.send(&request(number));
        answers.pings.push((sent, false));
        listen(socket, begun, sent + PACE, &mut answers, answered)?;
    }
    let end = begun.elapsed() + PATIENCE;
    listen(socket, begun, end, &mut answers, answered)?;
    Ok(answers)
}

/// Takes answers until then.
fn listen(
    socket: &Socket,
    begun: Instant,
    until: Duration,
    answers: &mut Answers,
    answered: &AtomicUsize,
) -> Result<()> {
    let mut answer = [0; 64];
    loop {
        let left = until.saturating_sub(begun.elapsed());
        if left.is_zero() {
            return Ok(());
        }
        // The time that a socket waits by itself is counted in ticks of the kernel, which are longer than the pace.
        let mut waits = [PollFd::new(socket.as_fd(), PollFlags::POLLIN)];
        ppoll(&mut waits, Some(TimeSpec::from_duration(left)), None)?;
        // Else time is over; or nobody is there, says an ICMP error.
        let mut socket = socket;
        if let Ok(12..) = socket.read(&mut answer)
            && let Some(ping) = number(&answer).and_then(|it| answers.pings.get_mut(it))
        {
            ping.1 = true;
            answered.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// An echo request that carries its number behind the header; the kernel fills in identifier and checksum.
fn request(number: u32) -> [u8; 12] {
    let mut packet = [8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let [high, low] = (number as u16).to_be_bytes();
    (packet[6], packet[7]) = (high, low);
    packet[8..].copy_from_slice(&number.to_be_bytes());
    packet
}

fn number(answer: &[u8; 64]) -> Option<usize> {
    let number = answer.get(8..12)?.try_into().ok()?;
    (answer[0] == 0).then_some(u32::from_be_bytes(number) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_is_between_two_answers() {
        let millis = |count| Duration::from_millis(count);
        let answers = |pings: &[(u64, bool)]| Answers {
            pings: pings.iter().map(|(at, is)| (millis(*at), *is)).collect(),
        };
        let some = answers(&[
            (0, true),
            (2, true),
            (4, false),
            (6, false),
            (8, true),
            (10, true),
        ]);
        assert_eq!(some.outage().unwrap(), millis(6));
        for pings in [&[(0, false), (2, true)][..], &[(0, true), (2, false)], &[]] {
            assert!(answers(pings).outage().is_err(), "{pings:?}");
        }
    }

    #[test]
    fn a_request_carries_its_number() {
        let mut answer = [0; 64];
        answer[..12].copy_from_slice(&request(70_000));
        answer[0] = 0;
        assert_eq!(number(&answer), Some(70_000));
    }
}
