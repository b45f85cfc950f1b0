//! HTTP: a page by HTTP/1.1 or HTTP/2, and the health of a gRPC service.

use std::pin::pin;

use futures_util::future::{Either, select};
use http_body_util::{BodyExt as _, Empty};
use hyper::{
    Method, Request, StatusCode,
    body::Bytes,
    client::conn::http1,
    header::{self, HeaderMap},
};
use hyper_util::rt::TokioIo;

use super::{
    Failure, Outcome, Step,
    check::wanted,
    failure::quoted,
    tls::{self, other},
    visit::{Duplex, Visit, wrong},
    witness::Happening,
};
use crate::model::{Expect, Grpc, Http, Tls};

/// How much of a page is looked at.
const BODY: usize = 64 * 1024;

/// How large all headers of an answer may be together.
const HEADERS: usize = 16 * 1024;

/// The longest answer of gRPC; it is a number of two bytes.
const MESSAGE: usize = 1024;

/// An answer, as far as it is looked at.
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Vec<u8>,
    trailers: HeaderMap,
}

/// Asks for a page.
pub(super) async fn page(visit: &mut Visit<'_>, http: &Http) -> Outcome {
    let stream = open(visit, http.tls.as_ref(), http.is_two).await?;
    page_over(visit, stream, http).await
}

/// The same over a stream that is there.
pub(super) async fn page_over(
    visit: &mut Visit<'_>,
    stream: Box<dyn Duplex>,
    http: &Http,
) -> Outcome {
    let scheme = if http.tls.is_some() { "https" } else { "http" };
    let host = authority(visit, http.host.as_deref());
    let method = if http.is_head {
        Method::HEAD
    } else {
        Method::GET
    };
    let request = Request::builder()
        .method(method)
        .header(header::USER_AGENT, "lvs-xdp nanny");
    // HTTP/1.1 asks by path and `Host`, HTTP/2 by the whole.
    let request = if http.is_two {
        request.uri(format!("{scheme}://{host}{}", http.path))
    } else {
        request.uri(&*http.path).header(header::HOST, &*host)
    };
    let appetite = http.body.as_ref().map_or(0, |_| BODY);
    let answer = if http.is_two {
        let request = request.body(()).map_err(untried)?;
        two(visit, stream, request, None, appetite).await?
    } else {
        let request = request.body(Empty::new()).map_err(untried)?;
        one(visit, stream, request, appetite).await?
    };
    (visit.witness)(Happening::Answered(&status_words(answer.status)));
    if !http
        .status
        .iter()
        .any(|(first, last)| (*first..=*last).contains(&answer.status.as_u16()))
    {
        return Err(wrong(
            status_words(answer.status),
            status_list(&http.status),
        ));
    }
    match &http.body {
        Some(expect @ Expect::Regex(regex)) if !regex.is_match(&answer.body) => Err(wrong(
            format!("a page {}", quoted(&answer.body)),
            wanted(expect),
        )),
        Some(_) | None => Ok(()),
    }
}

/// Asks `grpc.health.v1.Health/Check` (the protocol of health checks of gRPC).
pub(super) async fn health(visit: &mut Visit<'_>, grpc: &Grpc) -> Outcome {
    let stream = open(visit, grpc.tls.as_ref(), true).await?;
    health_over(visit, stream, grpc).await
}

/// The same over a stream that is there.
pub(super) async fn health_over(
    visit: &mut Visit<'_>,
    stream: Box<dyn Duplex>,
    grpc: &Grpc,
) -> Outcome {
    let scheme = if grpc.tls.is_some() { "https" } else { "http" };
    let host = authority(visit, grpc.host.as_deref());
    let request = Request::builder()
        .method(Method::POST)
        .uri(format!("{scheme}://{host}/grpc.health.v1.Health/Check"))
        .header(header::CONTENT_TYPE, "application/grpc")
        .header(header::TE, "trailers")
        .header(header::USER_AGENT, "lvs-xdp nanny")
        .body(())
        .map_err(untried)?;
    let message = health_request(&grpc.service);
    let answer = two(visit, stream, request, Some(message), MESSAGE).await?;
    if answer.status != StatusCode::OK {
        return Err(wrong(status_words(answer.status), "status 200"));
    }
    let field = |name: &str| {
        let value = answer
            .trailers
            .get(name)
            .or_else(|| answer.headers.get(name));
        value.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
    };
    // Servers that end the stream early may leave out the zero.
    let code = field("grpc-status").unwrap_or_else(|| "0".to_owned());
    if code != "0" {
        let message = field("grpc-message").unwrap_or_default();
        let said = format!("grpc-status {} {}", cut(&code), quoted(message.as_bytes()));
        return Err(wrong(said, "SERVING"));
    }
    let said = match serving_status(&answer.body) {
        Some(0) => "UNKNOWN".to_owned(),
        Some(1) => {
            (visit.witness)(Happening::Answered("SERVING"));
            return Ok(());
        }
        Some(2) => "NOT_SERVING".to_owned(),
        Some(3) => "SERVICE_UNKNOWN".to_owned(),
        Some(other) => format!("state {other}"),
        None => quoted(&answer.body),
    };
    Err(wrong(said, "SERVING"))
}

