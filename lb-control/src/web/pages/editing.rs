//! Editing as browsers do it: forms are fetched, filled in and sent, to all pages in front of a daemon that has the
//! real API and no data plane.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr},
    path::PathBuf,
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    body::{Body, to_bytes},
    http::{Request as Question, StatusCode, header},
};
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;
use tokio::time::Instant;

use super::super::{
    app::{App, Scheme},
    password,
    role::Role,
    router::router,
};
use crate::{
    control::{
        request::{Comparison, Reloaded, Request},
        tests::{Daemon, nobody},
    },
    difference::differences,
    model::Site,
};

/// A lvs.cf with comments in all places.
pub(super) const FILE: &str = "# the site\nserial_no = 7\nprimary = 10.0.0.250  # left\nservice = lvs\nbackup_active = 0\n\
    keepalive = 6\ndeadtime = 18\nmh_secret = \"nobody has to know it\"\nnetwork = direct\n\n# the shop\n\
    virtual shop {\n     active = 1   # since May\n     address = 192.0.2.10 lo:1\n     port = 80\n\
    \x20    # on the left\n     server one {\n          address = 10.0.0.1\n          active = 1\n     }\n}\n";

/// The tool in front of a daemon, with users of all roles.
pub(super) struct Tool {
    daemon: Daemon,
    pub(super) app: App,
    pub(super) router: Router,
    reloads: Arc<Mutex<Vec<String>>>,
    pub(super) folder: tempfile::TempDir,
}

/// A user with his browser.
pub(super) struct Browser<'a> {
    tool: &'a Tool,
    cookie: String,
    csrf: String,
}

/// A page, or where a browser is sent.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) status: StatusCode,
    location: String,
    pub(super) text: String,
}

