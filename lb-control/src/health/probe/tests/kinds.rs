//! Each kind of check against a small server, and against hostile ones.

use std::{path::PathBuf, sync::Arc};

use hyper::body::Bytes;
use tokio::{io::AsyncRead, time::Instant};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        crypto::ring,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    },
};

use super::*;
use crate::{
    health::{
        agent::{Said, Share, Wish},
        dns::testing::answer,
        visit::Duplex,
    },
    model::{Greeting, Grpc, Http, Question},
};

/// What has to have come, and what is written then.
type Script = &'static [(&'static [u8], &'static [u8])];

type Serve = fn(TcpStream) -> Served;

/// A server that reads until each text has come and then writes what belongs to it.
async fn scripted(script: Script) -> SocketAddr {
    serving(move |mut stream| async move {
        let mut heard = Vec::new();
        for (until, answer) in script {
            while !heard.windows(until.len().max(1)).any(|part| part == *until) && !until.is_empty()
            {
                if stream.read_buf(&mut heard).await.unwrap_or(0) == 0 {
                    return;
                }
            }
            if stream.write_all(answer).await.is_err() {
                return;
            }
        }
        let _end = stream.read_to_end(&mut heard).await;
    })
    .await
}

async fn serving<F: Future<Output = ()> + Send + 'static>(
    serve: impl Fn(TcpStream) -> F + Send + 'static,
) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream));
        }
    });
    address
}

fn tcp(server: SocketAddr, check: Check) -> Target {
    target(Protocol::Tcp, server, GENEROUS, check)
}

fn http(status: (u16, u16), body: Option<Expect>) -> Http {
    Http {
        is_two: false,
        tls: None,
        is_head: false,
        path: "/health?x=1".to_owned(),
        host: None,
        status: vec![status],
        body,
    }
}

fn tls(name: Option<&str>, verify: bool) -> Tls {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/src/health/testdata/ca.pem");
    Tls {
        name: name.map(str::to_owned),
        verify,
        authorities: Some(PathBuf::from(file)),
        warn_days: 14,
    }
}

/// A server's end of TLS with one of the certificates.
fn acceptor(certificate: &[u8], alpn: &[&str]) -> TlsAcceptor {
    let provider = Arc::new(ring::default_provider());
    let certificate = CertificateDer::from_pem_slice(certificate).unwrap();
    let key = PrivateKeyDer::from_pem_slice(include_bytes!("../../testdata/key.pem")).unwrap();
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    TlsAcceptor::from(Arc::new(config))
}

const GOOD: &[u8] = include_bytes!("../../testdata/good.pem");
const OLD: &[u8] = include_bytes!("../../testdata/old.pem");

