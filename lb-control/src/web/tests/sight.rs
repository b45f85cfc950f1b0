//! What pages show.

use axum::http::StatusCode;
use futures_util::StreamExt as _;
use serde_json::Value;

use super::fake::{Tool, location, text};
use crate::{
    control::order::Verb,
    journal::{Entry, Kind},
    status::{Role as Part, ServerState, testing},
    web::{app::Scheme, role::Role},
};

const EVIL: &str = "\"'><script>alert(1)</script>&amp;<img src=x onerror=alert(1)>";

#[tokio::test]
async fn whatever_somebody_says_stays_text() {
    let tool = Tool::new(Scheme::Https);
    let browser = tool.browser(Role::Admin).await;
    tool.daemon.said(|said| {
        let evil = || EVIL.to_owned();
        let service = &mut said.report.services[0];
        service.name = evil();
        for server in &mut service.servers {
            server.name = evil();
            server.state = ServerState::Down;
            server.last_error = Some(evil());
            server.unreachable = Some(evil());
            server.overridden = Some(evil());
        }
        said.report.interfaces[0].name = evil();
        said.report.interfaces[0].mode = evil();
        said.report.unsteered[0].reason = evil();
        said.report.unsteered[0].fate = evil();
        said.events.push(Entry {
            number: 1,
            time: 0,
            kind: Kind::ServerDown,
            service: None,
            server: None,
            who: Some(evil()),
            text: evil(),
        });
    });
    tool.app.live.refresh().await;
    let order = [
        ("order", &*format!("drain {EVIL} {EVIL}")),
        ("back", "/control"),
    ];
    browser.post("/server", &order).await;
    let q = crate::web::form::encoded(EVIL);
    for path in [
        "/control".to_owned(),
        format!("/control?q={q}&show={q}&sort={q}&page={q}"),
        "/service?id=tcp%20192.0.2.10:80".to_owned(),
        format!("/service?id={q}"),
        "/events".to_owned(),
        format!("/events?q={q}&kind={q}"),
        "/drops".to_owned(),
        "/explain".to_owned(),
        format!("/explain?service={q}"),
        format!(
            "/explain?protocol={q}&from={q}&from_port={q}&to={q}&to_port={q}&flags={q}&interface={q}&do={q}"
        ),
        "/audit".to_owned(),
        format!("/audit?q={q}"),
        format!("/{q}"),
        "/failover".to_owned(),
    ] {
        let (_, page) = browser.read(&path).await;
        assert!(!page.contains("<script>alert"), "{path}");
        assert!(!page.contains("<img"), "{path}");
        assert!(!page.contains("\"'>"), "{path}");
    }
    let (_, page) = browser.read("/control").await;
    assert!(page.contains("&lt;script&gt;"), "it is there as text");
    let answer = tool.log_in(EVIL, EVIL).await;
    assert!(!text(answer).await.contains("<script>alert"));
    let answer = tool.get(&format!("/login?next={q}")).await;
    assert!(!text(answer).await.contains("<script>alert"));
}

#[tokio::test]
async fn without_scripts_a_page_that_lives_is_read_again_if_that_is_wanted() {
    const REFRESH: &str = "<noscript><meta http-equiv=\"refresh\" content=\"10\"></noscript>";
    let tool = Tool::new(Scheme::Https);
    let browser = tool.browser(Role::Admin).await;
    let service = "/service?id=tcp%20192.0.2.10:80";
    for path in ["/control", "/drops", "/events", service] {
        let (_, page) = browser.read(path).await;
        assert!(!page.contains("http-equiv"), "{path}");
        let (_, rest) = page.split_once("Look again: ").unwrap();
        let link = rest
            .split("href=\"")
            .nth(2)
            .and_then(|rest| rest.split('"').next());
        let link = link.unwrap().replace("&amp;", "&");
        assert!(link.ends_with("again=1"), "{link}");
        let (status, page) = browser.read(&link).await;
        assert_eq!(status, StatusCode::OK, "{link}");
        assert!(page.contains(REFRESH), "{link}");
    }
    // Nothing that is being typed is taken away.
    for path in ["/failover?again=1", "/audit?again=1", "/help?again=1"] {
        let (_, page) = browser.read(path).await;
        assert!(!page.contains("http-equiv"), "{path}");
    }
}

