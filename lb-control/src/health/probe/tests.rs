use std::pin::Pin;

use tokio::net::TcpListener;

use super::*;
use crate::model::{Probe, ServiceAddress, ServiceId};

/// Long enough that only a check that hangs gets there.
const GENEROUS: Duration = Duration::from_secs(30);

/// For checks that have to run into their limit.
const SHORT: Duration = Duration::from_millis(50);

fn target(protocol: Protocol, server: SocketAddr, limit: Duration, check: Check) -> Target {
    Target {
        service: ServiceId::Address(ServiceAddress {
            address: [192, 0, 2, 1].into(),
            port: server.port(),
            protocol,
        }),
        server,
        address: server,
        protocol,
        through: None,
        weight: 1,
        probe: Probe::new(check, limit, limit),
    }
}

fn talk(send: Option<&str>, expect: Option<Expect>) -> Check {
    let send = send.map(|text| text.as_bytes().to_vec());
    Check::Talk { send, expect }
}

fn prefix(text: &str) -> Option<Expect> {
    Some(Expect::Prefix(text.into()))
}

fn regex(pattern: &str) -> Option<Expect> {
    Some(Expect::Regex(regex::bytes::Regex::new(pattern).unwrap()))
}

/// What a check says, with the server's address replaced by `SERVER`.
async fn said(target: &Target) -> String {
    match tokio::time::timeout(GENEROUS, probe_once(target))
        .await
        .expect("the check hangs")
    {
        Ok(()) => "well".to_owned(),
        Err(failure) => failure
            .to_string()
            .replace(&target.server.to_string(), "SERVER"),
    }
}

type Served = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A server that treats each connection in its own way; the connection closes after that.
async fn tcp_server(serve: fn(TcpStream) -> Served) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream));
        }
    });
    address
}

fn closes(stream: TcpStream) -> Served {
    Box::pin(async move { drop(stream) })
}

fn never_answers(stream: TcpStream) -> Served {
    Box::pin(async move {
        let _open = stream;
        std::future::pending::<()>().await;
    })
}

fn greets(mut stream: TcpStream) -> Served {
    Box::pin(async move {
        let _gone = stream.write_all(b"220 mail ready\r\n").await;
        let _end = stream.read_u8().await;
    })
}

/// Answers a request for HTTP only when all of it has come.
fn answers_http(mut stream: TcpStream) -> Served {
    Box::pin(async move {
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            if stream.read_buf(&mut request).await.unwrap_or(0) == 0 {
                return;
            }
        }
        let _gone = stream.write_all(b"HTTP/1.1 500 Oops\r\n\r\n").await;
        let _end = stream.read_u8().await;
    })
}

/// Each byte of the greeting is a segment of its own.
fn greets_byte_by_byte(mut stream: TcpStream) -> Served {
    Box::pin(async move {
        let _as_usual = stream.set_nodelay(true);
        for byte in b"220 mail ready\r\n" {
            tokio::task::yield_now().await;
            if stream.write_all(&[*byte]).await.is_err() {
                return;
            }
        }
        let _end = stream.read_u8().await;
    })
}

fn one_byte_and_no_more(mut stream: TcpStream) -> Served {
    Box::pin(async move {
        let _gone = stream.write_all(b"2").await;
        std::future::pending::<()>().await;
    })
}

fn never_stops(mut stream: TcpStream) -> Served {
    Box::pin(async move { while stream.write_all(&[b'x'; 65536]).await.is_ok() {} })
}

/// With SCTP in the kernel this is a conversation; without, the failure names the reason.
#[tokio::test]
async fn sctp() {
    use socket2::{Domain, SockAddr, Socket, Type};
    let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(socket2::Protocol::SCTP));
    let Ok(socket) = socket else {
        let nobody = SocketAddr::from(([127, 0, 0, 1], 1));
        let target = target(Protocol::Sctp, nobody, GENEROUS, talk(None, None));
        let why = "the director could not check: this router's kernel has no SCTP (module sctp)";
        assert_eq!(said(&target).await, why);
        return;
    };
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    socket.bind(&SockAddr::from(any)).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    let target = |expect| target(Protocol::Sctp, address, GENEROUS, talk(None, expect));
    assert_eq!(
        said(&target(None)).await,
        "connect to SERVER: connection refused"
    );
    socket.listen(8).unwrap();
    socket.set_nonblocking(true).unwrap();
    let listener = TcpListener::from_std(socket.into()).unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(greets(stream));
        }
    });
    assert_eq!(said(&target(None)).await, "well");
    assert_eq!(said(&target(prefix("220 "))).await, "well");
    assert_eq!(
        said(&target(prefix("SSH"))).await,
        r#"answered "220 mail ready\r\n", expected "SSH""#
    );
}