#[tokio::test]
async fn http_one() {
    let table: [(Script, Http, &str); 10] = [
        (&[(b"\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK")], http((200, 399), None), "well"),
        (&[(b"\r\n\r\n", b"HTTP/1.0 302 Found\r\n\r\n")], http((200, 399), None), "well"),
        (
            &[(b"\r\n\r\n", b"HTTP/1.1 503 Oops\r\nContent-Length: 0\r\n\r\n")],
            http((200, 399), None),
            "answered status 503, expected status 200-399",
        ),
        (
            &[(b"\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nall is OK")],
            http((200, 200), regex("OK$")),
            "well",
        ),
        (
            &[(b"\r\n\r\n", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nal\r\n2\r\nl!\r\n0\r\n\r\n")],
            http((200, 200), regex("^all!$")),
            "well",
        ),
        (
            &[(b"\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nhelp")],
            http((200, 200), regex("OK$")),
            r#"answered a page "help", expected a match of "OK$""#,
        ),
        (
            // Without a length the page ends with the connection.
            &[(b"GET /health?x=1 HTTP/1.1\r\n", b"HTTP/1.1 204 None\r\n\r\n")],
            http((204, 204), None),
            "well",
        ),
        (
            &[(b"host: web.example\r\n", b"HTTP/1.1 200 OK\r\n\r\n")],
            Http { host: Some("web.example".to_owned()), ..http((200, 200), None) },
            "well",
        ),
        (
            &[(b"HEAD ", b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")],
            Http { is_head: true, ..http((200, 200), None) },
            "well",
        ),
        (
            &[(b"\r\n\r\n", b"SSH-2.0-OpenSSH\r\n")],
            http((200, 200), None),
            "read from SERVER: invalid HTTP version parsed",
        ),
    ];
    for (script, http, expected) in table {
        let server = scripted(script).await;
        let told = said(&tcp(server, Check::Http(http))).await;
        assert_eq!(told, expected);
    }
    let closes = tcp_server(closes).await;
    let told = said(&tcp(closes, Check::Http(http((200, 200), None)))).await;
    assert!(told.starts_with("read from SERVER: "), "{told}");
}

#[tokio::test]
async fn https_and_its_certificates() {
    let served = |certificate: &'static [u8]| {
        let acceptor = acceptor(certificate, &["http/1.1"]);
        serving(move |stream| {
            let acceptor = acceptor.clone();
            async move {
                let Ok(mut stream) = acceptor.accept(stream).await else {
                    return;
                };
                let mut heard = Vec::new();
                while !heard.ends_with(b"\r\n\r\n") {
                    if stream.read_buf(&mut heard).await.unwrap_or(0) == 0 {
                        return;
                    }
                }
                let _gone = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
                let _gone = stream.shutdown().await;
            }
        })
    };
    let (good, old) = (served(GOOD).await, served(OLD).await);
    let system = Tls {
        authorities: None,
        ..tls(None, true)
    };
    let missing = Tls {
        authorities: Some(PathBuf::from("/nowhere/ca.pem")),
        ..tls(None, true)
    };
    let invalid = "TLS handshake with SERVER: invalid peer certificate: ";
    let table = [
        (good, tls(None, true), "well".to_owned()),
        (good, tls(Some("web.example"), true), "well".to_owned()),
        (
            good,
            tls(Some("other.example"), true),
            format!("{invalid}certificate not valid for name"),
        ),
        (good, system, format!("{invalid}UnknownIssuer")),
        (good, tls(Some("other.example"), false), "well".to_owned()),
        (
            old,
            tls(None, true),
            format!("{invalid}certificate expired"),
        ),
        (old, tls(None, false), "well".to_owned()),
        (
            good,
            missing,
            "the director could not check: /nowhere/ca.pem".to_owned(),
        ),
    ];
    for (server, tls, expected) in table {
        for check in [
            Check::Http(Http {
                tls: Some(tls.clone()),
                ..http((200, 200), None)
            }),
            Check::Tls {
                tls: tls.clone(),
                send: None,
                expect: None,
            },
            Check::Tls {
                tls: tls.clone(),
                send: Some(b"GET / HTTP/1.0\r\n\r\n".to_vec()),
                expect: prefix("HTTP/1.1 200"),
            },
        ] {
            let told = said(&tcp(server, check)).await;
            // A system that trusts nobody says so.
            let is_bare = told.contains("no file of certificates");
            assert!(
                told.starts_with(&expected) || is_bare,
                "{told}, not {expected}"
            );
        }
    }
    let days = |server| async move {
        let check = Check::Tls {
            tls: tls(None, false),
            send: None,
            expect: None,
        };
        let mut seen = None;
        let outcome = probe_told(&tcp(server, check), &mut |happening: Happening<'_>| {
            if let Happening::Secured { days } = happening {
                seen = days;
            }
        })
        .await;
        outcome.unwrap();
        seen.unwrap()
    };
    assert!(days(good).await > 20_000);
    assert!(days(old).await < 0);
}

/// A server of HTTP/2 that answers by path: gRPC's message and trailers, or a page.
async fn serve_two(stream: impl Duplex) {
    let Ok(mut connection) = h2::server::handshake(stream).await else {
        return;
    };
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        let path = request.uri().path().to_owned();
        let mut answer = hyper::Response::builder();
        answer = answer.status(if path == "/503" { 503 } else { 200 });
        let Ok(mut body) = respond.send_response(answer.body(()).unwrap(), false) else {
            continue;
        };
        if !path.starts_with("/grpc") {
            let _gone = body.send_data(Bytes::from_static(b"all is OK"), true);
            continue;
        }
        tokio::spawn(async move {
            let mut asked = request.into_body();
            let mut message = Vec::new();
            while let Some(Ok(data)) = asked.data().await {
                message.extend_from_slice(&data);
            }
            let service = message.get(7..).unwrap_or_default().to_vec();
            let (status, code) = match service.as_slice() {
                b"" | b"good" => (&b"\0\0\0\0\x02\x08\x01"[..], "0"),
                b"bad" => (&b"\0\0\0\0\x02\x08\x02"[..], "0"),
                _ => (&b""[..], "5"),
            };
            let _gone = body.send_data(Bytes::from(status.to_vec()), false);
            let mut trailers = hyper::HeaderMap::new();
            trailers.insert("grpc-status", code.parse().unwrap());
            trailers.insert("grpc-message", "unknown service".parse().unwrap());
            let _gone = body.send_trailers(trailers);
        });
    }
}

#[tokio::test]
async fn http_two_and_grpc() {
    let plain = serving(serve_two).await;
    let secured = |alpn: &'static [&'static str]| {
        let acceptor = acceptor(GOOD, alpn);
        serving(move |stream| {
            let acceptor = acceptor.clone();
            async move {
                if let Ok(stream) = acceptor.accept(stream).await {
                    serve_two(stream).await;
                }
            }
        })
    };
    let (over_tls, without_alpn) = (secured(&["h2"]).await, secured(&[]).await);
    let page = |tls: Option<Tls>, path: &str, body| {
        let http = http((200, 299), body);
        Check::Http(Http {
            is_two: true,
            tls,
            path: path.to_owned(),
            ..http
        })
    };
    let health = |tls: Option<Tls>, service: &str| {
        Check::Grpc(Grpc {
            tls,
            host: None,
            service: service.to_owned(),
        })
    };
    let good = || Some(tls(Some("web.example"), true));
    let table = [
        (plain, page(None, "/", regex("OK")), "well"),
        (
            plain,
            page(None, "/", regex("KO")),
            r#"answered a page "all is OK", expected a match of "KO""#,
        ),
        (
            plain,
            page(None, "/503", None),
            "answered status 503, expected status 200-299",
        ),
        (over_tls, page(good(), "/", regex("OK")), "well"),
        (
            without_alpn,
            page(good(), "/", None),
            "answered no HTTP/2, expected it by ALPN",
        ),
        (plain, health(None, ""), "well"),
        (plain, health(None, "good"), "well"),
        (over_tls, health(good(), "good"), "well"),
        (
            plain,
            health(None, "bad"),
            "answered NOT_SERVING, expected SERVING",
        ),
        (
            plain,
            health(None, "other"),
            r#"answered grpc-status 5 "unknown service", expected SERVING"#,
        ),
    ];
    for (server, check, expected) in table {
        let target = tcp(server, check);
        assert_eq!(said(&target).await, expected, "{:?}", target.probe.check);
    }
    let one = scripted(&[(b"", b"HTTP/1.1 400 Bad Request\r\n\r\n")]).await;
    let told = said(&tcp(one, page(None, "/", None))).await;
    assert!(told.starts_with("read from SERVER: "), "{told}");
}