#[tokio::test]
async fn the_table_shows_services_servers_and_why_they_are_down() {
    let tool = Tool::new(Scheme::Https);
    let browser = tool.browser(Role::Operator).await;
    let (status, page) = browser.read("/control").await;
    assert_eq!(status, StatusCode::OK);
    for text in [
        "Current LVS routing table",
        "TCP 192.0.2.10:80",
        "10.0.0.11:80",
        "connect to 10.0.0.12:80: connection refused",
        "3 left, 12 s at most",
        "1 of 2",
        "id=\"s-tcp-192-0-2-10-80--10-0-0-11-80\"",
        "alone, without a partner",
    ] {
        assert!(page.contains(text), "{text}");
    }
    let (_, page) = browser.read("/control?q=dns").await;
    assert!(page.contains("1 of 2 services") && !page.contains("10.0.0.11:80"));
    let (_, page) = browser.read("/control?show=trouble").await;
    assert!(page.contains("10.0.0.12:80") && !page.contains("2001:db8::1111"));
    let (_, page) = browser.read("/control?q=nothing").await;
    assert!(page.contains("No service is like that"));
    let (status, page) = browser.read("/service?id=tcp%20192.0.2.99:80").await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    assert!(
        page.contains("there is no service TCP 192.0.2.99:80")
            || page.contains("There is no service TCP 192.0.2.99:80")
    );
}

#[tokio::test]
async fn large_sites_come_in_pages() {
    let tool = Tool::new(Scheme::Https);
    let browser = tool.browser(Role::Viewer).await;
    tool.daemon.said(|said| {
        let services = (0..100).map(|number| {
            let servers = (0..30).map(|server| {
                testing::server(
                    &format!("rs{server}"),
                    &format!("10.0.{number}.{}:80", server + 1),
                )
            });
            let id = format!("tcp 192.0.2.{number}:80");
            testing::service(&format!("web{number}"), &id, servers.collect())
        });
        said.report.services = services.collect();
    });
    tool.app.live.refresh().await;
    let (_, page) = browser.read("/control?page=2").await;
    assert!(page.contains("Page 2 of 20") && page.contains("web5<") && !page.contains("web4<"));
    assert!(page.contains("and 10 more"), "of the servers");
    let (_, page) = browser.read("/control?page=99").await;
    assert!(page.contains("Page 20 of 20"));
    let (_, page) = browser.read("/control?q=10.0.77.3:80").await;
    assert!(page.contains("1 of 100 services"));
}

#[tokio::test]
async fn an_order_goes_to_the_daemon_and_what_became_of_it_to_the_next_page() {
    let tool = Tool::new(Scheme::Https);
    let browser = tool.browser(Role::Operator).await;
    let order = [
        ("order", "drain 10.0.0.11:80 TCP 192.0.2.10:80"),
        ("deadline", "90"),
        ("back", "/control?q=web"),
    ];
    let answer = browser.post("/server", &order).await;
    assert_eq!(location(&answer), "/control?q=web");
    tool.daemon.said(|said| {
        let (_, order) = &said.orders[0];
        assert_eq!((order.verb, order.deadline), (Verb::Drain, Some(90)));
    });
    let (_, page) = browser.read("/control?q=web").await;
    assert!(page.contains("Drain is ordered."), "{page}");
    let (_, page) = browser.read("/control?q=web").await;
    assert!(!page.contains("Drain is ordered."), "it is told once");
    let entry = tool.app.audit.newest("drain").remove(0);
    assert_eq!(entry.what, "drain 10.0.0.11:80 of TCP 192.0.2.10:80");
    assert!(entry.done);

    let unknown = [("order", "up nobody web")];
    let answer = browser.post("/server", &unknown).await;
    assert_eq!(location(&answer), "/");
    let (_, page) = browser.read("/control").await;
    assert!(page.contains("No real server is called “nobody”"));
    assert!(!tool.app.audit.newest("nobody").remove(0).done);
    for (order, deadline) in [
        ("explode rs1 web", ""),
        ("drain rs1", ""),
        ("", ""),
        ("drain rs1 web", "soon"),
        ("drain rs1 web", "-1"),
    ] {
        let wrong = [("order", order), ("deadline", deadline)];
        let answer = browser.post("/server", &wrong).await;
        assert_eq!(
            answer.status(),
            StatusCode::BAD_REQUEST,
            "{order} {deadline}"
        );
    }
}

