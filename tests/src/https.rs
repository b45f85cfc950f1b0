//! https as it goes over the wire: whatever is to be sent is sent as it is, byte by byte if need be.

use std::{
    fmt,
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    crypto::ring,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};

use crate::host::Host;

/// How long is waited for an answer, or for the end of a connection.
const PATIENCE: Duration = Duration::from_secs(60);
/// No head of an answer is longer, in bytes.
const LONGEST_HEAD: usize = 64 << 10;

/// How a server is reached by https, from one host.
#[derive(Clone, Debug)]
pub struct Https {
    from: Option<Host>,
    address: SocketAddr,
    config: Arc<ClientConfig>,
}

/// A connection to it.
#[derive(Debug)]
pub struct Connection {
    stream: StreamOwned<ClientConnection, TcpStream>,
    /// What came and belongs to the next answer.
    early: Vec<u8>,
}

/// What a server answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// Names, in small letters, and values, in their order.
    pub headers: Vec<(String, String)>,
    /// What came behind them. Of a stream without an end nothing.
    pub body: String,
}

impl Answer {
    /// The value of a header, if it is there once.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut found = self.headers.iter().filter(|(found, _)| found == name);
        match (found.next(), found.next()) {
            (Some((_, value)), None) => Some(value),
            _ => None,
        }
    }

    /// Where it sends those who asked; nowhere is an empty text.
    pub fn location(&self) -> &str {
        self.header("location").unwrap_or_default()
    }
}

/// In a few words, for complaints.
impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (_, main) = self.body.split_once("<main").unwrap_or(("", &self.body));
        let said: String = main.chars().take(400).collect();
        write!(f, "{} {} {said}", self.status, self.location())
    }
}

impl Https {
    /// A server that has this certificate (PEM), asked from a host; from the machine itself if there is none.
    pub fn new(from: Option<&Host>, address: SocketAddr, certificate: &[u8]) -> Result<Self> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(certificate)?)?;
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self {
            from: from.cloned(),
            address,
            config: Arc::new(config),
        })
    }

    /// The same with other protocols offered (ALPN), such as `h2`.
    pub fn offering(&self, protocols: &[&str]) -> Self {
        let mut config = ClientConfig::clone(&self.config);
        config.alpn_protocols = protocols
            .iter()
            .map(|name| name.as_bytes().to_vec())
            .collect();
        Self {
            config: Arc::new(config),
            ..self.clone()
        }
    }

    /// Where it is.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A connection without TLS yet.
    pub fn reach(&self) -> Result<TcpStream> {
        let reach = || {
            let stream = TcpStream::connect(self.address)?;
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.set_write_timeout(Some(PATIENCE))?;
            Ok(stream)
        };
        match &self.from {
            Some(host) => host.inside(reach),
            None => reach(),
        }
    }

    /// A connection.
    pub fn connect(&self) -> Result<Connection> {
        let mut stream = self.reach()?;
        let name = ServerName::from(self.address.ip());
        let mut session = ClientConnection::new(Arc::clone(&self.config), name)?;
        while session.is_handshaking() {
            let done = session.complete_io(&mut stream);
            done.with_context(|| format!("shaking hands with {}", self.address))?;
        }
        Ok(Connection {
            stream: StreamOwned::new(session, stream),
            early: Vec::new(),
        })
    }

    /// One question in a connection of its own.
    pub fn ask(&self, question: &[u8]) -> Result<Answer> {
        let mut connection = self.connect()?;
        connection.send(question)?;
        connection.answer()?.context("no answer")
    }
}

impl Connection {
    /// Sends these bytes.
    pub fn send(&mut self, bytes: &[u8]) -> Result<()> {
        self.stream.write_all(bytes)?;
        Ok(self.stream.flush()?)
    }

    /// What was agreed upon to be spoken.
    pub fn protocol(&self) -> Option<&[u8]> {
        self.stream.conn.alpn_protocol()
    }

    /// The certificate of the other side (DER).
    pub fn certificate(&self) -> Result<Vec<u8>> {
        let certificates = self.stream.conn.peer_certificates();
        let first = certificates.and_then(<[_]>::first);
        Ok(first.context("it has no certificate")?.to_vec())
    }

    /// What is below it, for those who go on by themselves.
    pub fn into_stream(self) -> StreamOwned<ClientConnection, TcpStream> {
        self.stream
    }

    /// The next answer; none if the other side ends the connection before it.
    pub fn answer(&mut self) -> Result<Option<Answer>> {
        let mut bytes = std::mem::take(&mut self.early);
        let head = loop {
            if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
                break bytes.drain(..end + 4).collect::<Vec<_>>();
            }
            ensure!(bytes.len() < LONGEST_HEAD, "a head without an end");
            if self.more(&mut bytes)? == 0 {
                return match bytes.is_empty() {
                    true => Ok(None),
                    false => bail!("half an answer: {}", String::from_utf8_lossy(&bytes)),
                };
            }
        };
        let (status, headers) = read_head(&String::from_utf8(head)?)?;
        let length = headers.iter().find(|(name, _)| name == "content-length");
        let length: usize = length.map_or(Ok(0), |(_, value)| value.parse())?;
        while bytes.len() < length {
            ensure!(
                self.more(&mut bytes)? > 0,
                "{} of {length} bytes",
                bytes.len()
            );
        }
        self.early = bytes.split_off(length);
        Ok(Some(Answer {
            status,
            headers,
            body: String::from_utf8(bytes)?,
        }))
    }

    /// Waits until the other side has ended the connection. What it said before that.
    pub fn rest(&mut self) -> Result<Vec<u8>> {
        let mut bytes = std::mem::take(&mut self.early);
        while self.more(&mut bytes)? > 0 {}
        Ok(bytes)
    }

    fn more(&mut self, bytes: &mut Vec<u8>) -> Result<usize> {
        let mut piece = [0; 16 << 10];
        match self.stream.read(&mut piece) {
            Ok(length) => {
                bytes.extend(&piece[..length]);
                Ok(length)
            }
            Err(error) if is_end(error.kind()) => Ok(0),
            Err(error) => Err(error).context("waiting for an answer"),
        }
    }
}

/// Whether the other side is gone, whatever way it went.
pub fn is_end(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::UnexpectedEof
            | ErrorKind::ConnectionReset
            | ErrorKind::ConnectionAborted
            | ErrorKind::BrokenPipe
    )
}

fn read_head(head: &str) -> Result<(u16, Vec<(String, String)>)> {
    let mut lines = head.split("\r\n");
    let first = lines.next().unwrap_or_default();
    let status = first.split(' ').nth(1).and_then(|word| word.parse().ok());
    let status = status.with_context(|| format!("“{first}” is no status"))?;
    let headers = lines.filter_map(|line| line.split_once(':'));
    let headers = headers.map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()));
    Ok((status, headers.collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_read() {
        let (status, headers) =
            read_head("HTTP/1.1 303 See Other\r\nLocation: /login\r\nx: a: b\r\n\r\n").unwrap();
        let answer = Answer {
            status,
            headers,
            body: String::new(),
        };
        assert_eq!((answer.status, answer.location()), (303, "/login"));
        assert_eq!(answer.header("x"), Some("a: b"));
        assert!(read_head("hello\r\n\r\n").is_err());
    }
}