#[tokio::test]
async fn dns_by_both_protocols() {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let by_datagram = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let mut query = [0; 512];
        while let Ok((length, from)) = socket.recv_from(&mut query).await {
            // Somebody else's answer comes first.
            let mut other = answer(&query[..length], 2, &[]);
            other[0] ^= 0xff;
            let _sent = socket.send_to(&other, from).await;
            let right = answer(&query[..length], 0, &[(1, &[192, 0, 2, 7])]);
            let _sent = socket.send_to(&right, from).await;
        }
    });
    let by_stream = serving(|mut stream| async move {
        let Ok(length) = stream.read_u16().await else {
            return;
        };
        let mut query = vec![0; length.into()];
        let _all = stream.read_exact(&mut query).await;
        let answer = answer(&query, 0, &[(1, &[192, 0, 2, 7])]);
        for part in [
            &u16::try_from(answer.len()).unwrap().to_be_bytes()[..],
            &answer,
        ] {
            let _sent = stream.write_all(part).await;
        }
        let _end = stream.read_u8().await;
    })
    .await;
    let ask = |wanted: &str| {
        Check::Dns(Question {
            name: "www.example".to_owned(),
            kind: 1,
            rcode: Some(0),
            answer: Some(wanted.to_owned()),
        })
    };
    for (protocol, server) in [(Protocol::Udp, by_datagram), (Protocol::Tcp, by_stream)] {
        let told = said(&target(protocol, server, GENEROUS, ask("192.0.2.7"))).await;
        assert_eq!(told, "well", "{protocol}");
        let told = said(&target(protocol, server, GENEROUS, ask("192.0.2.8"))).await;
        assert_eq!(
            told, r#"answered "192.0.2.7", expected "192.0.2.8""#,
            "{protocol}"
        );
    }
}

