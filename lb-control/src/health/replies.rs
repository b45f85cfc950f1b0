//! What any bytes come to as the answer of a server: every protocol that nannies speak hears them. For those who look
//! for bytes that a nanny cannot bear.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};

use super::{
    agent, certificate,
    check::{Rest, Verdict, judge},
    dial::Dial,
    dns, greeting, http, icmp,
    visit::Visit,
    witness::nobody,
};
use crate::model::{Expect, Greeting, Grpc, Http, Question};

/// Whoever answers.
const SERVER: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 9);

/// How long it may take; nothing is waited for, since all has been said.
const LIMIT: Duration = Duration::from_secs(10);

/// Where what a server says goes on when it has heard something: a record separator. One of HTTP/1 begins with it, for
/// what comes before the request is no answer to it.
const NEXT: u8 = 0x1e;

/// How much a nanny says before it has heard anything.
const ROOM: usize = 1 << 20;

/// The protocols that take these bytes for a good answer.
pub async fn heard(bytes: &[u8]) -> Vec<&'static str> {
    let mut good = Vec::new();
    let mut note = |name, is_good| {
        if is_good {
            good.push(name);
        }
    };
    let greetings = [
        ("smtp", Greeting::Smtp { name: None }),
        ("mysql", Greeting::MySql { user: "lb".into() }),
        ("postgresql", Greeting::PostgreSql { user: "lb".into() }),
        ("redis", Greeting::Redis),
    ];
    for (name, greeting) in greetings {
        let (mut stream, server) = says(bytes);
        let mut witness = nobody;
        let mut visit = Visit::begin(Dial::plain(SERVER), LIMIT, &mut witness);
        let talk = greeting::converse(&mut visit, &mut stream, &greeting);
        note(name, meanwhile(server, talk).await.is_ok());
    }
    for (name, is_two) in [("http", false), ("h2", true)] {
        let page = Http {
            tls: None,
            is_two,
            is_head: false,
            path: "/".into(),
            host: None,
            status: vec![(200, 399)],
            body: Some(Expect::Anything),
        };
        let (stream, server) = says(bytes);
        let mut witness = nobody;
        let mut visit = Visit::begin(Dial::plain(SERVER), LIMIT, &mut witness);
        let talk = http::page_over(&mut visit, Box::new(stream), &page);
        note(name, meanwhile(server, talk).await.is_ok());
    }
    let grpc = Grpc {
        tls: None,
        service: String::new(),
        host: None,
    };
    let (stream, server) = says(bytes);
    let mut witness = nobody;
    let mut visit = Visit::begin(Dial::plain(SERVER), LIMIT, &mut witness);
    let talk = http::health_over(&mut visit, Box::new(stream), &grpc);
    note("grpc", meanwhile(server, talk).await.is_ok());

    let question = Question {
        name: "example.org".into(),
        kind: 1,
        rcode: Some(0),
        answer: Some("192.0.2.1".into()),
    };
    note("dns", dns::answers(bytes, &question));
    note("agent", agent::parse(bytes).is_some());
    note(
        "certificate",
        certificate::days_left(bytes, Duration::ZERO).is_some(),
    );
    for is_v4 in [true, false] {
        note("icmp", icmp::is_answer(bytes, is_v4, 7));
    }
    let prefix = Expect::Prefix(b"220 ".to_vec());
    note(
        "prefix",
        judge(&prefix, bytes, Rest::Ended) == Verdict::Matched,
    );
    good
}

/// A stream, and a server at its other end: it says a part of these bytes, and the next one when it has heard something.
/// In the end it says no more, and goes on listening.
fn says(bytes: &[u8]) -> (DuplexStream, impl Future<Output = ()>) {
    let (ours, mut theirs) = duplex(bytes.len().max(ROOM));
    let server = async move {
        let mut heard = [0; 4096];
        for (place, part) in bytes.split(|byte| *byte == NEXT).enumerate() {
            if place > 0 {
                // A nanny that has nothing to say yet waits for more.
                tokio::select! {
                    biased;
                    _ = theirs.read(&mut heard) => {}
                    () = moments() => {}
                }
            }
            // Whoever does not want to hear it has gone.
            let _ = theirs.write_all(part).await;
        }
        let _ = theirs.shutdown().await;
        while let Ok(1..) = theirs.read(&mut heard).await {}
        std::future::pending().await
    };
    (ours, server)
}

/// As long as it takes to answer.
async fn moments() {
    for _ in 0..8 {
        tokio::task::yield_now().await;
    }
}

async fn meanwhile<T>(server: impl Future<Output = ()>, talk: impl Future<Output = T>) -> T {
    tokio::select! {
        done = talk => done,
        // It never ends before.
        () = server => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a fuzzer begins with is what servers say.
    #[tokio::test]
    async fn what_a_fuzzer_begins_with_is_what_servers_say() {
        let folder =
            std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/replies");
        let table = [
            ("smtp", "smtp"),
            ("mysql", "mysql"),
            ("postgresql", "postgresql"),
            ("redis", "redis"),
            ("http", "http"),
            ("dns", "dns"),
            ("agent", "agent"),
            ("agent-json", "agent"),
        ];
        for (file, protocol) in table {
            let bytes = std::fs::read(folder.join(file)).unwrap();
            let good = heard(&bytes).await;
            assert!(good.contains(&protocol), "{file}: {good:?}");
            // And wherever it breaks off, nobody minds.
            for length in 0..bytes.len() {
                heard(&bytes[..length]).await;
            }
        }
    }
}
