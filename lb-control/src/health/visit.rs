//! A check on its way: whom it visits, and how long it may take altogether.

use std::{io, net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpStream, UdpSocket},
    time::{Instant, timeout_at},
};

use super::{
    Failure, Step, Target, Timing,
    dial::Dial,
    witness::{Happening, Witness},
};

/// What a protocol is spoken over.
pub(super) trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// A check on its way.
pub(super) struct Visit<'w> {
    /// Whom it visits.
    pub(super) server: SocketAddr,
    dial: Dial<'w>,
    /// What the check as a whole may take.
    pub(super) limit: Duration,
    deadline: Instant,
    pub(super) witness: Witness<'w>,
}

impl<'w> Visit<'w> {
    /// A visit that begins now.
    pub(super) fn begin(dial: Dial<'w>, limit: Duration, witness: Witness<'w>) -> Self {
        Self {
            server: dial.address,
            dial,
            limit,
            deadline: Instant::now() + limit,
            witness,
        }
    }

    /// A check of a server that begins now.
    pub(super) fn of(target: &Target, dial: Dial<'w>, witness: Witness<'w>) -> Self {
        let interval = Timing::of(&target.probe).interval();
        let limit = target.probe.limit.unwrap_or(interval);
        Self::begin(dial, limit, witness)
    }

    /// One step, within what is left of the time.
    pub(super) async fn step<T>(
        &mut self,
        step: Step,
        work: impl Future<Output = io::Result<T>>,
    ) -> Result<T, Failure> {
        match timeout_at(self.deadline, work).await {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(error)) => Err(Failure::of_step(step, self.server, &error)),
            Err(_elapsed) => Err(Failure::Step {
                step,
                server: self.server,
                error: format!("no answer within {:?}", self.limit),
            }),
        }
    }

    /// A TCP connection, which is closed with a reset: that leaves no TIME_WAIT, neither here nor there.
    pub(super) async fn connect(&mut self) -> Result<TcpStream, Failure> {
        let dial = self.dial;
        let stream = self.step(Step::Connect, dial.stream()).await?;
        (self.witness)(Happening::Connected);
        // Without the option the close is an ordinary one.
        let _ordinary = stream.set_zero_linger();
        let _as_usual = stream.set_nodelay(true);
        Ok(stream)
    }

    /// Sends all of it.
    pub(super) async fn send(
        &mut self,
        stream: &mut impl Duplex,
        bytes: &[u8],
    ) -> Result<(), Failure> {
        let sending = async {
            stream.write_all(bytes).await?;
            stream.flush().await
        };
        self.step(Step::Send, sending).await?;
        (self.witness)(Happening::Sent(bytes));
        Ok(())
    }

    /// A UDP socket.
    pub(super) async fn datagrams(&mut self) -> Result<UdpSocket, Failure> {
        let dial = self.dial;
        self.step(Step::Connect, dial.datagrams()).await
    }

    /// Reads until `is_enough` of what has come, up to `most` bytes. What has come, and whether it is enough:
    /// it is not if the server closed, or went on beyond that.
    pub(super) async fn read(
        &mut self,
        stream: &mut impl Duplex,
        most: usize,
        mut is_enough: impl FnMut(&[u8]) -> bool,
    ) -> Result<(Vec<u8>, bool), Failure> {
        let mut received = Vec::new();
        while !is_enough(&received) {
            let left = most.saturating_sub(received.len());
            if left == 0 {
                return Ok((received, false));
            }
            let before = received.len();
            let mut rest = (&mut *stream).take(left as u64);
            if self.step(Step::Read, rest.read_buf(&mut received)).await? == 0 {
                (self.witness)(Happening::Ended);
                return Ok((received, false));
            }
            let news = received.get(before..).unwrap_or_default();
            (self.witness)(Happening::Received(news));
        }
        Ok((received, true))
    }
}

/// An answer that is not what it should be.
pub(super) fn wrong(answered: impl Into<String>, expected: impl Into<String>) -> Failure {
    Failure::WrongAnswer {
        answered: answered.into(),
        expected: expected.into(),
    }
}
