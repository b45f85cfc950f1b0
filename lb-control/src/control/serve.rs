//! How the daemon treats its clients: nobody holds up others, and nobody takes more memory than there is.
//!
//! A client has so much time for a question, and so much for each piece of an answer; only so many are
//! listened to at once.

use std::{
    future::Future,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::{
    Router,
    body::{self, Body, Bytes},
    extract::{ConnectInfo, Request, State},
    http::{StatusCode, header::CONTENT_LENGTH},
    middleware::Next,
    response::{IntoResponse as _, Response},
    serve::Listener,
};
use hyper::{
    body::{Body as _, Frame, Incoming, SizeHint},
    server::conn::http1,
    service::{Service as _, service_fn},
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinSet,
    time::{Sleep, sleep, timeout},
};

use super::routes::Failure;

/// What a listener takes upon itself.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// So many clients at once; others wait until one has gone.
    pub(crate) clients: usize,
    /// A client that has not sent the head of a question after this time is let go; so is one that has
    /// nothing to ask.
    pub(crate) head: Duration,
    /// A client that takes nothing of an answer for so long is let go.
    pub(crate) stall: Duration,
}

/// The longest head of a question, in bytes.
const LONGEST_HEAD: usize = 16 << 10;

/// Answers all who come, until it is dropped: then all connections end.
pub(super) async fn serve<L, P>(
    mut listener: L,
    router: Router,
    limits: Limits,
    peer: fn(&L::Io) -> P,
) where
    L: Listener,
    P: Clone + Send + Sync + 'static,
{
    let room = Arc::new(Semaphore::new(limits.clients));
    let mut connections = JoinSet::new();
    loop {
        let Ok(place) = Arc::clone(&room).acquire_owned().await else {
            return;
        };
        let (stream, _) = listener.accept().await;
        while connections.try_join_next().is_some() {}
        let peer = peer(&stream);
        let router = router.clone();
        connections.spawn(async move {
            let _place = place;
            converse(stream, router, limits, peer).await;
        });
    }
}

/// Answers one client until it goes away or is let go, neither of which is news.
pub(crate) async fn converse<S, P>(stream: S, router: Router, limits: Limits, peer: P)
where
    S: AsyncRead + AsyncWrite + Unpin,
    P: Clone + Send + Sync + 'static,
{
    let peer = ConnectInfo(peer);
    let router = TowerToHyperService::new(router);
    let answer = service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(peer.clone());
        router.call(request)
    });
    let stream = TokioIo::new(Impatient::new(stream, limits.stall));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head)
        .max_buf_size(LONGEST_HEAD)
        .serve_connection(stream, answer);
    let _ = connection.await;
}

/// A stream that fails if nothing can be written to it for too long.
struct Impatient<S> {
    stream: S,
    limit: Duration,
    /// Until when; only while it is waited for.
    until: Option<Pin<Box<Sleep>>>,
}

impl<S> Impatient<S> {
    const fn new(stream: S, limit: Duration) -> Self {
        Self {
            stream,
            limit,
            until: None,
        }
    }

    /// A write took place, or is waited for, for a limited time.
    fn settle<T>(
        &mut self,
        written: Poll<io::Result<T>>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.until = None;
            return written;
        }
        let limit = self.limit;
        let until = self.until.get_or_insert_with(|| Box::pin(sleep(limit)));
        ready!(until.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Impatient<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Impatient<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.settle(written, cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bytes);
        self.settle(written, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// No question is longer, in bytes: a restore of a hundred thousand real servers has room.
const LONGEST: usize = 64 << 20;

/// What is longer than this is long: there is room for a few of these only.
const LONG: usize = 1 << 20;

/// A question has to be complete after this time.
const QUESTION: Duration = Duration::from_secs(30);

/// How much may be in memory at once.
#[derive(Clone)]
pub(super) struct Room {
    /// Long questions that are being read; others wait.
    questions: Arc<Semaphore>,
    /// Long answers that are being taken; others are refused.
    answers: Arc<Semaphore>,
    /// Answers that have no end; others are refused.
    streams: Arc<Semaphore>,
}

impl Default for Room {
    fn default() -> Self {
        let places = |count| Arc::new(Semaphore::new(count));
        Self {
            questions: places(4),
            answers: places(16),
            streams: places(64),
        }
    }
}

/// Has a question complete before it is asked, and keeps count of what answers take.
pub(super) async fn bounded(State(room): State<Room>, request: Request, next: Next) -> Response {
    let request = match timeout(QUESTION, complete(&room, request)).await {
        Ok(Ok(request)) => request,
        Ok(Err(failure)) => return failure.into_response(),
        Err(_) => {
            let text = format!("the question was not complete after {QUESTION:?}");
            return Failure(StatusCode::REQUEST_TIMEOUT, text).into_response();
        }
    };
    let response = next.run(request).await;
    let room = match response.body().size_hint().exact() {
        Some(length) if length <= LONG as u64 => return response,
        Some(_) => room.answers,
        None => room.streams,
    };
    let Ok(place) = room.try_acquire_owned() else {
        let text = "too many others are reading long answers; try again".to_owned();
        return Failure(StatusCode::SERVICE_UNAVAILABLE, text).into_response();
    };
    response.map(|body| {
        Body::new(Placed {
            body,
            _place: place,
        })
    })
}

/// The question with all of its body.
async fn complete(room: &Room, request: Request) -> Result<Request, Failure> {
    let (parts, body) = request.into_parts();
    let length = parts
        .headers
        .get(CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if length.is_some_and(|length| length > LONGEST) {
        return Err(too_long());
    }
    let is_short = body.is_end_stream() || length.is_some_and(|length| length <= LONG);
    let _turn = match is_short {
        true => None,
        false => room.questions.acquire().await.ok(),
    };
    match body::to_bytes(body, LONGEST).await {
        Ok(body) => Ok(Request::from_parts(parts, Body::from(body))),
        Err(_) => Err(too_long()),
    }
}

fn too_long() -> Failure {
    let text = format!("the question has no end, or is longer than {LONGEST} bytes");
    Failure(StatusCode::PAYLOAD_TOO_LARGE, text)
}

/// The body of an answer that has a place for as long as it is being read.
struct Placed {
    body: Body,
    _place: OwnedSemaphorePermit,
}

impl hyper::body::Body for Placed {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
