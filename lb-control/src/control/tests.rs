//! The API over a real socket: what it answers, what is described, and how it treats those who are slow.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
    sync::{broadcast, mpsc, watch},
    task::JoinSet,
    time::timeout,
};

mod configuration;

use super::{
    client,
    configuration::Desk,
    log,
    metrics::Compat,
    openapi,
    request::Request,
    routes::{paths, routes},
    serve::{Limits, serve},
    server::{Peer, Sources, serve_metrics},
};
use crate::{
    dataplane::{bpffs::Pins, connections::PinnedFlows},
    event::Event,
    explain::explainer::Explainer,
    health::Watch,
    journal::{About, Journal, Kind},
    status::measured::Measured,
};

/// For what comes at once on a machine that is not overloaded.
const SOON: Duration = Duration::from_secs(20);

/// A daemon without a data plane.
pub(crate) struct Daemon {
    pub(crate) folder: tempfile::TempDir,
    sources: Sources,
    tasks: JoinSet<()>,
}

/// How this daemon treats its clients.
const LIMITS: Limits = Limits {
    clients: 2,
    head: Duration::from_millis(300),
    stall: Duration::from_millis(300),
};

impl Daemon {
    /// One whose reconciler is this.
    fn new(answer: impl FnMut(Event) + Send + 'static) -> Self {
        Self::with(answer, drop)
    }

    /// One that obeys requests besides.
    pub(crate) fn with(
        mut answer: impl FnMut(Event) + Send + 'static,
        mut obey: impl FnMut(Request) + Send + 'static,
    ) -> Self {
        let (events, mut queue) = mpsc::channel(8);
        let (requests, mut orders) = mpsc::channel(1);
        let (wishes, _) = mpsc::channel(1);
        let (reports, _) = mpsc::channel(1);
        let (_, interfaces) = watch::channel(Vec::new());
        let (lines, _) = broadcast::channel(1);
        let folder = tempfile::tempdir().unwrap();
        let (_, loaded) = watch::channel(0);
        let sources = Sources {
            events,
            requests,
            flows: Arc::new(PinnedFlows::new(Pins::below(Path::new("/nowhere")))),
            nannies: Watch::spawn(reports).unwrap(),
            explainer: Explainer::new(Pins::below(Path::new("/nowhere"))),
            log: log::Log { wishes, lines },
            interfaces,
            sync: crate::sync::runner::Shown::default(),
            pair: watch::channel(alone()).1,
            failovers: watch::channel(crate::fos::Report::default()).1,
            journal: Journal::default(),
            measured: Arc::default(),
            desk: Desk::new(&folder.path().join("lvs.cf"), loaded),
        };
        let listener = UnixListener::bind(folder.path().join("lb.sock")).unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(serve(listener, routes(sources.clone()), LIMITS, Peer::of));
        tasks.spawn(async move {
            while let Some(event) = queue.recv().await {
                answer(event);
            }
        });
        tasks.spawn(async move {
            while let Some(request) = orders.recv().await {
                obey(request);
            }
        });
        Self {
            folder,
            sources,
            tasks,
        }
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.path().join("lb.sock")
    }

    async fn connect(&self) -> UnixStream {
        UnixStream::connect(self.socket()).await.unwrap()
    }