#[tokio::test]
async fn tcp() {
    let xs = "x".repeat(60);
    let no_y = format!("answered \"{xs}\"…, expected a match of \"y\"");
    let get = || Some("GET / HTTP/1.0\r\n\r\n");
    let close = tcp_server(closes).await;
    let silent = tcp_server(never_answers).await;
    let mail = tcp_server(greets).await;
    let web = tcp_server(answers_http).await;
    let slow = tcp_server(greets_byte_by_byte).await;
    let stuck = tcp_server(one_byte_and_no_more).await;
    let endless = tcp_server(never_stops).await;

    let table = [
        (silent, GENEROUS, talk(None, None), "well"),
        (silent, GENEROUS, talk(get(), None), "well"),
        (
            silent,
            SHORT,
            talk(get(), prefix("HTTP")),
            "no answer within 50ms",
        ),
        (
            silent,
            SHORT,
            talk(None, Some(Expect::Anything)),
            "no answer within 50ms",
        ),
        (
            close,
            GENEROUS,
            talk(None, prefix("220")),
            r#"ended without an answer, expected "220""#,
        ),
        (mail, GENEROUS, talk(None, Some(Expect::Anything)), "well"),
        (mail, GENEROUS, talk(None, prefix("220 mail")), "well"),
        (mail, GENEROUS, talk(None, regex("mail +ready")), "well"),
        (
            mail,
            GENEROUS,
            talk(None, prefix("250")),
            r#"answered "220", expected "250""#,
        ),
        (web, GENEROUS, talk(get(), prefix("HTTP")), "well"),
        (
            web,
            GENEROUS,
            talk(get(), prefix("HTTP/1.1 200")),
            r#"answered "HTTP/1.1 500", expected "HTTP/1.1 200""#,
        ),
        (slow, GENEROUS, talk(None, prefix("220 mail")), "well"),
        (slow, GENEROUS, talk(None, regex("ready")), "well"),
        (
            stuck,
            SHORT,
            talk(None, prefix("220")),
            r#"answered "2" and no more within 50ms, expected "220""#,
        ),
        (endless, GENEROUS, talk(None, prefix("xxx")), "well"),
        (endless, GENEROUS, talk(None, regex("y")), &no_y),
    ];
    for (server, limit, check, expected) in table {
        let target = target(Protocol::Tcp, server, limit, check);
        assert_eq!(said(&target).await, expected, "{:?}", target.probe.check);
    }
}

#[tokio::test]
async fn nobody_listens() {
    let listener = TcpListener::bind("127.0.1.1:0").await.unwrap();
    let server = listener.local_addr().unwrap();
    drop(listener);
    let target = target(Protocol::Tcp, server, GENEROUS, talk(None, None));
    assert_eq!(said(&target).await, "connect to SERVER: connection refused");
}

#[tokio::test]
async fn ipv6() {
    let Ok(listener) = TcpListener::bind("[::1]:0").await else {
        return; // A machine without IPv6.
    };
    let server = listener.local_addr().unwrap();
    let target = target(Protocol::Tcp, server, GENEROUS, talk(None, None));
    assert_eq!(said(&target).await, "well");
}

#[tokio::test]
async fn the_answer_is_not_read_beyond_its_limit() {
    let server = tcp_server(never_stops).await;
    let mut stream = TcpStream::connect(server).await.unwrap();
    let mut received = Vec::new();
    let expect = regex("y").unwrap();
    let outcome = read_until_decided(&mut stream, &expect, &mut received, &mut nobody).await;
    assert!(outcome.unwrap().is_err());
    assert_eq!(received.len(), appetite(&expect));
}

#[tokio::test]
async fn what_is_only_sent_arrives() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = listener.local_addr().unwrap();
    let target = target(
        Protocol::Tcp,
        server,
        GENEROUS,
        talk(Some("QUIT\r\n"), None),
    );
    assert_eq!(said(&target).await, "well");
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut heard = String::new();
    stream.read_to_string(&mut heard).await.unwrap();
    assert_eq!(heard, "QUIT\r\n");
}

#[tokio::test]
async fn udp() {
    let echo = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let echoes = echo.local_addr().unwrap();
    tokio::spawn(async move {
        let mut text = [0; 100];
        while let Ok((length, from)) = echo.recv_from(&mut text).await {
            let _sent = echo.send_to(&text[..length], from).await;
        }
    });
    let mute = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let silent = mute.local_addr().unwrap();
    let closed = UdpSocket::bind("127.0.1.2:0").await.unwrap();
    let refuses = closed.local_addr().unwrap();
    drop(closed);

    let table = [
        (echoes, GENEROUS, talk(Some("ping"), prefix("pi")), "well"),
        (
            echoes,
            GENEROUS,
            talk(Some("ping"), Some(Expect::Anything)),
            "well",
        ),
        (echoes, GENEROUS, talk(Some("ping"), regex("g$")), "well"),
        (echoes, GENEROUS, talk(Some("ping"), None), "well"),
        (echoes, GENEROUS, talk(None, None), "well"),
        (
            echoes,
            GENEROUS,
            talk(Some("ping"), prefix("pong")),
            r#"answered "ping", expected "pong""#,
        ),
        (
            echoes,
            GENEROUS,
            talk(Some("pi"), prefix("ping")),
            r#"answered "pi", expected "ping""#,
        ),
        (
            echoes,
            GENEROUS,
            talk(None, Some(Expect::Anything)),
            "ended without an answer, expected anything",
        ),
        (
            silent,
            SHORT,
            talk(Some("ping"), prefix("p")),
            "no answer within 50ms",
        ),
        (silent, SHORT, talk(Some("ping"), None), "well"),
        (
            refuses,
            GENEROUS,
            talk(Some("ping"), prefix("p")),
            "read from SERVER: connection refused",
        ),
        (
            refuses,
            GENEROUS,
            talk(None, None),
            "read from SERVER: connection refused",
        ),
    ];
    for (server, limit, check, expected) in table {
        let target = target(Protocol::Udp, server, limit, check);
        assert_eq!(said(&target).await, expected, "{:?}", target.probe.check);
    }
}

#[tokio::test]
async fn what_has_no_ports_cannot_be_talked_to() {
    let nobody = SocketAddr::from(([127, 0, 0, 1], 0));
    for protocol in [Protocol::Ah, Protocol::Esp] {
        let target = target(protocol, nobody, GENEROUS, talk(None, None));
        let why = format!(
            "the director could not check: nobody can be asked by {protocol}; only a program can check this"
        );
        assert_eq!(said(&target).await, why);
    }
}

mod kinds;
