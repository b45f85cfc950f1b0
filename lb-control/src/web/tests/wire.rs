//! What comes over the wire: TLS, and those who are slow on purpose.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    sync::Arc,
    time::Duration,
};

use axum::{Router, routing::get};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, duplex},
    net::{TcpListener, TcpStream},
    time::{Instant, sleep},
};
use tokio_rustls::{
    TlsAcceptor, TlsConnector,
    rustls::{
        ClientConfig, RootCertStore,
        crypto::ring,
        pki_types::{CertificateDer, pem::PemObject as _},
    },
};

use crate::{
    control::serve::converse,
    web::{
        server::{BROWSERS, Door, HANDSHAKE, serve},
        tls::Identity,
    },
};

fn router() -> Router {
    Router::new().route("/", get(|| async { "hello" }))
}

#[tokio::test]
async fn tls_is_spoken_and_http_is_told_so() {
    let folder = tempfile::tempdir().unwrap();
    let (identity, _) = Identity::own(folder.path()).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let door = Door {
        router: router(),
        tls: Some(TlsAcceptor::from(identity.config().unwrap())),
        proxy: None,
    };
    let serving = tokio::spawn(serve(vec![listener], door));

    let pem = std::fs::read(folder.path().join("certificate.pem")).unwrap();
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(&pem).unwrap())
        .unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = TlsConnector::from(Arc::new(config));
    for name in ["127.0.0.1", "localhost"] {
        let stream = TcpStream::connect(address).await.unwrap();
        let name = name.to_owned().try_into().unwrap();
        let mut stream = connector.connect(name, stream).await.unwrap();
        stream
            .write_all(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
            .await
            .unwrap();
        let mut answer = String::new();
        // It may end without a word of TLS.
        let _ = stream.read_to_string(&mut answer).await;
        assert!(
            answer.starts_with("HTTP/1.1 200") && answer.ends_with("hello"),
            "{answer}"
        );
    }
    let told = tokio::task::spawn_blocking(move || {
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
        let mut answer = String::new();
        match stream.read_to_string(&mut answer) {
            Ok(_) => {}
            // What it did not read is answered by a reset, after its words.
            Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
        }
        answer
    });
    let told = told.await.unwrap();
    assert!(told.contains("write https:// in front"), "{told}");
    serving.abort();
}

#[tokio::test(start_paused = true)]
async fn who_says_nothing_is_let_go() {
    let folder = tempfile::tempdir().unwrap();
    let (identity, _) = Identity::own(folder.path()).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let door = Door {
        router: router(),
        tls: Some(TlsAcceptor::from(identity.config().unwrap())),
        proxy: None,
    };
    let serving = tokio::spawn(serve(vec![listener], door));
    for word in [&b""[..], b"\x16", b"\x16\x03\x01\x02\x00\x01"] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(word).await.unwrap();
        let began = Instant::now();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        assert!(
            began.elapsed() <= HANDSHAKE + Duration::from_secs(1),
            "{word:?}"
        );
    }
    serving.abort();
}

#[tokio::test(start_paused = true)]
async fn who_sends_a_byte_now_and_then_is_let_go() {
    let (mut client, server) = duplex(4_096);
    let serving = tokio::spawn(converse(server, router(), BROWSERS, ()));
    let began = Instant::now();
    let drip = async {
        for byte in b"GET / HTTP/1.1\r\nx-slow: "
            .iter()
            .chain(std::iter::repeat(&b'a'))
        {
            if client.write_all(&[*byte]).await.is_err() {
                return;
            }
            sleep(Duration::from_secs(1)).await;
        }
    };
    drip.await;
    assert!(
        began.elapsed() <= BROWSERS.head + Duration::from_secs(2),
        "{:?}",
        began.elapsed()
    );
    serving.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn who_has_nothing_more_to_ask_is_let_go() {
    let (mut client, server) = duplex(4_096);
    let serving = tokio::spawn(converse(server, router(), BROWSERS, ()));
    client
        .write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        .await
        .unwrap();
    let began = Instant::now();
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(began.elapsed() <= BROWSERS.head + Duration::from_secs(1));
    serving.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn who_takes_no_answer_is_let_go() {
    let large = Router::new().route("/", get(|| async { "x".repeat(1 << 20) }));
    let (mut client, server) = duplex(4_096);
    let serving = tokio::spawn(converse(server, large, BROWSERS, ()));
    client
        .write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        .await
        .unwrap();
    let began = Instant::now();
    serving.await.unwrap();
    assert!(began.elapsed() <= BROWSERS.stall + Duration::from_secs(1));
}

#[tokio::test]
async fn a_head_that_is_too_long_is_refused() {
    let (mut client, server) = duplex(1 << 20);
    let serving = tokio::spawn(converse(server, router(), BROWSERS, ()));
    let head = format!("GET / HTTP/1.1\r\nx-long: {}\r\n\r\n", "a".repeat(100_000));
    let _ = client.write_all(head.as_bytes()).await;
    let mut answer = String::new();
    let _ = client.read_to_string(&mut answer).await;
    assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
    serving.await.unwrap();
}