#[tokio::test]
async fn echoes() {
    for address in ["127.0.0.1:0", "[::1]:0"] {
        let server: SocketAddr = address.parse().unwrap();
        let told = said(&tcp(server, Check::Icmp)).await;
        // Where nobody may send echoes, or there is no IPv6, that is told.
        let is_known = told.starts_with("the director could not check: sending an echo needs")
            || server.is_ipv6() && told.contains("assign requested address");
        assert!(told == "well" || is_known, "{told}");
    }
}

const MYSQL: &[u8] = b"\x12\0\0\0\x0a8.0.30\0\x01\0\0\0abcdefgh\0";

#[tokio::test]
async fn greetings() {
    let smtp = || Greeting::Smtp {
        name: Some("lb.example".to_owned()),
    };
    let mysql = || Greeting::MySql {
        user: "lb".to_owned(),
    };
    let postgres = || Greeting::PostgreSql {
        user: "lb".to_owned(),
    };
    let table: [(Script, Greeting, &str); 17] = [
        (
            &[
                (b"", b"220-mail\r\n220 ready\r\n"),
                (b"EHLO lb.example\r\n", b"250-mail\r\n250 HELP\r\n"),
                (b"QUIT\r\n", b"221 bye\r\n"),
            ],
            smtp(),
            "well",
        ),
        (
            &[(b"", b"554 no\r\n")],
            smtp(),
            r#"answered "554 no\r\n", expected 220 …"#,
        ),
        (
            &[(b"", b"220 mail\r\n"), (b"EHLO", b"421 busy\r\n")],
            smtp(),
            r#"answered "421 busy\r\n", expected 250 …"#,
        ),
        (
            &[(b"", MYSQL), (b"lb\0\0", b"\x07\0\0\x02\0\0\0\x02\0\0\0")],
            mysql(),
            "well",
        ),
        (
            &[
                (b"", MYSQL),
                (b"lb\0\0", b"\x0f\0\0\x02\xff\x15\x04#28000denied"),
            ],
            mysql(),
            "well",
        ),
        (
            &[(b"", b"\x0b\0\0\0\xff\x10\x04Too many")],
            mysql(),
            r#"answered error 1040 "Too many", expected a greeting of MySQL"#,
        ),
        (
            &[
                (b"", MYSQL),
                (b"lb\0\0", b"\x0d\0\0\x02\xff\x10\x04#08004many"),
            ],
            mysql(),
            r#"answered error 1040 "many", expected an answer of MySQL"#,
        ),
        (
            &[(b"", b"SSH-2.0-OpenSSH\r\n")],
            mysql(),
            r#"answered "SSH-2.0-OpenSSH\r\n", expected a greeting of MySQL"#,
        ),
        (&[(b"lb\0", b"R\0\0\0\x08\0\0\0\x05")], postgres(), "well"),
        (
            &[(b"lb\0", b"E\0\0\0\x11SFATAL\0C28000\0\0")],
            postgres(),
            "well",
        ),
        (
            &[(b"lb\0", b"E\0\0\0\x17SFATAL\0C57P03\0Mwait\0\0")],
            postgres(),
            r#"answered error 57P03 "wait", expected an answer of PostgreSQL"#,
        ),
        (
            &[(b"lb\0", b"hello, who are you?")],
            postgres(),
            r#"answered "hello, who are you?", expected an answer of PostgreSQL"#,
        ),
        (&[(b"PING\r\n", b"+PONG\r\n")], Greeting::Redis, "well"),
        (
            &[(b"PING\r\n", b"-NOAUTH Authentication required.\r\n")],
            Greeting::Redis,
            "well",
        ),
        (
            &[(b"PING\r\n", b"-LOADING Redis is loading\r\n")],
            Greeting::Redis,
            r#"answered "-LOADING Redis is loading\r\n", expected +PONG"#,
        ),
        (
            &[(b"PING\r\n", b"-MASTERDOWN x\r\n")],
            Greeting::Redis,
            r#"answered "-MASTERDOWN x\r\n", expected +PONG"#,
        ),
        (
            &[(b"PING\r\n", b"$5\r\nhello\r\n")],
            Greeting::Redis,
            r#"answered "$5\r\nhello\r\n", expected +PONG"#,
        ),
    ];
    for (script, greeting, expected) in table {
        // A message that is announced longer than it is would be waited for.
        let server = scripted(script).await;
        let mut target = tcp(server, Check::Greeting(greeting));
        target.probe.limit = Some(GENEROUS);
        let told = said(&target).await;
        assert_eq!(told, expected);
    }
}