    /// The first piece of the answer to a question.
    async fn ask(&self, method: &str, path: &str) -> String {
        let mut stream = self.connect().await;
        let head = format!("{method} {path} HTTP/1.1\r\nhost: lb\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        piece(&mut stream).await
    }
}

async fn piece(stream: &mut UnixStream) -> String {
    let mut bytes = vec![0; 64 << 10];
    let read = timeout(SOON, stream.read(&mut bytes)).await.unwrap();
    String::from_utf8_lossy(&bytes[..read.unwrap()]).into_owned()
}

/// Whether a client is let go.
async fn is_let_go(stream: &mut UnixStream) -> bool {
    let mut rest = Vec::new();
    timeout(SOON, stream.read_to_end(&mut rest)).await.is_ok()
}

/// Nobody answers.
pub(crate) fn nobody(_: Event) {}

fn counts(connections: u64) -> Value {
    json!({"connections": connections, "packets_in": 5, "packets_out": 6, "bytes_in": 7, "bytes_out": 8})
}

fn measured(service: &str, servers: &[&str]) -> Measured {
    let rows: Vec<_> = servers
        .iter()
        .map(|server| {
            json!({
                "server": server, "name": server, "origin": "file", "present": true,
                "forwarding": {"method": "nat"}, "local": false, "weight": 3,
                "configured_weight": 3, "upper": 0, "lower": 0, "active": 11, "inactive": 12,
                "persistent": 13, "counts": counts(9), "rates": counts(0)
            })
        })
        .collect();
    let row = json!({
        "service": service, "name": "a \"web\"", "origin": "file", "matches": [], "scheduler": "wlc",
        "flags": {"fallback": false, "port": false, "compat": false}, "one_packet": false,
        "forwarding": {"method": "nat"}, "counts": counts(4), "rates": counts(0), "servers": rows
    });
    Measured {
        row: serde_json::from_value(row).unwrap(),
        states: vec![crate::status::ServerState::Up; servers.len()],
        sorry: Some(false),
    }
}

/// Two services, the first of which comes twice: there was a reload in between.
fn measures(event: Event) {
    match event {
        Event::Overall(reply) => {
            let report = json!({
                "role": "active", "interfaces": [], "services": [], "leaving": [],
                "flows": {"ipv4": 1, "ipv6": 2, "capacity": 64}, "memory": {"maps": 4096},
                "unsteered": [{"reason": "no-server", "fate": "drop", "packets": 3}],
                "events": [{"event": "flow-evicted", "count": 2}]
            });
            let _ = reply.send(serde_json::from_value(report).unwrap());
        }
        Event::Measure(from, reply) => {
            let web = measured("TCP 192.0.2.10:80", &["10.0.0.11:80"]);
            let mark = measured("FWM 7", &["10.0.0.12:0"]);
            let _ = reply.send(match from {
                0 => vec![web],
                1 => vec![web, mark],
                _ => Vec::new(),
            });
        }
        other @ (Event::Configured(_)
        | Event::Health(_)
        | Event::Way(_)
        | Event::Vlans(_)
        | Event::Tick
        | Event::Ordered { .. }
        | Event::Written(_)
        | Event::Zero(_)
        | Event::Table(..)
        | Event::Owners(_)
        | Event::Names(..)
        | Event::Status(_)) => panic!("{other:?}"),
    }
}

#[test]
fn the_document_is_the_one_in_docs() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/openapi.json");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(path, openapi::text()).unwrap();
    }
    let written = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        written == openapi::text(),
        "docs/openapi.json is not what the program describes: \
         UPDATE_DOCS=1 cargo test -p lb-control --lib control::tests writes it anew"
    );
}

#[tokio::test]
async fn what_is_answered_is_described_and_what_is_described_is_answered() {
    let daemon = Daemon::new(nobody);
    let document = openapi::openapi();
    let described = document["paths"].as_object().unwrap();
    let mut known: Vec<_> = paths().into_iter().map(|(path, _)| path).collect();
    let mut named: Vec<_> = described.keys().map(String::as_str).collect();
    known.sort_unstable();
    named.sort_unstable();
    assert_eq!(known, named);
    for (path, methods) in described {
        for method in ["get", "post", "put", "delete", "patch"] {
            let question = path.replace("{file}", "ip_vs").replace("{number}", "1");
            let answer = daemon.ask(&method.to_uppercase(), &question).await;
            let is_refused = answer.starts_with("HTTP/1.1 405");
            let is_described = methods.get(method).is_some();
            assert_eq!(!is_refused, is_described, "{method} {path}: {answer}");
        }
    }
    let changes = document["components"]["schemas"]["Change"]["oneOf"].as_array();
    assert!(changes.is_some_and(|changes| changes.len() == 12));
    // Every reference is to something that is there.
    let text = document.to_string();
    for reference in text.split("\"#/components/schemas/").skip(1) {
        let name = reference.split('"').next().unwrap();
        let schema = &document["components"]["schemas"][name];
        assert!(schema.is_object(), "{name}");
    }
}

