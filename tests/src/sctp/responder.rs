//! The server's end.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread::JoinHandle,
};

use anyhow::{Context, Result, bail, ensure};

use super::{
    packet::{Chunk, Greeting, Packet},
    socket::RawSocket,
};
use crate::host::Host;

/// Answers all that it is asked by its host's name and what it was asked, until it is dropped. Packets
/// with a wrong checksum, of a stranger or out of order it does not answer, and notes them.
#[derive(Debug)]
pub struct Responder {
    socket: Arc<RawSocket>,
    books: Arc<Mutex<Books>>,
    worker: Option<JoinHandle<()>>,
}

/// A client's address and port.
type Peer = (IpAddr, u16);

#[derive(Debug, Default)]
struct Books {
    standing: BTreeMap<Peer, Standing>,
    ended: usize,
    complaints: Vec<String>,
}

/// An association.
#[derive(Debug)]
struct Standing {
    /// The tag that the client wants to see.
    theirs: u32,
    /// The one that we want to see.
    ours: u32,
    /// The number of our next chunk of data.
    number: u32,
}

impl Responder {
    /// Starts to listen on a host, at one of its addresses.
    pub fn start(host: &Host, address: IpAddr, port: u16) -> Result<Self> {
        let socket = Arc::new(host.inside(|| RawSocket::bind(address))?);
        let books = Arc::default();
        let server = Server {
            name: host.name().to_owned(),
            port,
            socket: Arc::clone(&socket),
            books: Arc::clone(&books),
        };
        let worker = std::thread::spawn(move || server.work());
        Ok(Self {
            socket,
            books,
            worker: Some(worker),
        })
    }

    /// Addresses and ports of those whose associations stand.
    pub fn peers(&self) -> Vec<(IpAddr, u16)> {
        lock(&self.books).standing.keys().copied().collect()
    }

    /// How many associations have ended.
    pub fn ended(&self) -> usize {
        lock(&self.books).ended
    }

    /// What it found wrong.
    pub fn complaints(&self) -> Vec<String> {
        lock(&self.books).complaints.clone()
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        self.socket.close();
        if let Some(worker) = self.worker.take() {
            drop(worker.join());
        }
    }
}

/// What the thread has.
struct Server {
    name: String,
    port: u16,
    socket: Arc<RawSocket>,
    books: Arc<Mutex<Books>>,
}

impl Server {
    fn work(&self) {
        while let Ok((from, packet)) = self.socket.receive() {
            if let Err(error) = packet.and_then(|packet| self.answer(from, &packet)) {
                let complaint = format!("{from}: {error:#}");
                lock(&self.books).complaints.push(complaint);
            }
        }
    }

    fn answer(&self, from: IpAddr, packet: &Packet) -> Result<()> {
        ensure!(packet.destination == self.port, "{packet:?}: whose port?");
        let peer = (from, packet.source);
        let (mut tag, mut chunks) = (0, Vec::new());
        for chunk in &packet.chunks {
            let answer = lock(&self.books)
                .answer(&self.name, peer, packet.tag, chunk)
                .with_context(|| format!("{packet:?}"))?;
            tag = answer.0;
            chunks.extend(answer.1);
        }
        if chunks.is_empty() {
            return Ok(());
        }
        let packet = Packet {
            source: self.port,
            destination: packet.source,
            tag,
            chunks,
        };
        self.socket.send(from, &packet)
    }
}

impl Books {
    /// What a chunk is answered by: the tag that the client wants to see, and chunks.
    fn answer(
        &mut self,
        name: &str,
        peer: Peer,
        tag: u32,
        chunk: &Chunk,
    ) -> Result<(u32, Vec<Chunk>)> {
        match chunk {
            // Nothing is kept before the cookie comes back: it has all.
            Chunk::Init(theirs) => {
                let ours = Greeting {
                    tag: !theirs.tag,
                    number: 1000,
                };
                let cookie = [theirs.bytes(), ours.bytes()].concat();
                Ok((theirs.tag, vec![Chunk::InitAck(ours, cookie)]))
            }
            Chunk::CookieEcho(cookie) => {
                let theirs = self.begin(peer, tag, cookie)?;
                Ok((theirs, vec![Chunk::CookieAck]))
            }
            Chunk::Data { number, text } => {
                let known = self.known(peer, tag)?;
                let text = [name.as_bytes(), b": ", text].concat();
                let answer = Chunk::Data {
                    number: known.number,
                    text,
                };
                known.number += 1;
                Ok((known.theirs, vec![Chunk::Sack(*number), answer]))
            }
            Chunk::Sack(_) => Ok((self.known(peer, tag)?.theirs, Vec::new())),
            Chunk::Shutdown(_) => Ok((self.known(peer, tag)?.theirs, vec![Chunk::ShutdownAck])),
            Chunk::ShutdownComplete | Chunk::Abort => {
                let theirs = self.known(peer, tag)?.theirs;
                self.standing.remove(&peer);
                self.ended += 1;
                Ok((theirs, Vec::new()))
            }
            Chunk::InitAck(..) | Chunk::CookieAck | Chunk::ShutdownAck => bail!("no client's"),
        }
    }

    /// Begins the association that a cookie tells of; what the client wants to see.
    fn begin(&mut self, peer: Peer, tag: u32, cookie: &[u8]) -> Result<u32> {
        let theirs = Greeting::read(cookie)?;
        let ours = Greeting::read(cookie.get(Greeting::LENGTH..).unwrap_or_default())?;
        ensure!(ours.tag == tag, "not the tag of the cookie");
        let standing = Standing {
            theirs: theirs.tag,
            ours: ours.tag,
            number: ours.number,
        };
        self.standing.insert(peer, standing);
        Ok(theirs.tag)
    }

    fn known(&mut self, peer: Peer, tag: u32) -> Result<&mut Standing> {
        let known = self.standing.get_mut(&peer).context("a stranger")?;
        ensure!(known.ours == tag, "another tag");
        Ok(known)
    }
}

fn lock(books: &Mutex<Books>) -> MutexGuard<'_, Books> {
    books.lock().unwrap_or_else(PoisonError::into_inner)
}