#[tokio::test]
async fn agents() {
    let table: [(Script, Option<Said>); 3] = [
        (
            &[(b"", b"up 50%\n")],
            Some(Said {
                state: Some(Wish::Up),
                share: Some(Share::Percent(50)),
            }),
        ),
        (
            &[(b"", b"{\n\"weight\": 3\n}\n")],
            Some(Said {
                state: None,
                share: Some(Share::Weight(3)),
            }),
        ),
        (&[(b"", b"what?\n")], None),
    ];
    for (script, expected) in table {
        let server = scripted(script).await;
        let target = tcp(server, Check::Icmp);
        let said = ask_agent(&target, server.port()).await;
        assert_eq!(said.ok(), expected);
    }
}

#[tokio::test]
async fn a_failed_check_is_tried_again() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = listener.local_addr().unwrap();
    tokio::spawn(async move {
        for answer in [b"500", b"500", b"220"] {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _gone = stream.write_all(answer).await;
            let _end = stream.read_u8().await;
        }
    });
    let mut target = target(Protocol::Tcp, server, SHORT, talk(None, prefix("220")));
    target.probe.limit = Some(GENEROUS);
    target.probe.interval = GENEROUS;
    target.probe.retries = 2;
    let mut again = 0;
    let outcome = probe_told(&target, &mut |happening: Happening<'_>| {
        again += usize::from(matches!(happening, Happening::Again(_)));
    })
    .await;
    assert_eq!((outcome, again), (Ok(()), 2));
}

fn says_nothing(stream: TcpStream) -> Served {
    never_answers(stream)
}

/// One byte per second, and never an end.
fn trickles(mut stream: TcpStream) -> Served {
    Box::pin(async move {
        while stream.write_all(b"2").await.is_ok() {
            sleep(Duration::from_secs(1)).await;
        }
    })
}