#[tokio::test]
async fn what_cannot_be_explained_is_told() {
    let daemon = Daemon::new(|event| {
        // Whoever asks anything else gets no answer.
        if let Event::Status(reply) = event {
            drop(reply.send(crate::status::testing::report()));
        }
    });
    let table = [
        ("source=192.0.2.1:1", "400", "missing field"),
        (
            "source=192.0.2.1&destination=192.0.2.10:80",
            "400",
            "not understood",
        ),
        (
            "source=192.0.2.1:1&destination=192.0.2.10:80&protocol=gre",
            "400",
            "unknown variant",
        ),
        (
            "source=192.0.2.1:1&destination=%5B2001:db8::10%5D:80",
            "400",
            "of different families",
        ),
        (
            "source=192.0.2.1:1&destination=192.0.2.10:80&flags=SX",
            "400",
            "`X` is none of TCP's flags",
        ),
        (
            "source=192.0.2.1:1&destination=192.0.2.10:80&protocol=udp&flags=S",
            "400",
            "only TCP has flags",
        ),
        (
            "source=192.0.2.1:1&destination=192.0.2.10:80&interface=none0",
            "422",
            "there is no interface none0",
        ),
        (
            "source=192.0.2.1:1&destination=192.0.2.10:80",
            "422",
            "looking for the interfaces that the program is on",
        ),
    ];
    for (question, status, says) in table {
        let answer = daemon.ask("GET", &format!("/v1/explain?{question}")).await;
        let head = format!("HTTP/1.1 {status} ");
        assert!(answer.starts_with(&head), "{question}: {answer}");
        assert!(answer.contains(says), "{question}: {answer}");
    }
}

#[tokio::test]
async fn events_are_told_by_page_by_waiting_and_as_a_stream() {
    let daemon = Daemon::new(nobody);
    let journal = &daemon.sources.journal;
    let socket = daemon.socket();
    journal.tell(Kind::Started, About::ALL, "it runs");
    let page = client::events(&socket, None, 10, 0).await.unwrap();
    assert_eq!(page.events.len(), 1);

    let newest = page.newest;
    let waiting = tokio::spawn(async move { client::events(&socket, Some(newest), 10, 60).await });
    let mut stream = daemon.connect().await;
    let question =
        format!("GET /v1/events/stream HTTP/1.1\r\nhost: lb\r\nlast-event-id: {newest}\r\n\r\n");
    stream.write_all(question.as_bytes()).await.unwrap();
    let head = piece(&mut stream).await;
    assert!(head.contains("content-type: text/event-stream"), "{head}");

    journal.tell(Kind::Changed, About::ALL.by("uid 0"), "something");
    let page = timeout(SOON, waiting).await.unwrap().unwrap().unwrap();
    assert_eq!(page.events[0].text, "something");
    let told = piece(&mut stream).await;
    let number = page.events[0].number;
    for line in [format!("id: {number}"), "event: changed".to_owned()] {
        assert!(told.contains(&line), "{told}");
    }
    assert!(told.contains("\"who\":\"uid 0\""), "{told}");
}

#[tokio::test]
async fn metrics_are_told_over_the_socket_and_over_tcp() {
    let mut daemon = Daemon::new(measures);
    let text = client::metrics(&daemon.socket(), Some(Compat::Ipvs)).await;
    let text = String::from_utf8(text.unwrap().to_vec()).unwrap();
    let web = "service=\"a \\\"web\\\"\",vip=\"192.0.2.10\",port=\"80\",proto=\"TCP\"";
    let expected = [
        "# TYPE lb_build_info gauge".to_owned(),
        "# TYPE lb_service_connections_total counter".to_owned(),
        format!("lb_service_connections_total{{{web}}} 4"),
        format!("lb_service_packets_total{{{web},direction=\"out\"}} 6"),
        format!("lb_service_sorry{{{web}}} 0"),
        format!("lb_backend_up{{{web},server=\"10.0.0.11:80\"}} 1"),
        "lb_backend_weight{service=\"a \\\"web\\\"\",mark=\"7\",proto=\"FWM\",server=\"10.0.0.12:0\"} 3"
            .to_owned(),
        "lb_xdp_verdict_total{verdict=\"drop\",reason=\"no-server\"} 3".to_owned(),
        "lb_flow_table_entries{family=\"ipv6\"} 2".to_owned(),
        "lb_config_last_reload_success 1".to_owned(),
        "lb_events_total{kind=\"server-up\"} 0".to_owned(),
        "# HELP node_ipvs_connections_total The total number of connections made.".to_owned(),
        "# TYPE node_ipvs_connections_total counter".to_owned(),
        "node_ipvs_connections_total 8".to_owned(),
        "# TYPE node_ipvs_backend_connections_active gauge".to_owned(),
        "node_ipvs_backend_connections_active{local_address=\"192.0.2.10\",local_port=\"80\",\
         remote_address=\"10.0.0.11\",remote_port=\"80\",proto=\"TCP\",local_mark=\"\"} 11"
            .to_owned(),
        "node_ipvs_backend_weight{local_address=\"\",local_port=\"0\",\
         remote_address=\"10.0.0.12\",remote_port=\"0\",proto=\"FWM\",local_mark=\"00000007\"} 3"
            .to_owned(),
    ];
    for line in expected {
        let found = text.lines().filter(|other| *other == line).count();
        assert_eq!(found, 1, "{line}\n{text}");
    }

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    daemon
        .tasks
        .spawn(serve_metrics(listener, daemon.sources.clone()));
    let table = [
        ("GET /metrics", "200 OK", "lb_build_info{version="),
        ("POST /metrics", "405 Method Not Allowed", "another method"),
        ("GET /v1/status", "404 Not Found", "nothing at this path"),
    ];
    for (question, status, says) in table {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let head = format!("{question} HTTP/1.1\r\nhost: lb\r\nconnection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = String::new();
        let read = timeout(SOON, stream.read_to_string(&mut answer)).await;
        read.unwrap().unwrap();
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status}")),
            "{answer}"
        );
        assert!(answer.contains(says), "{answer}");
    }
}

