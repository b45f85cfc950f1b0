//! lvs.cf over the socket: read, checked, written, and its servers tried.

use std::{
    path::Path,
    sync::{Arc, Mutex},
};

use serde_json::{Value, json};
use tokio::{io::AsyncWriteExt as _, net::TcpListener};

use super::{Daemon, client, nobody, piece_however_long};
use crate::{
    config::{
        store::Fingerprint,
        text::{Encoding, Text},
    },
    control::{
        client::NotReplaced,
        configuration::{Replacement, Stage},
        probe::Trial,
        request::{Comparison, Reloaded, Request},
    },
    difference::differences,
    model::Site,
};

const FILE: &str = "# ours\nprimary = 10.0.0.250\nservice = lvs\nvirtual web {\n active = 1\n \
                    address = 192.0.2.10 lo:1\n port = 80\n server one {\n  address = 10.0.0.1\n  active = 1\n }\n}\n";

/// A daemon that tells what was asked of it, and serves nothing.
fn daemon() -> (Daemon, Arc<Mutex<Vec<String>>>) {
    let asked = Arc::<Mutex<Vec<String>>>::default();
    let notes = Arc::clone(&asked);
    let daemon = Daemon::with(nobody, move |request| match request {
        Request::Reload {
            discard,
            who,
            reply,
        } => {
            let mut notes = notes.lock().unwrap();
            notes.push(format!("reload {discard} for {who}"));
            let refuse = notes.len() > 1;
            let _ = reply.send(match refuse {
                true => Err("there is no interface `lo`".to_owned()),
                false => Ok(Reloaded::default()),
            });
        }
        Request::Compare { written, reply } => {
            let reload = written.map_or_else(Vec::new, |written| {
                differences(&Site::default(), &written.1)
            });
            let _ = reply.send(Ok(Comparison {
                reload,
                ..Comparison::default()
            }));
        }
        Request::Change { .. }
        | Request::Order { .. }
        | Request::Failover { .. }
        | Request::Target { .. } => panic!("not asked for here"),
    });
    std::fs::write(daemon.folder.path().join("lvs.cf"), FILE).unwrap();
    (daemon, asked)
}

/// Somebody asks for ada.
fn ada(socket: &Path) -> client::Daemon<'_> {
    client::Daemon {
        socket,
        on_behalf_of: Some("ada"),
    }
}

fn replacement(text: &str, based_on: &Fingerprint) -> Replacement {
    Replacement {
        text: Text {
            text: text.to_owned(),
            encoding: Encoding::Utf8,
        },
        based_on: based_on.clone(),
        reload: false,
        discard: false,
    }
}

#[tokio::test]
async fn a_file_is_written_if_it_is_the_one_that_was_read() {
    let (daemon, asked) = daemon();
    let socket = daemon.socket();
    let first = client::config(&socket).await.unwrap();
    assert_eq!(first.text.text, FILE);
    assert_eq!(first.version, Fingerprint::of(FILE.as_bytes()));
    assert!(!first.loaded);

    // One is quick and has it reloaded.
    let mine = FILE.replace("port = 80", "port = 443");
    let mut wish = replacement(&mine, &first.version);
    wish.reload = true;
    let done = client::replace_config(ada(&socket), &wish).await;
    let done = done.unwrap().unwrap();
    let steps: Vec<_> = done.steps.iter().map(|one| (one.step, one.done)).collect();
    let all = [Stage::Check, Stage::Write, Stage::Reload].map(|stage| (stage, true));
    assert_eq!(steps, all);
    assert!(done.steps[1].text.ends_with("version 1 is what it was"));
    let on_disk = std::fs::read_to_string(daemon.folder.path().join("lvs.cf")).unwrap();
    assert_eq!(on_disk, mine);
    assert!(asked.lock().unwrap()[0].ends_with(" for ada"));
    let told = client::events(&socket, None, 10, 0).await.unwrap();
    let told = serde_json::to_value(&told.events).unwrap();
    assert_eq!(told[0]["kind"], "written");
    assert!(told[0]["who"].as_str().unwrap().ends_with(" for ada"));

    // The other has read what was before, and is told.
    let wish = replacement(&FILE.replace("web", "shop"), &first.version);
    let refused = client::replace_config(&socket, &wish).await.unwrap();
    let Err(NotReplaced::Outdated(outdated)) = refused else {
        panic!("{refused:?}");
    };
    assert_eq!(outdated.version, done.version);
    let on_disk = std::fs::read_to_string(daemon.folder.path().join("lvs.cf")).unwrap();
    assert_eq!(on_disk, mine, "nothing was lost");

    // What was before is there, and can be put back; that the daemon does not take it is told as a step.
    let kept = client::config_versions(&socket).await.unwrap().versions;
    assert_eq!(kept.len(), 1);
    let old = client::config_version(&socket, kept[0].number)
        .await
        .unwrap();
    assert_eq!((&old.text.text[..], &old.version), (FILE, &first.version));
    let mut back = replacement(&old.text.text, &done.version);
    back.reload = true;
    let done = client::replace_config(&socket, &back).await;
    let done = done.unwrap().unwrap();
    let last = done.steps.last().unwrap();
    assert_eq!((last.step, last.done), (Stage::Reload, false));
    assert_eq!(last.text, "there is no interface `lo`");
    let error = client::config_version(&socket, 7).await.unwrap_err();
    assert!(error.to_string().contains("has no version 7"), "{error}");
}