fn answers_garbage(mut stream: TcpStream) -> Served {
    Box::pin(async move {
        let garbage: Vec<u8> = (0..10_000_u32).map(|n| ((n * 7919) >> 3) as u8).collect();
        let _gone = stream.write_all(&garbage).await;
        let _end = read_all(&mut stream).await;
    })
}

/// The beginning of a handshake of TLS whose record never comes.
fn promises_a_record(mut stream: TcpStream) -> Served {
    Box::pin(async move {
        let _gone = stream.write_all(b"\x16\x03\x03\x40\x00\x02").await;
        let _end = read_all(&mut stream).await;
    })
}

/// Headers without an end.
fn endless_headers(mut stream: TcpStream) -> Served {
    Box::pin(async move {
        let mut text = b"HTTP/1.1 200 OK\r\n".to_vec();
        while stream.write_all(&text).await.is_ok() {
            text = b"x-filler: xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\r\n".to_vec();
        }
    })
}

async fn read_all(stream: &mut (impl AsyncRead + Unpin)) {
    let _gone = tokio::io::copy(stream, &mut tokio::io::sink()).await;
}

/// Time is virtual: it goes on when everybody waits. Whatever a server does, each check has an end within its
/// limit, does not find it well, and has not heard more than it looks at.
#[tokio::test(start_paused = true)]
async fn hostile_servers() {
    let limit = Duration::from_secs(10);
    let checks = || {
        let secure = || Some(tls(None, false));
        let page = |is_two, tls| {
            Check::Http(Http {
                is_two,
                tls,
                ..http((200, 200), regex("never"))
            })
        };
        [
            talk(None, prefix("250 ready")),
            talk(None, regex("never")),
            Check::Tls {
                tls: tls(None, false),
                send: None,
                expect: prefix("x"),
            },
            page(false, None),
            page(false, secure()),
            page(true, None),
            page(true, secure()),
            Check::Grpc(Grpc {
                tls: None,
                host: None,
                service: String::new(),
            }),
            Check::Dns(Question {
                name: String::new(),
                kind: 6,
                rcode: Some(0),
                answer: None,
            }),
            Check::Greeting(Greeting::Smtp { name: None }),
            Check::Greeting(Greeting::MySql {
                user: "lb".to_owned(),
            }),
            Check::Greeting(Greeting::PostgreSql {
                user: "lb".to_owned(),
            }),
            Check::Greeting(Greeting::Redis),
        ]
    };
    let servers: [(&str, Serve); 7] = [
        ("closes", closes),
        ("says nothing", says_nothing),
        ("never stops", never_stops),
        ("trickles", trickles),
        ("garbage", answers_garbage),
        ("promises", promises_a_record),
        ("headers", endless_headers),
    ];
    for (name, serve) in servers {
        let server = tcp_server(serve).await;
        for check in checks() {
            let mut target = target(Protocol::Tcp, server, limit, check);
            target.probe.limit = Some(limit);
            let began = Instant::now();
            let mut heard = 0;
            let outcome = probe_told(&target, &mut |happening: Happening<'_>| {
                if let Happening::Received(bytes) = happening {
                    heard += bytes.len();
                }
            })
            .await;
            let case = format!("{name}: {:?} {outcome:?}", target.probe.check);
            assert!(outcome.is_err(), "{case}");
            assert!(
                began.elapsed() <= limit + Duration::from_millis(10),
                "{case}"
            );
            assert!(heard <= 70_000, "{case}: {heard}");
        }
        let target = target(Protocol::Tcp, server, limit, Check::Icmp);
        let began = Instant::now();
        let agent = ask_agent(&target, server.port()).await;
        assert!(agent.is_err(), "{name}: {agent:?}");
        assert!(
            began.elapsed() <= limit + Duration::from_millis(10),
            "{name}"
        );
    }
}