#[tokio::test]
async fn whoever_is_slow_holds_up_nobody() {
    let daemon = Daemon::new(nobody);
    // All places are taken by those who do not go on.
    let slow = ["GET /v1/openapi.json HT", ""];
    let mut clients = Vec::new();
    for begin in slow {
        let mut stream = daemon.connect().await;
        stream.write_all(begin.as_bytes()).await.unwrap();
        clients.push(stream);
    }
    let answer = daemon.ask("GET", "/v1/openapi.json").await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    for mut client in clients {
        assert!(is_let_go(&mut client).await);
    }
}

#[tokio::test]
async fn whoever_does_not_take_an_answer_is_let_go() {
    let daemon = Daemon::new(nobody);
    let mut deaf = [daemon.connect().await, daemon.connect().await];
    for stream in &mut deaf {
        // Far more answers than a socket holds.
        let questions = "GET /v1/openapi.json HTTP/1.1\r\nhost: lb\r\n\r\n".repeat(200);
        stream.write_all(questions.as_bytes()).await.unwrap();
    }
    let answer = daemon.ask("GET", "/v1/openapi.json").await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[tokio::test(start_paused = true)]
async fn half_a_question_is_waited_for_in_vain() {
    let daemon = Daemon::new(nobody);
    let mut stream = daemon.connect().await;
    let half = "POST /v1/changes HTTP/1.1\r\nhost: lb\r\ncontent-length: 100\r\n\r\n{\"changes\":";
    stream.write_all(half.as_bytes()).await.unwrap();
    let answer = piece_however_long(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
}

async fn piece_however_long(stream: &mut UnixStream) -> String {
    let mut bytes = vec![0; 4096];
    let read = stream.read(&mut bytes).await.unwrap();
    String::from_utf8_lossy(&bytes[..read]).into_owned()
}

#[tokio::test]
async fn too_long_a_question_is_refused() {
    let daemon = Daemon::new(nobody);
    let table = [
        (
            "POST /v1/changes HTTP/1.1\r\nhost: lb\r\ncontent-length: 99999999999\r\n\r\n"
                .to_owned(),
            "413",
        ),
        (
            format!(
                "GET /v1/status HTTP/1.1\r\nx: {}\r\n\r\n",
                "x".repeat(20 << 10)
            ),
            "431",
        ),
        (
            "POST /v1/changes HTTP/1.1\r\nhost: lb\r\ncontent-length: 3\r\n\r\n{} ".to_owned(),
            "400",
        ),
    ];
    for (question, status) in table {
        let mut stream = daemon.connect().await;
        stream.write_all(question.as_bytes()).await.unwrap();
        let answer = piece(&mut stream).await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status}")),
            "{status}: {answer}"
        );
    }
}

/// A node without a partner.
fn alone() -> crate::heartbeat::runner::PairState {
    use crate::heartbeat::{
        lease::Lease,
        machine::{Node, Role},
        runner::PairState,
    };
    PairState {
        role: Role::Active,
        node: Node::Primary,
        pair: false,
        unfit: None,
        lease: Lease::None,
        partner: None,
        same_config: None,
        paths: Vec::new(),
        times: Default::default(),
    }
}
