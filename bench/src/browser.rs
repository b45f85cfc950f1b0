//! What a browser does: it logs in by https, asks for pages, and takes what a page's stream brings. Nothing is
//! drawn.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context as Waker, Poll},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use http_body_util::{BodyExt as _, Full};
use hyper::{
    Method, Request, Response,
    body::{Bytes, Incoming},
    client::conn::http1::{SendRequest, handshake},
    header::{ACCEPT, CONTENT_TYPE, COOKIE, HOST, SET_COOKIE},
};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::{
    TlsConnector,
    rustls::{
        ClientConfig, RootCertStore,
        crypto::ring,
        pki_types::{CertificateDer, ServerName, pem::PemObject as _},
    },
};

/// How long an answer, or anything new, may take.
const LIMIT: Duration = Duration::from_secs(60);

/// Where the web tool is, and which certificate it has.
#[derive(Clone)]
pub(crate) struct Site {
    address: SocketAddr,
    tls: TlsConnector,
}

impl Site {
    /// At this address, with the one certificate that is believed.
    pub(crate) fn new(address: SocketAddr, certificate: &str) -> Result<Self> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(certificate.as_bytes())?)?;
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let tls = TlsConnector::from(Arc::new(config));
        Ok(Self { address, tls })
    }
}

/// A connection of somebody who is logged in.
pub(crate) struct Browser {
    site: Site,
    cookie: String,
    sender: SendRequest<Full<Bytes>>,
    heard: Arc<AtomicU64>,
}

/// A page, and what it took.
pub(crate) struct Page {
    /// Until its first byte was there.
    pub(crate) first: Duration,
    /// Until its last one was.
    pub(crate) last: Duration,
    /// What came by the wire for it, in bytes.
    pub(crate) wire: u64,
    /// The page.
    pub(crate) text: String,
}

impl Browser {
    /// Logs in.
    pub(crate) async fn log_in(site: &Site, user: &str, password: &str) -> Result<Self> {
        let (sender, heard) = connect(site).await?;
        let mut browser = Self {
            site: site.clone(),
            cookie: String::new(),
            sender,
            heard,
        };
        let form = format!("user={user}&password={password}");
        let response = browser.ask(Method::POST, "/login", "*/*", form).await?;
        let (status, headers) = (response.status(), response.headers());
        let cookie = headers
            .get(SET_COOKIE)
            .and_then(|cookie| cookie.to_str().ok()?.split(';').next())
            .with_context(|| format!("the login was answered by {status}"))?;
        browser.cookie = cookie.to_owned();
        response.into_body().collect().await?;
        Ok(browser)
    }

    /// The same user on another connection.
    async fn another(&self) -> Result<Self> {
        let (sender, heard) = connect(&self.site).await?;
        Ok(Self {
            site: self.site.clone(),
            cookie: self.cookie.clone(),
            sender,
            heard,
        })
    }

    /// Asks for a page.
    pub(crate) async fn page(&mut self, path: &str) -> Result<Page> {
        let (before, begun) = (self.heard(), Instant::now());
        let response = self
            .ask(Method::GET, path, "text/html", String::new())
            .await?;
        let (first, status) = (begun.elapsed(), response.status());
        let body = timeout(LIMIT, response.into_body().collect())
            .await
            .with_context(|| format!("{path} has no end"))??;
        let last = begun.elapsed();
        ensure!(status.is_success(), "{path} was answered by {status}");
        Ok(Page {
            first,
            last,
            wire: self.heard() - before,
            text: String::from_utf8(body.to_bytes().into())?,
        })
    }

    /// Looks on at a page: it is asked for, and then, on a connection of its own, what is new of it.
    pub(crate) async fn look_on(&mut self, path: &str) -> Result<Looking> {
        let page = self.page(path).await?.text;
        let news = attribute(&page, "data-follow").context("the page does not live")?;
        let mut other = self.another().await?;
        let response = other
            .ask(Method::GET, &news, "text/event-stream", String::new())
            .await?;
        ensure!(response.status().is_success(), "{}", response.status());
        Ok(Looking {
            body: response.into_body(),
            rest: Vec::new(),
            browser: other,
        })
    }

    /// What came by the wire so far, in bytes.
    pub(crate) fn heard(&self) -> u64 {
        self.heard.load(Ordering::Relaxed)
    }

