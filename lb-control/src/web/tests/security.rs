//! Who reaches what.

use std::time::Duration;

use axum::{
    body::Body,
    http::{
        Method, Request, StatusCode,
        header::{ACCEPT, CACHE_CONTROL, COOKIE, RETRY_AFTER, SET_COOKIE},
    },
};
use tokio::time::Instant;

use super::fake::{Browser, PASSWORD, Tool, form, location, text};
use crate::web::{
    app::Scheme,
    asset, headers, pages,
    password::{self, Change},
    role::Role,
    session::{IDLE, LONGEST},
};

#[tokio::test]
async fn no_page_without_a_session() {
    let tool = Tool::new(Scheme::Https);
    let strange = format!("__Host-lb={}", "0".repeat(64));
    for page in pages::all() {
        let path = page.path();
        for cookie in ["", &strange, "__Host-lb=", "lb=x"] {
            let request = |method: Method| {
                let request = Request::builder().method(method).uri(path);
                request.header(COOKIE, cookie).body(Body::empty()).unwrap()
            };
            let answer = tool.send(request(Method::GET)).await;
            assert_eq!(answer.status(), StatusCode::SEE_OTHER, "{path} {cookie}");
            assert!(location(&answer).starts_with("/login"), "{path}");
            assert_eq!(text(answer).await, "", "{path}");
            for method in [Method::POST, Method::PUT, Method::DELETE] {
                let answer = tool.send(request(method)).await;
                assert_eq!(answer.status(), StatusCode::UNAUTHORIZED, "{path}");
            }
            let mut stream = request(Method::GET);
            let events = "text/event-stream".parse().unwrap();
            stream.headers_mut().insert(ACCEPT, events);
            let answer = tool.send(stream).await;
            assert_eq!(answer.status(), StatusCode::UNAUTHORIZED, "{path}");
        }
    }
    let answer = tool.get("/no/such/page").await;
    assert_eq!(
        location(&answer),
        "/login?next=/no/such/page",
        "what there is not is not told"
    );
    let answer = tool.get("/service?id=TCP%20192.0.2.10:80").await;
    assert_eq!(
        location(&answer),
        "/login?next=/service%3Fid%3DTCP%2520192.0.2.10:80"
    );
}

#[tokio::test]
async fn cookies_are_for_this_host_only_and_new_at_each_login() {
    let table = [
        (
            Scheme::Https,
            "__Host-lb=",
            "; Path=/; HttpOnly; SameSite=Strict; Secure",
        ),
        (Scheme::Http, "lb=", "; Path=/; HttpOnly; SameSite=Strict"),
    ];
    for (scheme, name, flags) in table {
        let tool = Tool::new(scheme);
        let browser = tool.browser(Role::Viewer).await;
        let body = form(&[
            ("user", "viewer"),
            ("password", PASSWORD),
            ("next", "/events"),
        ]);
        let again = tool
            .send(browser.request(Method::POST, "/login", body))
            .await;
        assert_eq!(location(&again), "/events");
        let cookie = again.headers()[SET_COOKIE].to_str().unwrap();
        let value = cookie.strip_prefix(name).unwrap();
        let (value, rest) = value.split_at(64);
        assert_eq!(rest, flags);
        assert!(!browser.cookie.contains(value), "another one");
        let before = browser.get("/help").await;
        assert_eq!(
            location(&before),
            "/login?next=/help",
            "the one before is over"
        );
    }
}

/// What it is, its token, and its headers.
type Row<'a> = (&'a str, &'a str, &'a [(&'a str, &'a str)]);