async fn open(
    visit: &mut Visit<'_>,
    tls: Option<&Tls>,
    is_two: bool,
) -> Result<Box<dyn Duplex>, Failure> {
    let stream = visit.connect().await?;
    let alpn = if is_two { "h2" } else { "http/1.1" };
    Ok(match tls {
        Some(tls) => Box::new(tls::secure(visit, tls, Some(alpn), stream).await?),
        None => Box::new(stream),
    })
}

/// One request by HTTP/1.1.
async fn one(
    visit: &mut Visit<'_>,
    stream: Box<dyn Duplex>,
    request: Request<Empty<Bytes>>,
    appetite: usize,
) -> Result<Answer, Failure> {
    let builder = {
        let mut builder = http1::Builder::new();
        builder.max_buf_size(HEADERS).max_headers(100);
        builder
    };
    let asking = async {
        let (mut sender, connection) = builder
            .handshake(TokioIo::new(stream))
            .await
            .map_err(other)?;
        let asked = async {
            let answer = sender.send_request(request).await.map_err(deepest)?;
            let (head, mut rest) = answer.into_parts();
            let mut body = Vec::new();
            while body.len() < appetite
                && let Some(frame) = rest.frame().await
            {
                let frame = frame.map_err(deepest)?;
                take(
                    &mut body,
                    frame.data_ref().map_or(&[], |data| data),
                    appetite,
                );
            }
            Ok(Answer {
                status: head.status,
                headers: head.headers,
                body,
                trailers: HeaderMap::new(),
            })
        };
        match select(pin!(asked), pin!(connection)).await {
            Either::Left((answer, _)) => answer,
            // The connection has ended; what came by it is still there.
            Either::Right((_, asked)) => asked.await,
        }
    };
    visit.step(Step::Read, asking).await
}

/// One request by HTTP/2.
async fn two(
    visit: &mut Visit<'_>,
    stream: Box<dyn Duplex>,
    request: Request<()>,
    message: Option<Vec<u8>>,
    appetite: usize,
) -> Result<Answer, Failure> {
    let mut builder = h2::client::Builder::new();
    builder
        .enable_push(false)
        .initial_window_size(BODY as u32)
        .initial_connection_window_size(BODY as u32)
        .max_frame_size(16 * 1024)
        .max_header_list_size(HEADERS as u32);
    let asking = async {
        let (sender, connection) = builder.handshake(stream).await.map_err(other)?;
        let asked = async {
            let mut sender = sender.ready().await.map_err(other)?;
            let is_all = message.is_none();
            let (answer, mut sent) = sender.send_request(request, is_all).map_err(other)?;
            if let Some(message) = message {
                sent.send_data(Bytes::from(message), true).map_err(other)?;
            }
            let (head, mut rest) = answer.await.map_err(other)?.into_parts();
            let mut body = Vec::new();
            let mut trailers = HeaderMap::new();
            while body.len() < appetite {
                match rest.data().await {
                    Some(data) => {
                        let data = data.map_err(other)?;
                        rest.flow_control()
                            .release_capacity(data.len())
                            .map_err(other)?;
                        take(&mut body, &data, appetite);
                    }
                    None => {
                        trailers = rest.trailers().await.map_err(other)?.unwrap_or_default();
                        break;
                    }
                }
            }
            Ok(Answer {
                status: head.status,
                headers: head.headers,
                body,
                trailers,
            })
        };
        match select(pin!(asked), pin!(connection)).await {
            Either::Left((answer, _)) => answer,
            Either::Right((_, asked)) => asked.await,
        }
    };
    visit.step(Step::Read, asking).await
}