#[tokio::test]
async fn news_are_only_what_is_different() {
    let tool = Tool::new(Scheme::Https);
    let browser = tool.browser(Role::Viewer).await;
    let answer = browser.get("/control?follow=1").await;
    assert_eq!(answer.headers()["content-type"], "text/event-stream");
    let mut stream = answer.into_body().into_data_stream();
    let mut next = async || loop {
        let chunk = stream.next().await?.unwrap();
        let text = String::from_utf8(chunk.to_vec()).unwrap();
        let field = |name: &str| {
            let lines = text.lines();
            let line = lines.into_iter().find_map(|line| line.strip_prefix(name));
            line.unwrap_or("").trim().to_owned()
        };
        if !field("event:").is_empty() {
            return Some((field("event:"), field("data:")));
        }
    };
    let (event, all) = next().await.unwrap();
    assert_eq!(event, "parts");
    let all: Vec<(String, String)> = serde_json::from_str(&all).unwrap();
    assert!(all.len() > 20, "at first all of them");

    // The second answer is the first that rates are known after.
    tool.app.live.refresh().await;
    let (event, _) = next().await.unwrap();
    assert_eq!(event, "parts");
    let cell = "s-tcp-192-0-2-10-80--10-0-0-11-80/3";
    tool.daemon
        .said(|said| said.report.services[0].servers[0].active = 4_321);
    tool.app.live.refresh().await;
    let news = loop {
        // What comes between tells that time has passed.
        let (event, data) = next().await.unwrap();
        assert_eq!(event, "parts");
        let news: Value = serde_json::from_str(&data).unwrap();
        let ids: Vec<_> = news
            .as_array()
            .unwrap()
            .iter()
            .map(|part| part[0].as_str().unwrap().to_owned())
            .collect();
        if ids.iter().any(|id| id == cell) {
            break ids;
        }
    };
    assert!(news.len() < 12, "{news:?}");
    assert!(news.contains(&"tile-active".to_owned()), "{news:?}");

    tool.daemon.said(|said| said.report.services.truncate(1));
    tool.app.live.refresh().await;
    let event = loop {
        let (event, _) = next().await.unwrap();
        if event != "parts" {
            break event;
        }
    };
    assert_eq!(event, "shape", "other lines are there");

    browser.post("/logout", &[]).await;
    tool.daemon.said(|said| said.report.role = Part::Standby);
    tool.app.live.refresh().await;
    let event = loop {
        let (event, _) = next().await.unwrap();
        if event != "parts" {
            break event;
        }
    };
    assert_eq!(event, "over", "who is logged out sees no more");
    assert!(next().await.is_none());
}

#[tokio::test]
async fn a_page_of_an_older_state_is_told_that_it_has_other_parts() {
    let tool = Tool::new(Scheme::Https);
    let browser = tool.browser(Role::Viewer).await;
    let (_, page) = browser.read("/control").await;
    let follow = page.split("data-follow=\"").nth(1).unwrap();
    let follow = follow.split('"').next().unwrap().to_owned();
    for (is_older, event) in [(false, "event: parts"), (true, "event: shape")] {
        if is_older {
            tool.daemon.said(|said| said.report.services.truncate(1));
            tool.app.live.refresh().await;
        }
        let answer = browser.get(&follow).await;
        let mut stream = answer.into_body().into_data_stream();
        let first = stream.next().await.unwrap().unwrap();
        assert!(first.starts_with(event.as_bytes()), "{first:?}");
    }
}

#[tokio::test]
async fn a_daemon_that_is_away_is_told_and_the_rest_stays() {
    let tool = Tool::new(Scheme::Https);
    let browser = tool.browser(Role::Viewer).await;
    let (_, page) = browser.read("/control").await;
    assert!(page.contains("10.0.0.11:80"));
    std::fs::remove_file(tool.folder.path().join("lb.sock")).unwrap();
    tool.app.live.refresh().await;
    let (status, page) = browser.read("/control").await;
    assert_eq!(status, StatusCode::OK);
    assert!(page.contains("The daemon does not answer: "), "{page}");
    assert!(page.contains("What stands below was so at") && page.contains("10.0.0.11:80"));
    let browser = tool.browser(Role::Admin).await;
    let answer = browser.post("/failover", &[]).await;
    assert_eq!(location(&answer), "/control");
    let (_, page) = browser.read("/control").await;
    assert!(page.contains("No daemon answers at"));
}
