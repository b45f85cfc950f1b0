//! The client's end.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};

use super::{
    packet::{Chunk, Greeting, Packet},
    socket::RawSocket,
};
use crate::host::Host;

/// How long an answer may take.
const LIMIT: Duration = Duration::from_secs(5);

/// An association of a client with a server. Dropping it says nothing to the server.
#[derive(Debug)]
pub struct Association {
    socket: RawSocket,
    port: u16,
    server: SocketAddr,
    /// What the server wants to see, and we.
    theirs: u32,
    ours: u32,
    /// The number of our next chunk of data, and of the server's last one.
    number: u32,
    last: u32,
}

impl Association {
    /// Opens an association from an address and port of the host: INIT, INIT ACK, COOKIE ECHO, COOKIE ACK.
    ///
    /// # Errors
    /// If the server does not answer, from the address and port that it was asked at, with a right
    /// checksum and our tag. The same goes for all that follows.
    pub fn open(host: &Host, from: SocketAddr, server: SocketAddr) -> Result<Self> {
        let socket = host.inside(|| RawSocket::bind(from.ip()))?;
        socket.limit(LIMIT)?;
        let greeting = Greeting {
            tag: 0x6c62_0000 | u32::from(from.port()),
            number: 1,
        };
        let mut association = Self {
            socket,
            port: from.port(),
            server,
            theirs: 0,
            ours: greeting.tag,
            number: greeting.number,
            last: 0,
        };
        association.send(Chunk::Init(greeting))?;
        let (theirs, cookie) = match &association.receive()?[..] {
            [Chunk::InitAck(theirs, cookie)] => (*theirs, cookie.clone()),
            other => bail!("{other:?} instead of INIT ACK"),
        };
        association.theirs = theirs.tag;
        association.last = theirs.number.wrapping_sub(1);
        association.send(Chunk::CookieEcho(cookie))?;
        association.expect(Chunk::CookieAck)?;
        Ok(association)
    }

    /// Sends a chunk of data, which is acknowledged, and acknowledges the answer.
    pub fn ask(&mut self, text: &[u8]) -> Result<Vec<u8>> {
        let asked = self.number;
        self.number += 1;
        let text = text.to_vec();
        self.send(Chunk::Data {
            number: asked,
            text,
        })?;
        let answer = match &self.receive()?[..] {
            [
                Chunk::Sack(number),
                Chunk::Data {
                    number: answer,
                    text,
                },
            ] if (*number, *answer) == (asked, self.last + 1) => text.clone(),
            other => bail!("{other:?} instead of SACK and DATA"),
        };
        self.last += 1;
        self.send(Chunk::Sack(self.last))?;
        Ok(answer)
    }

    /// Ends it as it should: SHUTDOWN, SHUTDOWN ACK, SHUTDOWN COMPLETE.
    pub fn shut_down(self) -> Result<()> {
        self.send(Chunk::Shutdown(self.last))?;
        self.expect(Chunk::ShutdownAck)?;
        self.send(Chunk::ShutdownComplete)
    }

    /// Ends it at once: ABORT.
    pub fn abort(self) -> Result<()> {
        self.send(Chunk::Abort)
    }

    fn send(&self, chunk: Chunk) -> Result<()> {
        let packet = Packet {
            source: self.port,
            destination: self.server.port(),
            tag: self.theirs,
            chunks: vec![chunk],
        };
        self.socket.send(self.server.ip(), &packet)
    }

    fn expect(&self, chunk: Chunk) -> Result<()> {
        let chunks = self.receive()?;
        ensure!(chunks == [chunk.clone()], "{chunks:?} instead of {chunk:?}");
        Ok(())
    }

    /// The chunks of the next packet for us.
    fn receive(&self) -> Result<Vec<Chunk>> {
        loop {
            let (from, packet): (IpAddr, _) = self.socket.receive().context("no answer")?;
            let packet = packet.with_context(|| format!("a packet of {from}"))?;
            // Other associations of the same host have ports of their own.
            if packet.destination != self.port {
                continue;
            }
            let source = SocketAddr::new(from, packet.source);
            ensure!(
                source == self.server,
                "{source} answers for {}",
                self.server
            );
            ensure!(packet.tag == self.ours, "tag {:#x}", packet.tag);
            return Ok(packet.chunks);
        }
    }
}