#[tokio::test]
async fn what_does_not_come_from_a_page_of_the_session_is_refused() {
    let tool = Tool::new(Scheme::Https);
    let browser = tool.browser(Role::Admin).await;
    let other = tool.browser(Role::Admin).await;
    let order = |csrf: &str| {
        let mut fields = vec![("order", "drain rs1 web")];
        if !csrf.is_empty() {
            fields.push(("csrf", csrf));
        }
        browser.request(Method::POST, "/server", form(&fields))
    };
    let own = &browser.csrf;
    let table: [Row<'_>; 6] = [
        ("without a token", "", &[]),
        ("with that of another session", &other.csrf, &[]),
        ("with a wrong one", &"0".repeat(64), &[]),
        (
            "from another site",
            own,
            &[("origin", "https://evil.example"), ("host", "lb1:3636")],
        ),
        (
            "from a page without an origin",
            own,
            &[("origin", "null"), ("host", "lb1:3636")],
        ),
        (
            "from another site, as browsers say",
            own,
            &[("sec-fetch-site", "cross-site")],
        ),
    ];
    for (what, csrf, headers) in table {
        let mut request = order(csrf);
        for (name, value) in headers {
            let name = axum::http::HeaderName::from_bytes(name.as_bytes()).unwrap();
            request.headers_mut().insert(name, value.parse().unwrap());
        }
        let answer = tool.send(request).await;
        assert_eq!(answer.status(), StatusCode::FORBIDDEN, "{what}");
    }
    assert!(tool.daemon.said(|said| said.orders.is_empty()));
    let mut request = order(own);
    request
        .headers_mut()
        .insert("origin", "https://lb1:3636".parse().unwrap());
    request
        .headers_mut()
        .insert("host", "lb1:3636".parse().unwrap());
    let answer = tool.send(request).await;
    assert_eq!(answer.status(), StatusCode::SEE_OTHER);
    assert_eq!(tool.daemon.said(|said| said.orders.len()), 1);
    let login = Request::post("/login").header("origin", "https://evil.example");
    let login = login
        .header("host", "lb1")
        .body(form(&[("user", "admin"), ("password", PASSWORD)]));
    let answer = tool.send(login.unwrap()).await;
    assert_eq!(
        answer.status(),
        StatusCode::FORBIDDEN,
        "nobody logs others in"
    );
}

#[tokio::test]
async fn each_role_may_do_what_is_for_it() {
    let tool = Tool::new(Scheme::Https);
    let order = [("order", "drain rs1 web")];
    let (ok, done, no) = (StatusCode::OK, StatusCode::SEE_OTHER, StatusCode::FORBIDDEN);
    for (role, audit, orders, failover) in [
        (Role::Viewer, no, no, no),
        (Role::Operator, no, done, no),
        (Role::Admin, ok, done, done),
    ] {
        let browser = tool.browser(role).await;
        for path in [
            "/control",
            "/events",
            "/drops",
            "/help",
            "/service?id=tcp%20192.0.2.10:80",
        ] {
            assert_eq!(browser.get(path).await.status(), ok, "{role} {path}");
        }
        assert_eq!(browser.get("/audit").await.status(), audit, "{role}");
        assert_eq!(
            browser.get("/failover").await.status(),
            if failover == no { no } else { ok }
        );
        assert_eq!(
            browser.post("/server", &order).await.status(),
            orders,
            "{role}"
        );
        assert_eq!(
            browser.post("/failover", &[]).await.status(),
            failover,
            "{role}"
        );
        let (_, page) = browser.read("/control").await;
        assert_eq!(
            page.contains("value=\"drain "),
            orders == done,
            "{role} sees no button"
        );
    }
    tool.daemon.said(|said| {
        let who: Vec<_> = said.orders.iter().map(|(who, _)| who.as_str()).collect();
        assert_eq!(who, ["operator from 192.0.2.7", "admin from 192.0.2.7"]);
        assert_eq!(said.failovers, ["admin from 192.0.2.7"]);
    });
    let told: Vec<_> = tool
        .app
        .audit
        .newest("send")
        .into_iter()
        .map(|entry| entry.user)
        .collect();
    assert_eq!(
        told,
        ["operator", "viewer", "viewer"],
        "what was refused is written down"
    );
}