    async fn ask(
        &mut self,
        method: Method,
        path: &str,
        accept: &str,
        form: String,
    ) -> Result<Response<Incoming>> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, self.site.address.to_string())
            .header(ACCEPT, accept)
            .header(COOKIE, &self.cookie)
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Full::new(Bytes::from(form)))?;
        timeout(LIMIT, self.sender.send_request(request))
            .await
            .with_context(|| format!("{path} is not answered"))?
            .with_context(|| format!("asking for {path}"))
    }
}

async fn connect(site: &Site) -> Result<(SendRequest<Full<Bytes>>, Arc<AtomicU64>)> {
    let stream = TcpStream::connect(site.address).await?;
    stream.set_nodelay(true)?;
    let heard = Arc::default();
    let stream = Heard {
        stream,
        bytes: Arc::clone(&heard),
    };
    let name = ServerName::from(site.address.ip());
    let stream = site.tls.connect(name, stream).await?;
    let (sender, connection) = handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    Ok((sender, heard))
}

/// Somebody who looks on.
pub(crate) struct Looking {
    body: Incoming,
    rest: Vec<u8>,
    browser: Browser,
}

/// What a stream tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct News {
    /// `parts` if parts of the page are new, `shape` if it is another page now.
    pub(crate) event: String,
    /// How many parts.
    pub(crate) parts: usize,
}

impl Looking {
    /// The next news.
    pub(crate) async fn next(&mut self) -> Result<News> {
        loop {
            let end = self.rest.windows(2).position(|two| two == b"\n\n");
            if let Some(end) = end {
                let event: Vec<u8> = self.rest.drain(..end + 2).collect();
                if let Some(news) = News::read(&String::from_utf8(event)?) {
                    return Ok(news);
                }
                continue;
            }
            let frame = timeout(LIMIT, self.body.frame()).await;
            let frame = frame.context("nothing is new")?.context("it has ended")??;
            if let Some(data) = frame.data_ref() {
                self.rest.extend_from_slice(data);
            }
        }
    }

    /// What came by the wire so far, in bytes.
    pub(crate) fn heard(&self) -> u64 {
        self.browser.heard()
    }
}

impl News {
    /// An event; comments, which say that the stream lives, are none.
    fn read(text: &str) -> Option<Self> {
        let field = |name| {
            text.lines().find_map(|line| {
                let value = line.strip_prefix(name)?.strip_prefix(':')?;
                Some(value.trim_start().to_owned())
            })
        };
        let parts: Option<Vec<(String, String)>> =
            field("data").and_then(|data| serde_json::from_str(&data).ok());
        Some(Self {
            event: field("event")?,
            parts: parts.map_or(0, |parts| parts.len()),
        })
    }
}

/// The value of the first attribute with this name in a page.
pub(crate) fn attribute(page: &str, name: &str) -> Option<String> {
    let (_, value) = page.split_once(&format!(" {name}=\""))?;
    let (value, _) = value.split_once('"')?;
    Some(value.replace("&amp;", "&"))
}

/// A stream that counts what comes in by it.
struct Heard {
    stream: TcpStream,
    bytes: Arc<AtomicU64>,
}

impl AsyncRead for Heard {
    fn poll_read(
        mut self: Pin<&mut Self>,
        waker: &mut Waker<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(waker, buffer);
        let more = (buffer.filled().len() - before) as u64;
        self.bytes.fetch_add(more, Ordering::Relaxed);
        read
    }
}

impl AsyncWrite for Heard {
    fn poll_write(
        mut self: Pin<&mut Self>,
        waker: &mut Waker<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(waker, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, waker: &mut Waker<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(waker)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, waker: &mut Waker<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(waker)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_stream_tells_is_read() {
        let news = |event: &str, parts| News {
            event: event.to_owned(),
            parts,
        };
        let table = [
            (":\n\n", None),
            (
                "event: parts\ndata: [[\"asof\",\"1\"],[\"a\",\"<b>\"]]\n\n",
                Some(news("parts", 2)),
            ),
            (
                "event: shape\ndata: other parts\n\n",
                Some(news("shape", 0)),
            ),
        ];
        for (text, expected) in table {
            assert_eq!(News::read(text), expected, "{text:?}");
        }
    }

    #[test]
    fn attributes_are_found_in_a_page() {
        let page = r#"<div id="live" data-follow="/control?page=2&amp;follow=12">"#;
        let found = attribute(page, "data-follow");
        assert_eq!(found.as_deref(), Some("/control?page=2&follow=12"));
        assert_eq!(attribute(page, "href"), None);
    }
}
