//! The daemon's socket: what is asked for, and what is made of the answers.

use std::{
    io::{Read, Write},
    os::unix::net::UnixListener,
    path::Path,
    thread,
};

use lb_control::{
    control::change::{Change, Changes, Refused, Why},
    ipvsadm::{Daemon, Director, Fault},
};

use super::fixture;

/// Answers one question, and gives it back.
fn answer(socket: &Path, status: &str, body: String) -> thread::JoinHandle<String> {
    let listener = UnixListener::bind(socket).unwrap();
    let status = status.to_owned();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut question = Vec::new();
        let mut piece = [0; 4096];
        while !is_whole(&question) {
            let length = stream.read(&mut piece).unwrap();
            assert_ne!(length, 0, "the question ends before its end");
            question.extend_from_slice(&piece[..length]);
        }
        let head = format!(
            "HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(body.as_bytes()).unwrap();
        String::from_utf8(question).unwrap()
    })
}

fn is_whole(question: &[u8]) -> bool {
    let text = String::from_utf8_lossy(question);
    let Some((head, body)) = text.split_once("\r\n\r\n") else {
        return false;
    };
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "))
        .map_or(0, |length| length.parse().unwrap());
    body.len() >= length
}

/// What `ask` makes of an answer, and the question.
fn ask<T>(
    status: &str,
    body: String,
    ask: impl FnOnce(&mut Daemon) -> Result<T, Fault>,
) -> (Result<T, Fault>, String) {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("lb.sock");
    let server = answer(&socket, status, body);
    let mut daemon = Daemon::at(socket).unwrap();
    let made = ask(&mut daemon);
    (made, server.join().unwrap())
}

#[test]
fn the_table_is_asked_for() {
    let table = fixture::table();
    let body = serde_json::to_string(&table).unwrap();
    let (got, question) = ask("200 OK", body, |daemon| daemon.table(None));
    assert_eq!(got.unwrap(), table);
    assert!(
        question.starts_with("GET /v1/table HTTP/1.1\r\n"),
        "{question}"
    );
}

#[test]
fn connections_come_line_by_line() {
    let connections = fixture::connections();
    let body: String = connections
        .iter()
        .map(|connection| serde_json::to_string(connection).unwrap() + "\n")
        .collect();
    let mut got = Vec::new();
    let (made, question) = ask("200 OK", body, |daemon| {
        daemon.connections(&mut |connection| {
            got.push(connection);
            Ok(())
        })
    });
    made.unwrap();
    assert_eq!(got, connections);
    assert!(question.starts_with("GET /v1/connections "), "{question}");
}

#[test]
fn changes_are_sent_and_refusals_understood() {
    let changes = Changes {
        changes: vec![Change::Clear],
        dry_run: false,
    };
    let (made, question) = ask(
        "200 OK",
        r#"{"changed":1,"notes":["so"]}"#.to_owned(),
        |daemon| daemon.change(&changes),
    );
    assert_eq!(made.unwrap().notes, ["so"]);
    assert!(question.starts_with("POST /v1/changes "), "{question}");
    assert!(
        question.ends_with(r#"{"changes":[{"change":"clear"}],"dry_run":false}"#),
        "{question}"
    );
    let refused = Refused {
        index: Some(3),
        why: Why::NoServer,
        text: "no".to_owned(),
    };
    let body = serde_json::to_string(&refused).unwrap();
    let (made, _) = ask("409 Conflict", body, |daemon| daemon.change(&changes));
    assert!(matches!(made, Err(Fault::Refused(got)) if got == refused));
    let (made, _) = ask("500 Oh", "oh".to_owned(), |daemon| daemon.change(&changes));
    assert_eq!(
        made.unwrap_err().to_string(),
        "the daemon answers 500 Internal Server Error"
    );
}

#[test]
fn a_daemon_that_is_not_there_is_told_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let mut daemon = Daemon::at(folder.path().join("lb.sock")).unwrap();
    let fault = daemon.table(None).unwrap_err().to_string();
    assert!(fault.starts_with("no daemon answers at "), "{fault}");
    assert_eq!(fault.lines().count(), 1);
}