/// Adds what there is an appetite for.
fn take(body: &mut Vec<u8>, data: &[u8], appetite: usize) {
    let room = appetite.saturating_sub(body.len());
    body.extend_from_slice(data.get(..room).unwrap_or(data));
}

fn authority(visit: &Visit<'_>, host: Option<&str>) -> String {
    host.map_or_else(|| visit.server.to_string(), str::to_owned)
}

fn status_words(status: StatusCode) -> String {
    format!("status {}", status.as_u16())
}

fn status_list(ranges: &[(u16, u16)]) -> String {
    let range = |(first, last): &(u16, u16)| match first == last {
        true => first.to_string(),
        false => format!("{first}-{last}"),
    };
    let list: Vec<_> = ranges.iter().map(range).collect();
    format!("status {}", list.join(","))
}

/// A request that cannot be made is our fault.
fn untried(error: impl std::fmt::Display) -> Failure {
    Failure::Untried {
        error: error.to_string(),
    }
}

/// hyper tells what it did; the error inside says what happened.
fn deepest(error: hyper::Error) -> std::io::Error {
    let mut text = error.to_string();
    let mut inner = std::error::Error::source(&error);
    while let Some(cause) = inner {
        text = cause.to_string();
        inner = cause.source();
    }
    std::io::Error::other(text)
}

fn cut(text: &str) -> String {
    text.chars().take(20).collect()
}

/// A message of gRPC: not compressed, its length, and `HealthCheckRequest { service = 1 }`.
fn health_request(service: &str) -> Vec<u8> {
    let mut inside = Vec::new();
    if !service.is_empty() {
        inside.push(0x0a);
        let mut length = service.len();
        while length >= 0x80 {
            inside.push((length & 0x7f) as u8 | 0x80);
            length >>= 7;
        }
        inside.push(length as u8);
        inside.extend_from_slice(service.as_bytes());
    }
    let mut message = vec![0];
    message.extend_from_slice(&u32::try_from(inside.len()).unwrap_or(0).to_be_bytes());
    message.extend_from_slice(&inside);
    message
}

/// `HealthCheckResponse { status = 1 }` in a message of gRPC. A field that is not there is 0.
fn serving_status(body: &[u8]) -> Option<u64> {
    let (prefix, rest) = body.split_at_checked(5)?;
    let (&is_compressed, length) = prefix.split_first()?;
    let length = u32::from_be_bytes(length.try_into().ok()?) as usize;
    let mut rest = rest.get(..length).filter(|_| is_compressed == 0)?;
    let mut status = 0;
    while !rest.is_empty() {
        let tag = varint(&mut rest)?;
        match tag & 7 {
            0 => {
                let value = varint(&mut rest)?;
                if tag >> 3 == 1 {
                    status = value;
                }
            }
            1 => rest = rest.get(8..)?,
            2 => {
                let length = usize::try_from(varint(&mut rest)?).ok()?;
                rest = rest.get(length..)?;
            }
            5 => rest = rest.get(4..)?,
            _ => return None,
        }
    }
    Some(status)
}

fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, left) = rest.split_first()?;
        *rest = left;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_of_grpc() {
        assert_eq!(health_request(""), [0; 5]);
        assert_eq!(health_request("ab"), *b"\0\0\0\0\x04\x0a\x02ab");
        let long = health_request(&"x".repeat(200));
        assert_eq!(long[..8], *b"\0\0\0\0\xcb\x0a\xc8\x01");
    }

    #[test]
    fn answers_of_grpc() {
        let table: [(&[u8], Option<u64>); 9] = [
            (b"\0\0\0\0\x02\x08\x01", Some(1)),
            (b"\0\0\0\0\x02\x08\x02", Some(2)),
            (b"\0\0\0\0\0", Some(0)),
            // A field that is not known yet.
            (b"\0\0\0\0\x06\x12\x02hi\x08\x01", Some(1)),
            (b"\x01\0\0\0\x02\x08\x01", None),
            (b"\0\0\0\0\x03\x08\x01", None),
            (b"\0\0\0\0\x02\x12\xff", None),
            (b"\0\xff\xff\xff\xff", None),
            (b"", None),
        ];
        for (body, status) in table {
            assert_eq!(serving_status(body), status, "{}", body.escape_ascii());
        }
    }
}