#[tokio::test]
async fn every_answer_has_the_headers() {
    let tool = Tool::new(Scheme::Https);
    let browser = tool.browser(Role::Viewer).await;
    let answers = [
        ("a page", browser.get("/control").await, StatusCode::OK),
        (
            "a stream",
            browser.get("/control?follow=1").await,
            StatusCode::OK,
        ),
        (
            "an asset",
            tool.get(asset::STYLE.path()).await,
            StatusCode::OK,
        ),
        ("the login", tool.get("/login").await, StatusCode::OK),
        (
            "a wrong login",
            tool.log_in("viewer", "wrong password").await,
            StatusCode::UNAUTHORIZED,
        ),
        (
            "without a session",
            tool.get("/control").await,
            StatusCode::SEE_OTHER,
        ),
        (
            "nothing",
            browser.get("/nothing").await,
            StatusCode::NOT_FOUND,
        ),
        (
            "not for a viewer",
            browser.get("/audit").await,
            StatusCode::FORBIDDEN,
        ),
        (
            "another method",
            browser.post("/control", &[]).await,
            StatusCode::METHOD_NOT_ALLOWED,
        ),
        (
            "no asset",
            tool.get("/asset/x").await,
            StatusCode::NOT_FOUND,
        ),
    ];
    for (what, answer, status) in answers {
        assert_eq!(answer.status(), status, "{what}");
        for (name, value) in headers::ALWAYS {
            assert_eq!(answer.headers()[&name], value, "{what}");
        }
        assert_eq!(answer.headers()["x-content-type-options"], "nosniff");
        let policy = answer.headers()["content-security-policy"]
            .to_str()
            .unwrap();
        let mut rules: Vec<_> = policy.split("; ").collect();
        rules.sort_unstable();
        let expected = [
            "base-uri 'none'",
            "connect-src 'self'",
            "default-src 'none'",
            "form-action 'self'",
            "frame-ancestors 'none'",
            "img-src 'self' data:",
            "script-src 'self'",
            "style-src 'self'",
        ];
        assert_eq!(rules, expected, "{what}");
        assert_eq!(
            answer.headers()["strict-transport-security"],
            "max-age=31536000",
            "{what}"
        );
        let kept = answer.headers()[CACHE_CONTROL].to_str().unwrap();
        let expected = match what {
            "an asset" => "public, max-age=31536000, immutable",
            "a stream" => "no-cache",
            _ => "no-store",
        };
        assert_eq!(kept, expected, "{what}");
        if what != "a stream" {
            let page = text(answer).await;
            for inline in ["style=", "<style", " onclick", "javascript:"] {
                assert!(!page.contains(inline), "{what}: {inline}");
            }
            assert!(!page.contains("<script>"), "{what}");
        }
    }
    let plain = Tool::new(Scheme::Http);
    let answer = plain.get("/login").await;
    assert!(!answer.headers().contains_key("strict-transport-security"));
}

#[tokio::test]
async fn a_hundred_wrong_logins_are_mostly_not_looked_at() {
    let tool = Tool::new(Scheme::Https);
    let mut refused = 0;
    for number in 0..100 {
        let answer = tool.log_in("admin", &format!("wrong {number}")).await;
        match answer.status() {
            StatusCode::UNAUTHORIZED => assert!(number < 10, "{number}"),
            StatusCode::TOO_MANY_REQUESTS => {
                refused += 1;
                assert!(answer.headers().contains_key(RETRY_AFTER));
            }
            status => panic!("{status}"),
        }
        assert!(!answer.headers().contains_key(SET_COOKIE));
    }
    assert_eq!(refused, 90);
    let answer = tool.log_in("admin", PASSWORD).await;
    assert_eq!(
        answer.status(),
        StatusCode::TOO_MANY_REQUESTS,
        "not even the right one"
    );
    let body = form(&[("user", "admin"), ("password", PASSWORD)]);
    let elsewhere = Request::post("/login").body(body).unwrap();
    let answer = tool.send_from([192, 0, 2, 8], elsewhere).await;
    assert_eq!(
        answer.status(),
        StatusCode::SEE_OTHER,
        "from elsewhere it is"
    );
    assert_eq!(tool.app.audit.newest("too many").len(), 91);
}