impl Tool {
    pub(super) fn new() -> Self {
        let reloads = Arc::<Mutex<Vec<String>>>::default();
        let notes = Arc::clone(&reloads);
        let daemon = Daemon::with(nobody, move |request| match request {
            Request::Reload { who, reply, .. } => {
                notes.lock().unwrap().push(who);
                let _ = reply.send(Ok(Reloaded::default()));
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
        fs::write(daemon.folder.path().join("lvs.cf"), FILE).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let users = Role::ALL.map(|role| {
            // Nobody logs in by it.
            format!(
                "{role}:{role}:$argon2id$v=19$m=16,t=2,p=1$c2FsdHNhbHQ$MTIzNDU2Nzg5MDEyMzQ1Ng\n"
            )
        });
        let ada = users[2].replacen("admin", "ada", 1);
        fs::write(folder.path().join(password::FILE), users.concat() + &ada).unwrap();
        let app = App::new(folder.path(), &daemon.socket(), Scheme::Http, None).unwrap();
        Self {
            router: router(&app),
            daemon,
            app,
            reloads,
            folder,
        }
    }

    pub(super) fn file(&self) -> PathBuf {
        self.daemon.folder.path().join("lvs.cf")
    }

    pub(super) fn text(&self) -> String {
        fs::read_to_string(self.file()).unwrap()
    }

    /// Somebody who has logged in.
    pub(super) fn browser(&self, user: &str) -> Browser<'_> {
        let users = self.app.users.users().unwrap();
        let known = &users[user];
        let (here, now) = (IpAddr::from(Ipv4Addr::LOCALHOST), Instant::now());
        let sessions = &self.app.sessions;
        let cookie = sessions.begin(user, known.role, known.digest(), here, now);
        let cookie = cookie.unwrap().as_str().to_owned();
        let session = sessions.find(&cookie, now).unwrap();
        Browser {
            tool: self,
            cookie,
            csrf: session.csrf.as_str().to_owned(),
        }
    }
}

impl Browser<'_> {
    async fn ask(&self, question: Question<Body>) -> Page {
        let service = TowerToHyperService::new(self.tool.router.clone());
        let answer = service.call(question).await.unwrap();
        let location = answer.headers().get(header::LOCATION);
        let location = location.map_or("", |it| it.to_str().unwrap()).to_owned();
        let status = answer.status();
        let bytes = to_bytes(Body::new(answer.into_body()), 64 << 20)
            .await
            .unwrap();
        Page {
            status,
            location,
            text: String::from_utf8(bytes.to_vec()).unwrap(),
        }
    }

    pub(super) async fn get(&self, path: &str) -> Page {
        let question = Question::get(path).header(header::COOKIE, format!("lb={}", self.cookie));
        self.ask(question.body(Body::empty()).unwrap()).await
    }

    /// Sends a form to where it belongs: the token, and what else is said.
    async fn send(&self, path: &str, fields: &[(&str, &str)]) -> Page {
        let mut all = vec![("csrf", self.csrf.as_str())];
        all.extend(fields);
        let body = serde_urlencoded::to_string(&all).unwrap();
        let question = Question::post(path)
            .header(header::COOKIE, format!("lb={}", self.cookie))
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        self.ask(question.body(Body::from(body)).unwrap()).await
    }

    /// Sends a form that was not asked for.
    pub(super) async fn fill_in_nothing(&self, path: &str) -> Page {
        self.send(path, &[]).await
    }

    /// Looks at a page, fills in its form and sends it: what stands hidden in it goes with it.
    pub(super) async fn fill_in(&self, page: &str, action: &str, fields: &[(&str, &str)]) -> Page {
        let shown = self.get(page).await;
        assert_eq!(shown.status, StatusCode::OK, "{page}: {}", shown.text);
        let start = format!("action=\"{action}\"");
        let form = shown.text.split(&start).nth(1);
        let form = form.unwrap_or_else(|| panic!("{page} has no form {action}: {}", shown.text));
        let form = form.split("</form>").next().unwrap();
        let mut all = hidden(form);
        all.retain(|(name, _)| name != "csrf");
        let hidden: Vec<_> = all
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        self.send(action, &[&hidden[..], fields].concat()).await
    }
}

/// What stands hidden in a form.
fn hidden(form: &str) -> Vec<(String, String)> {
    let value = |tag: &str, name: &str| {
        let rest = tag.split(&format!("{name}=\"")).nth(1)?;
        Some(unescaped(rest.split('"').next()?))
    };
    let tags = form.split("<input type=\"hidden\"").skip(1);
    tags.filter_map(|tag| {
        let tag = tag.split('>').next()?;
        Some((value(tag, "name")?, value(tag, "value")?))
    })
    .collect()
}

fn unescaped(text: &str) -> String {
    let text = text
        .replace("&quot;", "\"")
        .replace("&lt;", "<")
        .replace("&gt;", ">");
    text.replace("&amp;", "&")
}

const WEB: &str = "/block?at=virtual/web";

#[tokio::test]
async fn a_service_with_two_servers_comes_by_forms_and_all_comments_stay() {
    let tool = Tool::new();
    let ada = tool.browser("ada");
    let fields = [
        ("_name", "web"),
        ("address", "192.0.2.20 lo:2"),
        ("port", "8080"),
        ("protocol", "tcp"),
    ];
    let added = ada.fill_in("/virtual", "/block/add", &fields).await;
    assert_eq!(
        (added.status, &added.location[..]),
        (StatusCode::SEE_OTHER, WEB)
    );
    for (name, address, weight) in [("rs1", "10.0.1.1", "2"), ("rs2", "10.0.1.2", "1")] {
        let fields = [
            ("_name", name),
            ("address", address),
            ("weight", weight),
            ("active", "1"),
        ];
        let page = "/block/servers?at=virtual/web";
        let added = ada.fill_in(page, "/block/servers", &fields).await;
        assert_eq!(
            (added.status, &added.location[..]),
            (StatusCode::SEE_OTHER, page),
            "{}",
            added.text
        );
    }
    let edited = ada
        .fill_in(
            WEB,
            "/block",
            &[("scheduler", "wrr"), ("persistent", "300")],
        )
        .await;
    assert_eq!(edited.status, StatusCode::SEE_OTHER, "{}", edited.text);
    let fields = [("check", "http"), ("check_path", "/health")];
    let edited = ada
        .fill_in("/block/scripts?at=virtual/web", "/block/scripts", &fields)
        .await;
    assert_eq!(edited.status, StatusCode::SEE_OTHER, "{}", edited.text);
    let list = ada.get("/virtual").await.text;
    assert!(list.contains("192.0.2.20") && list.contains("Your changes are not in force"));
    let switched = ada
        .send(
            "/block/switch",
            &[
                ("at", "virtual/web"),
                ("active", "1"),
                ("state", &state(&list)),
            ],
        )
        .await;
    assert_eq!(switched.status, StatusCode::SEE_OTHER);
    assert_eq!(
        tool.text(),
        FILE,
        "nothing is in force before it is applied"
    );
    assert!(tool.reloads.lock().unwrap().is_empty());

    let review = ada.get("/config/apply").await.text;
    for line in [
        "+virtual web {",
        "+ service TCP 192.0.2.20:8080 (web)",
        "added: ",
    ] {
        assert!(review.contains(line), "{line}: {review}");
    }
    let applied = ada
        .fill_in("/config/apply", "/config/apply", &[("do", "apply")])
        .await;
    assert_eq!(applied.status, StatusCode::SEE_OTHER);
    let expected = FILE.to_owned()
        + "\nvirtual web {\n     active = 1\n     address = 192.0.2.20 lo:2\n     port = 8080\n     persistent = 300\n\
           \x20    send = \"GET / HTTP/1.0\\r\\n\\r\\n\"\n     expect = \"HTTP\"\n     scheduler = wrr\n\
           \x20    protocol = tcp\n     timeout = 6\n     reentry = 15\n     check = http\n     check_path = /health\n\
           \x20    server rs1 {\n          address = 10.0.1.1\n          active = 1\n          weight = 2\n     }\n\
           \x20    server rs2 {\n          address = 10.0.1.2\n          active = 1\n          weight = 1\n     }\n}\n";
    assert_eq!(words(&tool.text()), words(&expected));
    assert!(tool.text().starts_with(FILE), "all else is as it was");
    assert!(tool.reloads.lock().unwrap()[0].contains("for ada from "));
    let after = ada.get("/config/apply").await.text;
    assert!(
        after.contains("Write: ") && after.contains("Reload: "),
        "{after}"
    );
    assert!(after.contains("Nothing would be different in"), "{after}");
}

/// The state of the draft that a page was made of.
fn state(page: &str) -> String {
    let all = hidden(page);
    let found = all.into_iter().find(|(name, _)| name == "state");
    found.unwrap().1
}

/// Lines without their indentation, in no order but that of words.
fn words(text: &str) -> Vec<&str> {
    text.lines().map(str::trim).collect()
}

#[tokio::test]
async fn what_is_wrong_is_shown_at_its_field_with_what_was_typed() {
    let tool = Tool::new();
    let ada = tool.browser("ada");
    let at = "/block?at=virtual/shop";
    let fields = [("port", "eighty"), ("scheduler", "rr"), ("drain", "soon")];
    let refused = ada.fill_in(at, "/block", &fields).await;
    assert_eq!(refused.status, StatusCode::OK);
    for expected in [
        "2 things are wrong, and nothing was changed.",
        "id=\"f-port-error\">invalid port, not `eighty`",
        "value=\"eighty\"",
        "id=\"f-drain-error\"",
    ] {
        assert!(
            refused.text.contains(expected),
            "{expected}: {}",
            refused.text
        );
    }
    assert!(
        !ada.get("/virtual")
            .await
            .text
            .contains("Your changes are not in force")
    );

    let fields = [("_name", ""), ("address", "nowhere"), ("port", "80")];
    let refused = ada.fill_in("/virtual", "/block/add", &fields).await;
    assert!(
        refused
            .text
            .contains("id=\"f-_name-error\">a service needs a name"),
        "{}",
        refused.text
    );
    let refused = ada
        .fill_in(
            "/redundancy",
            "/redundancy",
            &[("keepalive", "18"), ("deadtime", "x")],
        )
        .await;
    assert!(
        refused.text.contains("id=\"f-deadtime-error\""),
        "{}",
        refused.text
    );
}

#[tokio::test]
async fn the_text_has_its_errors_in_place_and_is_not_applied_with_them() {
    let tool = Tool::new();
    let ada = tool.browser("ada");
    let page = ada.get("/config").await.text;
    assert!(
        !page.contains("nobody has to know"),
        "secrets are not shown"
    );
    let typed = unescaped(
        page.split("<textarea")
            .nth(1)
            .unwrap()
            .split(">\n")
            .nth(1)
            .unwrap()
            .split("</textarea>")
            .next()
            .unwrap(),
    );
    let broken = typed
        .replace("keepalive = 6", "keepalive = six")
        .replace('\n', "\r\n");
    let saved = ada
        .fill_in("/config", "/config", &[("text", &broken)])
        .await;
    assert_eq!(
        (saved.status, &saved.location[..]),
        (StatusCode::SEE_OTHER, "/config"),
        "{}",
        saved.text
    );
    let page = ada.get("/config").await.text;
    assert!(
        page.contains("<li id=\"L6\" value=\"6\" class=\"wrong\">"),
        "{page}"
    );
    assert!(page.contains("<span class=\"caret\">^^^</span>"), "{page}");
    let review = ada.get("/config/apply").await.text;
    assert!(
        review.contains("the text has errors, so it cannot be applied")
            || review.contains("The text has errors"),
        "{review}"
    );
    assert!(!review.contains("id=\"apply\""));
    // Who sends it nevertheless is told by the daemon.
    let version = crate::config::store::Fingerprint::of(FILE.as_bytes()).to_string();
    let fields = [
        ("state", &state(&review)[..]),
        ("version", &version),
        ("do", "apply"),
    ];
    let refused = ada.send("/config/apply", &fields).await;
    assert_eq!(refused.location, "/config");
    assert!(
        ada.get("/config")
            .await
            .text
            .contains("The text has errors")
    );

    let mended = typed
        .replace("keepalive = 6", "keepalive = 3")
        .replace('\n', "\r\n");
    ada.fill_in("/config", "/config", &[("text", &mended)])
        .await;
    ada.fill_in("/config/apply", "/config/apply", &[("do", "write")])
        .await;
    assert_eq!(tool.text(), FILE.replace("keepalive = 6", "keepalive = 3"));
    assert!(
        tool.reloads.lock().unwrap().is_empty(),
        "it was only written"
    );

    // And back.
    let page = ada.get("/config/history").await.text;
    assert!(page.contains("/config/history/1"), "{page}");
    let back = ada
        .fill_in("/config/history/1", "/config/history/1", &[])
        .await;
    assert_eq!(back.location, "/config/apply");
    ada.fill_in("/config/apply", "/config/apply", &[("do", "apply")])
        .await;
    assert_eq!(tool.text(), FILE);
}

#[tokio::test]
async fn the_second_who_writes_is_told_and_nothing_is_lost() {
    let tool = Tool::new();
    let (ada, admin) = (tool.browser("ada"), tool.browser("admin"));
    // Both change something; one of it is the same line.
    ada.fill_in("/redundancy", "/redundancy", &[("keepalive", "2")])
        .await;
    ada.fill_in("/block?at=virtual/shop", "/block", &[("port", "81")])
        .await;
    admin
        .fill_in(
            "/redundancy",
            "/redundancy",
            &[("deadtime", "20"), ("keepalive", "3")],
        )
        .await;
    let seen = admin.get("/config/apply").await.text;
    assert!(seen.contains("ada also has changes"), "{seen}");
    ada.fill_in("/config/apply", "/config/apply", &[("do", "apply")])
        .await;
    let theirs = FILE
        .replace("keepalive = 6", "keepalive = 2")
        .replace("port = 80", "port = 81");
    assert_eq!(tool.text(), theirs);

    // The other applies what he saw.
    let version = hidden(&seen)
        .into_iter()
        .find(|(name, _)| name == "version")
        .unwrap()
        .1;
    let fields = [
        ("state", &state(&seen)[..]),
        ("version", &version),
        ("do", "apply"),
    ];
    let refused = admin.send("/config/apply", &fields).await;
    assert_eq!(refused.location, "/config/apart");
    assert_eq!(tool.text(), theirs, "what the first wrote is there");
    let page = admin.get("/config/apart").await.text;
    for line in ["keepalive = 2", "keepalive = 3", "keepalive = 6"] {
        assert!(page.contains(line), "{line}: {page}");
    }
    let none = admin.fill_in("/config/apart", "/config/apart", &[]).await;
    assert_eq!(none.location, "/config/apart");
    let settled = admin
        .fill_in("/config/apart", "/config/apart", &[("choice-0", "mine")])
        .await;
    assert_eq!(settled.location, "/config/apply");
    admin
        .fill_in("/config/apply", "/config/apply", &[("do", "apply")])
        .await;
    let both = FILE
        .replace(
            "keepalive = 6\ndeadtime = 18",
            "keepalive = 3\ndeadtime = 20",
        )
        .replace("port = 80", "port = 81");
    assert_eq!(tool.text(), both);
}

#[tokio::test]
async fn what_does_not_overlap_is_carried_over() {
    let tool = Tool::new();
    let ada = tool.browser("ada");
    ada.fill_in("/redundancy", "/redundancy", &[("keepalive", "2")])
        .await;
    // Somebody with an editor.
    fs::write(tool.file(), FILE.replace("# the shop", "# the old shop")).unwrap();
    let page = ada.get("/config/apply").await.text;
    assert!(page.contains("your changes were carried over"), "{page}");
    ada.fill_in("/config/apply", "/config/apply", &[("do", "apply")])
        .await;
    let both = FILE
        .replace("keepalive = 6", "keepalive = 2")
        .replace("# the shop", "# the old shop");
    assert_eq!(tool.text(), both);
}

#[tokio::test]
async fn a_form_of_a_draft_that_is_another_by_now_changes_nothing() {
    let tool = Tool::new();
    let ada = tool.browser("ada");
    let old = state(&ada.get("/global").await.text);
    ada.fill_in("/redundancy", "/redundancy", &[("keepalive", "2")])
        .await;
    let table: [(&str, &[(&str, &str)]); 7] = [
        ("/global", &[("primary", "10.0.0.9")]),
        ("/redundancy", &[("deadtime", "30")]),
        ("/block", &[("at", "virtual/shop"), ("port", "99")]),
        ("/block/scripts", &[("at", "virtual/shop"), ("send", "x")]),
        ("/block/switch", &[("at", "virtual/shop"), ("active", "0")]),
        ("/block/delete", &[("at", "virtual/shop")]),
        ("/config/discard", &[]),
    ];
    for (path, fields) in table {
        let fields = [&[("state", &old[..])], fields].concat();
        let refused = ada.send(path, &fields).await;
        assert_eq!(refused.status, StatusCode::SEE_OTHER, "{path}");
        let page = ada.get("/config/apply").await.text;
        assert!(
            page.contains("the draft was changed elsewhere")
                || page.contains("The draft was changed elsewhere"),
            "{path}"
        );
        assert!(
            page.contains("+keepalive = 2") && page.matches("class=\"add\"").count() >= 1,
            "{path}: {page}"
        );
        assert!(
            !page.contains("+primary") && !page.contains("+deadtime") && !page.contains("-virtual"),
            "{path}"
        );
    }
    // What was typed into the editor is shown again.
    let kept = ada
        .send("/config", &[("state", &old), ("text", "# mine <b>\n")])
        .await;
    assert!(kept.text.contains("# mine &lt;b&gt;"), "{}", kept.text);
}

#[tokio::test]
async fn blocks_are_switched_renamed_and_deleted() {
    let tool = Tool::new();
    let ada = tool.browser("ada");
    let at = ("at", "virtual/shop/server/one");
    let page = ada.get("/block/servers?at=virtual/shop").await.text;
    ada.send(
        "/block/switch",
        &[at, ("active", "0"), ("state", &state(&page))],
    )
    .await;
    let renamed = ada
        .fill_in("/block?at=virtual/shop", "/block", &[("_name", "new shop")])
        .await;
    assert_eq!(renamed.location, "/block?at=virtual/new%20shop");
    let asked = ada
        .get("/block/delete?at=virtual/new%20shop/server/one")
        .await;
    assert!(
        asked.text.contains("Delete <strong>one</strong>"),
        "{}",
        asked.text
    );
    let page = "/block/delete?at=virtual/new%20shop/server/one";
    let deleted = ada.fill_in(page, "/block/delete", &[]).await;
    assert_eq!(deleted.location, "/block/servers?at=virtual/new%20shop");
    ada.fill_in("/config/apply", "/config/apply", &[("do", "write")])
        .await;
    let expected = FILE.replace("virtual shop", "virtual \"new shop\"").replace(
        "     # on the left\n     server one {\n          address = 10.0.0.1\n          active = 1\n     }\n",
        "",
    );
    assert_eq!(tool.text(), expected);
    for gone in [
        "/block?at=virtual/shop",
        "/block/delete?at=virtual/shop",
        "/block?at=nonsense",
    ] {
        assert_eq!(ada.get(gone).await.status, StatusCode::NOT_FOUND, "{gone}");
    }
}

#[tokio::test]
async fn redundancy_is_switched_and_keys_are_never_shown() {
    let tool = Tool::new();
    let with_key = FILE.replace(
        "network",
        "heartbeat_key = 1:000102030405060708090a0b0c0d0e0f\nbackup = 10.0.0.251\nnetwork",
    );
    fs::write(tool.file(), &with_key).unwrap();
    let ada = tool.browser("ada");
    let page = ada.get("/redundancy").await.text;
    assert!(!page.contains("0a0b0c"), "{page}");
    assert!(page.contains("Set. Leave this empty to keep it.") && page.contains("inactive"));
    let enabled = ada
        .fill_in("/redundancy", "/redundancy", &[("do", "enable")])
        .await;
    assert_eq!(enabled.status, StatusCode::SEE_OTHER, "{}", enabled.text);
    assert!(
        ada.get("/redundancy")
            .await
            .text
            .contains("id=\"backup\">active")
    );
    ada.fill_in(
        "/redundancy",
        "/redundancy",
        &[
            ("do", "accept"),
            ("heartbeat_key", ""),
            ("heartbeat_key-remove", "1"),
        ],
    )
    .await;
    ada.fill_in("/config/apply", "/config/apply", &[("do", "write")])
        .await;
    let expected = with_key
        .replace("backup_active = 0", "backup_active = 1")
        .replace("heartbeat_key = 1:000102030405060708090a0b0c0d0e0f\n", "");
    assert_eq!(tool.text(), expected);
    let old = ada.get("/config/history/1").await.text;
    assert!(
        !old.contains("0a0b0c") && !old.contains("nobody has"),
        "{old}"
    );
}

#[tokio::test]
async fn only_admins_change_lvs_cf() {
    let tool = Tool::new();
    let paths = [
        "/global",
        "/redundancy",
        "/block",
        "/block/scripts",
        "/block/servers",
        "/block/add",
        "/block/switch",
        "/block/delete",
        "/config",
        "/config/discard",
        "/config/apply",
        "/config/apart",
        "/config/history/1",
    ];
    for user in ["viewer", "operator"] {
        let browser = tool.browser(user);
        for path in paths {
            let refused = browser
                .send(path, &[("at", "virtual/shop"), ("do", "apply")])
                .await;
            assert_eq!(refused.status, StatusCode::FORBIDDEN, "{user} {path}");
        }
        for path in [
            "/global",
            "/redundancy",
            "/virtual",
            "/block?at=virtual/shop",
            "/config",
            "/config/apply",
        ] {
            let page = browser.get(path).await;
            assert_eq!(page.status, StatusCode::OK, "{path}");
            assert!(
                !page.text.contains(">Accept</button>") && !page.text.contains(">Apply</button>"),
                "{path}"
            );
            assert!(!page.text.contains("nobody has to know"), "{path}");
        }
    }
    // Operators may test a check as lvs.cf says it; viewers may not.
    let fields = [("at", "virtual/shop/server/two")];
    let tested = tool.browser("operator").send("/block/test", &fields).await;
    assert_eq!(tested.status, StatusCode::SEE_OTHER);
    let page = tool.browser("operator").get("/block?at=virtual/shop").await;
    assert!(page.status == StatusCode::OK, "{}", page.text);
    let refused = tool.browser("viewer").send("/block/test", &fields).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    assert_eq!(tool.text(), FILE);
}

#[tokio::test]
async fn whatever_is_in_the_file_or_typed_stays_text() {
    let evil = "<script>alert(1)</script>";
    let tool = Tool::new();
    let file = format!(
        "# {evil}\nvirtual \"{evil}\" {{\n active = 1\n address = 192.0.2.9 lo:9\n send = \"{evil}\"\n server \"{evil}\" {{\n address = 10.0.0.9\n }}\n}}\n"
    );
    fs::write(tool.file(), FILE.to_owned() + &file).unwrap();
    let ada = tool.browser("ada");
    let place = super::super::form::encoded(&format!("virtual/\"{evil}\""));
    let pages = [
        "/virtual".to_owned(),
        format!("/block?at={place}"),
        format!("/block/scripts?at={place}"),
        format!("/block/servers?at={place}"),
        format!("/block/delete?at={place}"),
        "/config".to_owned(),
        "/config/apply".to_owned(),
    ];
    for page in pages {
        let shown = ada.get(&page).await;
        assert_eq!(shown.status, StatusCode::OK, "{page}: {}", shown.text);
        assert!(!shown.text.contains(evil), "{page}");
        assert!(shown.text.contains("&lt;script&gt;"), "{page}");
    }
    for field in ["port", "address", "scheduler", "_name", "sorry_server"] {
        for typed in [evil, "\"><script>alert(1)</script>", "x\n}\nvirtual evil {"] {
            let at = "/block?at=virtual/shop";
            let answer = ada.fill_in(at, "/block", &[(field, typed)]).await;
            assert!(!answer.text.contains("<script>alert"), "{field}");
            let page = ada.get("/config/apply").await.text;
            assert!(
                !page.contains("<script>alert") && !page.contains("+virtual evil"),
                "{page}"
            );
            ada.send("/config/discard", &[("state", &state(&page))])
                .await;
        }
    }
}