#[tokio::test]
async fn what_is_not_utf8_stays_what_it_is() {
    let (daemon, _) = daemon();
    let bytes = [b"# f\xfcr alle\n", FILE.as_bytes()].concat();
    let path = daemon.folder.path().join("lvs.cf");
    std::fs::write(&path, &bytes).unwrap();
    let socket = daemon.socket();
    let now = client::config(&socket).await.unwrap();
    assert_eq!(now.text.encoding, Encoding::Latin1);
    let new = now.text.text.replace("port = 80", "port = 81");
    let mut wish = replacement(&new, &now.version);
    wish.text.encoding = Encoding::Latin1;
    client::replace_config(&socket, &wish)
        .await
        .unwrap()
        .unwrap();
    let written = std::fs::read(&path).unwrap();
    assert!(written.starts_with(b"# f\xfcr alle\n# ours\n"));
    wish.text.text.push_str("# 5 €\n");
    let error = client::replace_config(&socket, &wish).await.unwrap_err();
    assert!(error.to_string().contains("has no `€`"), "{error}");
}

#[tokio::test]
async fn a_text_is_checked_before_it_is_anything() {
    let (daemon, _) = daemon();
    let socket = daemon.socket();
    let text = |text: &str| Text {
        text: text.to_owned(),
        encoding: Encoding::Utf8,
    };
    let good = client::check_config(&socket, &text(FILE)).await.unwrap();
    assert!(good.report.ok);
    let differences = good.comparison.unwrap().reload;
    assert!(
        differences.iter().any(|one| one.name == "web"),
        "{differences:?}"
    );

    let broken = FILE.replace("port = 80", "port = eighty\n prot = tcp");
    let found = client::check_config(&socket, &text(&broken)).await.unwrap();
    assert!(!found.report.ok && found.comparison.is_none());
    let places = found.report.diagnostics.iter();
    let places: Vec<_> = places
        .map(|one| (one.line, one.column, one.width))
        .collect();
    assert!(places.contains(&(7, 9, 6)), "{places:?}");
    assert!(places.contains(&(8, 2, 4)), "{places:?}");

    let version = client::config(&socket).await.unwrap().version;
    let wish = replacement(&broken, &version);
    let refused = client::replace_config(&socket, &wish).await.unwrap();
    let Err(NotReplaced::Errors(report)) = refused else {
        panic!("{refused:?}");
    };
    assert_eq!(report.diagnostics, found.report.diagnostics);
    let on_disk = std::fs::read_to_string(daemon.folder.path().join("lvs.cf")).unwrap();
    assert_eq!(on_disk, FILE);
    std::fs::remove_file(daemon.folder.path().join("lvs.cf")).unwrap();
    let error = client::config(&socket).await.unwrap_err().to_string();
    assert!(error.contains("lvs.cf: No such file"), "{error}");
}

/// The text of a file with a server at this port of this machine, which is switched off.
fn with_server(port: u16) -> Text {
    let text = format!(
        "primary = 10.0.0.250\nservice = lvs\nvirtual web {{\n active = 0\n address = 192.0.2.10 lo:1\n port = 80\n \
         expect = \"hello\"\n timeout = 50\n server one {{\n  address = 127.0.0.1\n  port = {port}\n }}\n}}\n"
    );
    Text {
        text,
        encoding: Encoding::Utf8,
    }
}

#[tokio::test]
async fn a_server_of_a_text_is_tried_at_once() {
    let (daemon, _) = daemon();
    let socket = daemon.socket();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let trial = |place: &str| Trial::Written {
        text: with_server(port),
        place: place.parse().unwrap(),
    };
    for (says, well) in [("hello, friend", true), ("go away", false)] {
        let trial = trial("virtual/web/server/one");
        let asked = tokio::spawn({
            let socket = socket.clone();
            async move { client::probe(&socket, &trial).await }
        });
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(says.as_bytes()).await.unwrap();
        let tried = asked.await.unwrap().unwrap();
        assert_eq!(tried.address, listener.local_addr().unwrap());
        assert_eq!(tried.checked.well, well, "{tried:?}");
    }
    let refused = [
        (
            "virtual/web/server/two",
            "there is no virtual/web/server/two",
        ),
        ("virtual/web", "is no real server"),
    ];
    for (place, expected) in refused {
        let error = client::probe(&socket, &trial(place)).await.unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    }
    // No more at once than there is room for.
    let trials = &daemon.sources.desk.trials;
    let all = trials.available_permits();
    let _all = trials
        .clone()
        .try_acquire_many_owned(u32::try_from(all).unwrap());
    let error = client::probe(&socket, &trial("virtual/web/server/one")).await;
    let error = error.unwrap_err().to_string();
    assert!(error.contains("too many checks are under way"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_says_nothing_is_not_waited_for_without_end() {
    let (daemon, _) = daemon();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let body = json!({
        "text": with_server(port).text, "place": "virtual/web/server/one"
    });
    let body = body.to_string();
    let mut stream = daemon.connect().await;
    let length = body.len();
    let question =
        format!("POST /v1/probe HTTP/1.1\r\nhost: lb\r\ncontent-length: {length}\r\n\r\n{body}");
    stream.write_all(question.as_bytes()).await.unwrap();
    let answer = piece_however_long(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 504"), "{answer}");
    assert!(answer.contains("was not decided within 30s"), "{answer}");
}

#[test]
fn what_is_asked_and_answered_has_names_of_its_own() {
    let wish = replacement("x", &Fingerprint::of(b"y"));
    let value = serde_json::to_value(&wish).unwrap();
    assert_eq!(value["text"], "x");
    assert_eq!(value["encoding"], "utf-8");
    let least: Replacement =
        serde_json::from_value(json!({"text": "x", "based_on": value["based_on"]})).unwrap();
    assert_eq!(least, wish);
    let running: Trial =
        serde_json::from_value(json!({"service": "web", "server": "one"})).unwrap();
    assert!(matches!(running, Trial::Running { .. }));
    assert!(serde_json::from_value::<Trial>(Value::Null).is_err());
}