#[tokio::test]
async fn wrong_logins_tell_nothing() {
    let tool = Tool::new(Scheme::Https);
    let mut pages = Vec::new();
    for (user, password) in [
        ("admin", "wrong horse"),
        ("nobody", PASSWORD),
        ("", ""),
        ("admin", ""),
        ("../../etc/passwd", PASSWORD),
        ("admin\r\nviewer", PASSWORD),
        ("admin:admin:x", PASSWORD),
    ] {
        let answer = tool.log_in(user, password).await;
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED, "{user:?}");
        let page = text(answer).await;
        let (_, problem) = page.split_once("id=\"problem\"").unwrap();
        pages.push(problem.split("</p>").next().unwrap().to_owned());
    }
    pages.dedup();
    assert_eq!(pages.len(), 1, "{pages:?}");
    assert!(
        !format!("{:?}", tool.app.audit.newest("")).contains("horse"),
        "no password is written down"
    );
}

#[tokio::test]
async fn there_is_no_way_out_of_the_assets() {
    let tool = Tool::new(Scheme::Https);
    for path in [
        "/asset/../passwd",
        "/asset/..%2fpasswd",
        "/asset/%2e%2e/%2e%2e/etc/passwd",
        "/asset//etc/passwd",
        "/asset/..%5c..%5cetc%5cpasswd",
        "/asset/style.css%00.css",
        "/asset/style.css",
        "/asset/",
        "/../../etc/passwd",
        "/%2e%2e/etc/passwd",
    ] {
        let answer = tool.get(path).await;
        assert_ne!(answer.status(), StatusCode::OK, "{path}");
        let page = text(answer).await;
        assert!(
            !page.contains("root:") && !page.contains("argon2id"),
            "{path}"
        );
    }
}

#[tokio::test]
async fn bodies_that_are_too_long_are_refused() {
    let tool = Tool::new(Scheme::Https);
    let browser = tool.browser(Role::Admin).await;
    let large = "x".repeat(1 << 20);
    let login = Request::post("/login").body(form(&[("user", "admin"), ("password", &large)]));
    let answer = tool.send(login.unwrap()).await;
    assert_eq!(answer.status(), StatusCode::PAYLOAD_TOO_LARGE);
    let answer = browser
        .post("/server", &[("verb", "drain"), ("service", &large)])
        .await;
    assert_eq!(answer.status(), StatusCode::PAYLOAD_TOO_LARGE);
    let endless = futures_util::stream::repeat_with(|| Ok::<_, std::io::Error>("csrf=x&"));
    let request = browser.request(Method::POST, "/server", Body::from_stream(endless));
    let answer = tool.send(request).await;
    assert_eq!(answer.status(), StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_end_is_not_waited_for() {
    let tool = Tool::new(Scheme::Https);
    let (cookie, csrf) = session(&tool, Role::Admin);
    let drip = futures_util::stream::unfold((), |()| async {
        tokio::time::sleep(Duration::from_secs(5)).await;
        Some((Ok::<_, std::io::Error>("a"), ()))
    });
    let browser = Browser {
        tool: &tool,
        cookie,
        csrf,
    };
    let request = browser.request(Method::POST, "/server", Body::from_stream(drip));
    let began = Instant::now();
    let answer = tool.send(request).await;
    assert_eq!(answer.status(), StatusCode::REQUEST_TIMEOUT);
    assert!(began.elapsed() <= Duration::from_secs(35));
}

/// A session without a login: what is looked at is what follows.
fn session(tool: &Tool, role: Role) -> (String, String) {
    let entry = tool.app.users.users().unwrap()[role.word()].digest();
    let address = super::fake::HOME.into();
    let now = Instant::now();
    let begun = tool
        .app
        .sessions
        .begin(role.word(), role, entry, address, now);
    let cookie = begun.unwrap();
    let csrf = tool.app.sessions.find(cookie.as_str(), now).unwrap().csrf;
    (
        format!("__Host-lb={}", cookie.as_str()),
        csrf.as_str().to_owned(),
    )
}

#[tokio::test(start_paused = true)]
async fn sessions_end() {
    let tool = Tool::new(Scheme::Https);
    let (cookie, csrf) = session(&tool, Role::Viewer);
    let browser = Browser {
        tool: &tool,
        cookie,
        csrf,
    };
    let second = Duration::from_secs(1);
    tokio::time::advance(IDLE - second).await;
    assert_eq!(browser.get("/help").await.status(), StatusCode::OK);
    tokio::time::advance(IDLE - second).await;
    // A browser that reads a page again and again is no sign of its user.
    let again = browser.get("/drops?again=1").await;
    assert_eq!(again.status(), StatusCode::OK);
    tokio::time::advance(second).await;
    let answer = browser.get("/help").await;
    assert_eq!(location(&answer), "/login?next=/help", "it was idle");

    let (cookie, csrf) = session(&tool, Role::Viewer);
    let browser = Browser {
        cookie,
        csrf,
        ..browser
    };
    for _ in 0..LONGEST.as_secs() / 600 - 1 {
        tokio::time::advance(600 * second).await;
        assert_eq!(browser.get("/help").await.status(), StatusCode::OK);
    }
    tokio::time::advance(600 * second).await;
    let answer = browser.get("/help").await;
    assert_eq!(location(&answer), "/login?next=/help", "it was too long");
}

#[tokio::test]
async fn a_session_ends_with_its_user() {
    let tool = Tool::new(Scheme::Https);
    let folder = tool.folder.path();
    let set = |role| Change::Set(PASSWORD.to_owned(), Some(role));
    let changes: [(&str, Change); 3] = [
        ("another role", set(Role::Viewer)),
        (
            "another password",
            Change::Set("another horse".to_owned(), None),
        ),
        ("no user", Change::Remove),
    ];
    for (what, change) in changes {
        password::change(folder, "admin", set(Role::Admin)).unwrap();
        let browser = tool.browser(Role::Admin).await;
        password::change(folder, "admin", change).unwrap();
        let answer = browser.get("/help").await;
        assert_eq!(location(&answer), "/login?next=/help", "{what}");
        let answer = browser.post("/failover", &[]).await;
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED, "{what}");
    }
    let browser = tool.browser(Role::Viewer).await;
    let answer = browser.post("/logout", &[]).await;
    assert_eq!(location(&answer), "/login");
    assert!(
        answer.headers()[SET_COOKIE]
            .to_str()
            .unwrap()
            .starts_with("__Host-lb=; ")
    );
    let answer = browser.get("/help").await;
    assert_eq!(location(&answer), "/login?next=/help", "after logging out");
}

#[tokio::test]
async fn only_a_trusted_proxy_says_where_somebody_is() {
    for (proxy, expected) in [
        (None, "192.0.2.7"),
        (Some([192, 0, 2, 7].into()), "198.51.100.9"),
        (Some([192, 0, 2, 99].into()), "192.0.2.7"),
    ] {
        let tool = Tool::with_proxy(Scheme::Https, proxy);
        let body = form(&[("user", "admin"), ("password", PASSWORD)]);
        let request = Request::post("/login").header("x-forwarded-for", "10.9.9.9, 198.51.100.9");
        tool.send(request.body(body).unwrap()).await;
        let entry = tool.app.audit.newest("log in").remove(0);
        assert_eq!(entry.address.to_string(), expected, "{proxy:?}");
    }
}
