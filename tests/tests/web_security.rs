//! What somebody tries who means no good: over https, at a real `lb web` with a real daemon behind it.

use std::{
    collections::{BTreeSet, VecDeque},
    fs,
    io::{ErrorKind, Read, Write},
    path::Path,
    thread,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use lb_tests::{
    Browser, Family, Lab, Method, Plan, Service, Site, Stage, Visitor, WebTool,
    browser::Scripts,
    director::CONFIG,
    form::{Field, Form, Kind, forms, links},
    https::{Answer, Https, is_end},
    lab::skip,
    on_stage,
    visitor::{TOKEN, encoded},
    web_tool,
};

const FAMILY: Family = Family::V4;
const PASSWORD: &str = "correct horse battery";
/// Each may do what those before it may.
const ROLES: [&str; 3] = ["viewer", "operator", "admin"];
/// What an injected command would leave on the router.
const LEFT: &str = "/run/lb-injected";

/// A router with a daemon and a web tool, and a user for each role, who is called like it.
struct Scene {
    stage: Stage,
    tool: WebTool,
}

impl Scene {
    fn set(lab: &Lab, lb: &Path) -> Result<Self> {
        let plan = Plan::new(Method::Nat);
        let mut site = Site::new(Method::Nat).with(Service::web(FAMILY, plan.servers));
        site.socket_group = Some(web_tool::group()?);
        let stage = Stage::set(lab, lb, plan, &site)?;
        stage.await_servers()?;
        let router = stage.network.router();
        let tool = WebTool::start(lb, router, FAMILY.router(0), "admin", PASSWORD)?;
        for role in &ROLES[..2] {
            tool.add_user(role, role, PASSWORD)?;
        }
        Ok(Self { stage, tool })
    }

    fn https(&self) -> Result<Https> {
        self.tool.https(&self.stage.network.client)
    }

    fn visitor(&self, role: &str) -> Result<Visitor> {
        Visitor::log_in(&self.https()?, role, PASSWORD)
    }

    /// Everything is as it was: the tool has started nothing, the daemon lives, and clients are answered.
    fn is_well(&mut self) -> Result<()> {
        let web = self.tool.process();
        ensure!(web.ended()?.is_none(), "lb web ended: {}", web.printed());
        let pid = web.pid();
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))?;
        ensure!(children.trim().is_empty(), "lb web started {children}");
        let router = self.stage.network.router();
        let is_left = router.inside(|| Ok(Path::new(LEFT).exists()))?;
        ensure!(!is_left, "a command was executed");
        let printed = self.tool.printed() + &self.stage.director.printed();
        ensure!(!printed.contains("panicked"), "{printed}");
        self.stage.director.lb(["check", CONFIG])?;
        let status = self.stage.director.status()?;
        ensure!(status.service("web").is_some(), "{status}");
        let client = &self.stage.network.client;
        let answers = lb_tests::client::get_many(client, &FAMILY.url(), 10, 2)?;
        lb_tests::client::all_good(&answers)
    }
}

/// A path of the program, who may look at it, and who may send something to it.
struct Route {
    path: String,
    looks: Option<usize>,
    sends: Option<usize>,
}

/// All of them: the table in the documentation, which a unit test compares with the router.
fn routes() -> Result<Vec<Route>> {
    let text = include_str!("../../docs/web.md");
    let table = text.split("<!-- paths -->").nth(1).context("no table")?;
    let table = table.split("<!-- end of paths -->").next();
    let rows = table.unwrap_or_default().lines().skip(3);
    let rank = |word: &str| ROLES.iter().position(|role| *role == word.trim());
    let rows = rows.map(|row| {
        let mut cells = row.trim_matches('|').split('|');
        let path = cells.next().unwrap_or_default().trim().trim_matches('`');
        Route {
            path: path.replace("{number}", "1").replace("{name}", "x"),
            looks: rank(cells.next().unwrap_or_default()),
            sends: rank(cells.next().unwrap_or_default()),
        }
    });
    let rows: Vec<_> = rows.collect();
    ensure!(rows.len() > 25, "the table has {} rows", rows.len());
    Ok(rows)
}

/// What every answer has.
fn is_safe(answer: &Answer) -> Result<()> {
    let policy = answer.header("content-security-policy");
    let policy = policy.context("no policy, or two")?;
    for rule in [
        "default-src 'none'",
        "script-src 'self'",
        "frame-ancestors 'none'",
    ] {
        ensure!(policy.split("; ").any(|found| found == rule), "{policy}");
    }
    for unsafe_word in ["unsafe", "*", "http"] {
        ensure!(!policy.contains(unsafe_word), "{policy}");
    }
    for (name, value) in [
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"),
        ("strict-transport-security", "max-age=31536000"),
    ] {
        ensure!(answer.header(name) == Some(value), "{name}: {answer}");
    }
    ensure!(answer.header("server").is_none(), "it tells what it is");
    Ok(())
}

#[test]
fn no_path_without_a_session_a_token_and_the_role() {
    on_stage(|lab, lb| {
        let mut scene = Scene::set(lab, lb)?;
        let https = scene.https()?;
        let host = https.address();
        let mut visitors = ROLES
            .iter()
            .map(|role| scene.visitor(role))
            .collect::<Result<Vec<_>>>()?;
        let stranger = format!("cookie: __Host-lb={}\r\n", "0".repeat(64));
        for route in routes()? {
            let path = &route.path;
            let told = || path.clone();
            let (Some(looks), Some(sends)) = (route.looks, route.sends) else {
                let answer = visitors[0].get(path)?;
                is_safe(&answer).with_context(told)?;
                ensure!(answer.status < 500, "{path}: {answer}");
                continue;
            };
            for cookie in ["", &stranger] {
                let ask = |line: &str| {
                    https.ask(
                        format!(
                            "{line} HTTP/1.1\r\nhost: {host}\r\n{cookie}connection: close\r\n\r\n"
                        )
                        .as_bytes(),
                    )
                };
                let answer = ask(&format!("GET {path}"))?;
                is_safe(&answer).with_context(told)?;
                let to_login = answer.status == 303 && answer.location().starts_with("/login");
                ensure!(to_login && answer.body.is_empty(), "{path}: {answer}");
                for method in ["POST", "PUT", "DELETE", "PATCH", "TRACE"] {
                    let answer = ask(&format!("{method} {path}"))?;
                    is_safe(&answer).with_context(told)?;
                    ensure!(answer.status == 401, "{method} {path}: {answer}");
                }
            }
            for (rank, visitor) in visitors.iter_mut().enumerate() {
                // Neither without a token nor with one of another session does anybody send anything.
                for fields in [vec![], vec![(TOKEN, "0".repeat(64))]] {
                    let fields: Vec<_> = fields.iter().map(|(n, v)| (*n, v.as_str())).collect();
                    let answer = visitor.send_bare(path, &fields)?;
                    is_safe(&answer).with_context(told)?;
                    // Some take nothing from anybody.
                    ensure!([403, 405].contains(&answer.status), "{path}: {answer}");
                }
                let answer = visitor.get(path)?;
                is_safe(&answer).with_context(told)?;
                let is_refused = answer.status == 403;
                ensure!(
                    is_refused == (rank < looks),
                    "{} {path}: {answer}",
                    ROLES[rank]
                );
                ensure!(answer.status < 500, "{path}: {answer}");
                if rank < sends {
                    let answer = visitor.send(path, &[])?;
                    is_safe(&answer).with_context(told)?;
                    ensure!(
                        [403, 405].contains(&answer.status),
                        "{} {path}: {answer}",
                        ROLES[rank]
                    );
                }
            }
        }
        let answer = https.ask(
            format!(
                "POST /login HTTP/1.1\r\nhost: {host}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
            )
            .as_bytes(),
        )?;
        ensure!((400..500).contains(&answer.status), "{answer}");
        cookies_are_kept_in(&https)?;
        scene.is_well()
    });
}

fn cookies_are_kept_in(https: &Https) -> Result<()> {
    let body = format!("user=viewer&password={}", encoded(PASSWORD));
    let question = format!(
        "POST /login HTTP/1.1\r\nhost: {}\r\ncontent-length: {}\r\n\r\n{body}",
        https.address(),
        body.len()
    );
    let answer = https.ask(question.as_bytes())?;
    let cookie = answer.header("set-cookie").context("no cookie, or two")?;
    let flags: BTreeSet<_> = cookie.split("; ").skip(1).collect();
    let expected = ["HttpOnly", "Path=/", "SameSite=Strict", "Secure"];
    ensure!(
        cookie.starts_with("__Host-lb=") && flags == BTreeSet::from(expected),
        "{cookie}"
    );
    Ok(())
}

/// What no client of good will sends: what it is, the question, and what may be answered. No answer is one as well.
fn malformed(cookie: &str) -> Vec<(String, Vec<u8>, Vec<u16>)> {
    let mut table = Vec::new();
    let mut row = |what: &str, question: String, statuses: &[u16]| {
        table.push((what.to_owned(), question.into_bytes(), statuses.to_vec()));
    };
    for path in [
        "/../../../etc/passwd",
        "/asset/../../../etc/passwd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/asset/%2e%2e%2fpasswd",
        "/asset/..%2f..%2frun%2flb-web%2fpasswd",
        "/asset/..%5c..%5cpasswd",
        "//etc/passwd",
        "/asset//etc/passwd",
        "/asset/style.css%00.png",
        "/control%00",
        "/control/",
        "/config/history/../../control",
        "/config/history/%2e%2e",
        "/config/history/-1",
        "/config/history/99999999999999999999",
    ] {
        let question = format!("GET {path} HTTP/1.1\r\nhost: x\r\n{cookie}\r\n");
        row(path, question, &[400, 404]);
    }
    let absolute = format!("GET http://evil.example/help HTTP/1.1\r\nhost: x\r\n{cookie}\r\n");
    row("the address of another host", absolute, &[200, 400, 404]);
    let get = |more: &str| format!("GET /help HTTP/1.1\r\n{more}{cookie}\r\n");
    row("another host", get("host: evil.example\r\n"), &[200]);
    row(
        "two hosts",
        get("host: x\r\nhost: evil.example\r\n"),
        &[400],
    );
    row("no host", get(""), &[200, 400]);
    row(
        "a long header",
        get(&format!("x: {}\r\n", "a".repeat(100_000))),
        &[431],
    );
    row("many headers", get(&"x: y\r\n".repeat(1_000)), &[431]);
    let long = format!(
        "GET /help?{} HTTP/1.1\r\nhost: x\r\n\r\n",
        "a".repeat(100_000)
    );
    row("a long address", long, &[414, 431]);
    let post = |head: &str, body: &str| {
        format!("POST /server HTTP/1.1\r\nhost: x\r\n{cookie}{head}\r\n{body}")
    };
    let large = "x".repeat(200_000);
    row(
        "a long body",
        post("content-length: 200000\r\n", &large),
        &[413],
    );
    row(
        "a body that is said to be long",
        post("content-length: 99999999999999\r\n", &large),
        &[413],
    );
    let chunk = format!("30d40\r\n{large}\r\n0\r\n\r\n");
    row(
        "a long body in pieces",
        post("transfer-encoding: chunked\r\n", &chunk),
        &[413],
    );
    row(
        "two lengths",
        post("content-length: 1\r\ncontent-length: 2\r\n", "ab"),
        &[400],
    );
    row(
        "a length and pieces",
        post(
            "content-length: 4\r\ntransfer-encoding: chunked\r\n",
            "0\r\n\r\n",
        ),
        &[400, 403],
    );
    row(
        "a negative length",
        post("content-length: -1\r\n", ""),
        &[400],
    );
    row(
        "a line that goes on",
        get("host: x\r\nx: a\r\n b\r\n"),
        &[400],
    );
    row("a name with a space", get("host: x\r\nx : a\r\n"), &[400]);
    row(
        "another version",
        get("host: x\r\n").replace("1.1", "9.9"),
        &[400],
    );
    row(
        "nothing that is http",
        "\0\u{1}\u{2}hello\r\n\r\n".to_owned(),
        &[400],
    );
    row(
        "the beginning of HTTP/2",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(),
        &[400, 404, 505],
    );
    row(
        "every host",
        "OPTIONS * HTTP/1.1\r\nhost: x\r\n\r\n".to_owned(),
        &[400, 401, 404, 405],
    );
    row(
        "a tunnel",
        "CONNECT 10.88.1.11:80 HTTP/1.1\r\nhost: x\r\n\r\n".to_owned(),
        &[400, 401, 404, 405],
    );
    table
}

#[test]
fn what_is_malformed_is_refused() {
    on_stage(|lab, lb| {
        let mut scene = Scene::set(lab, lb)?;
        let https = scene.https()?;
        let cookie = format!("cookie: {}\r\n", scene.visitor("admin")?.cookie());
        for (what, question, statuses) in malformed(&cookie) {
            let mut connection = https.connect()?;
            // Who has heard enough may hang up before all is said.
            let _ = connection.send(&question);
            let Some(answer) = connection.answer().with_context(|| what.clone())? else {
                continue;
            };
            ensure!(statuses.contains(&answer.status), "{what}: {answer}");
            for secret in ["root:", "argon2id", "evil.example"] {
                ensure!(!answer.body.contains(secret), "{what}: {answer}");
                ensure!(!answer.location().contains(secret), "{what}: {answer}");
            }
        }
        // There is no HTTP/2, so nothing of it can be reset rapidly.
        let both = https.offering(&["h2", "http/1.1"]).connect();
        let spoken = both.map(|connection| connection.protocol().map(<[u8]>::to_vec));
        ensure!(
            !matches!(&spoken, Ok(Some(name)) if name == b"h2"),
            "HTTP/2 is spoken"
        );
        scene.is_well()
    });
}

/// What somebody does who wants to keep the others out.
enum Slow {
    /// Says nothing at all.
    Silent,
    /// Begins a handshake, a byte now and then.
    Handshake,
    /// Begins a question, a byte now and then.
    Head,
    /// The same with what is sent in it.
    Body,
}

/// So often a slow one says something.
const PACE: Duration = Duration::from_millis(300);

#[test]
fn who_is_slow_or_idle_keeps_nobody_out() {
    on_stage(|lab, lb| {
        let mut scene = Scene::set(lab, lb)?;
        let https = scene.https()?;
        let admin = scene.visitor("admin")?;
        let head = format!(
            "POST /server HTTP/1.1\r\nhost: x\r\ncookie: {}\r\ncontent-length: 60000\r\n\r\n",
            admin.cookie()
        );
        thread::scope(|scope| {
            let slow = [Slow::Silent, Slow::Handshake, Slow::Head, Slow::Body];
            let (https, head) = (&https, &head);
            let drip = |how| scope.spawn(move || drip(https, &how, head));
            let slow: Vec<_> = slow.into_iter().map(drip).collect();

            // Beside them as many as one host can open. Those that are too many are hung up on.
            let idle = (0..200)
                .map(|_| https.reach())
                .collect::<Result<Vec<_>>>()?;
            let elsewhere = &scene.stage.network.servers[0];
            let mut user = scene.tool.visitor(elsewhere)?;
            let page = user.page("/control")?;
            ensure!(page.contains("rs1"), "{page}");
            for mut stream in idle {
                let mut answer = Vec::new();
                match stream.read_to_end(&mut answer) {
                    Err(error) if !is_end(error.kind()) => return Err(error.into()),
                    _ => {}
                }
            }
            for one in slow {
                one.join().expect("a thread")?;
            }
            Ok(())
        })?;
        // And now those from there are let in again.
        scene.visitor("viewer")?.page("/control")?;
        scene.is_well()
    });
}

/// Goes on until the other side hangs up.
fn drip(https: &Https, how: &Slow, head: &str) -> Result<()> {
    let endless = std::iter::repeat(b'a');
    let mut stream = match how {
        Slow::Silent | Slow::Handshake => {
            let stream = https.reach()?;
            stream.set_read_timeout(Some(PACE))?;
            let hello = [0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3];
            return go_on(stream, hello.into_iter().chain(std::iter::repeat(0)), how);
        }
        Slow::Head | Slow::Body => https.connect()?.into_stream(),
    };
    stream.sock.set_read_timeout(Some(PACE))?;
    let said = match how {
        Slow::Body => {
            stream.write_all(head.as_bytes())?;
            &b""[..]
        }
        Slow::Silent | Slow::Handshake | Slow::Head => b"GET /help HTTP/1.1\r\nx: ",
    };
    go_on(stream, said.iter().copied().chain(endless), how)
}

fn go_on(mut stream: impl Read + Write, bytes: impl Iterator<Item = u8>, how: &Slow) -> Result<()> {
    for byte in bytes {
        if !matches!(how, Slow::Silent) {
            let written = stream.write_all(&[byte]).and_then(|()| stream.flush());
            match written {
                Err(error) if is_end(error.kind()) => return Ok(()),
                written => written?,
            }
        }
        // What it says before it hangs up does not matter.
        match stream.read(&mut [0; 1024]) {
            Ok(0) => return Ok(()),
            Ok(_) => {}
            Err(error) if is_end(error.kind()) => return Ok(()),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

#[test]
fn a_hundred_wrong_logins_lock_out_nobody_else() {
    on_stage(|lab, lb| {
        let mut scene = Scene::set(lab, lb)?;
        let https = scene.https()?;
        let mut refused = 0;
        for number in 0..100 {
            let body = format!("user=admin&password=a+guess+{number}");
            let question = format!(
                "POST /login HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n{body}",
                body.len()
            );
            let answer = https.ask(question.as_bytes())?;
            ensure!(answer.header("set-cookie").is_none(), "{answer}");
            match answer.status {
                401 => {}
                429 => refused += 1,
                _ => panic!("{answer}"),
            }
        }
        // One is forgiven each half minute.
        ensure!(
            (80..=90).contains(&refused),
            "{refused} were refused at once"
        );
        ensure!(scene.visitor("admin").is_err(), "it goes on trying");
        scene.tool.visitor(&scene.stage.network.servers[0])?;
        let log = scene.tool.file("audit.log")?;
        ensure!(log.matches("too many").count() >= 80, "{log}");
        ensure!(
            !log.contains("a guess"),
            "a password is written down: {log}"
        );
        scene.is_well()
    });
}

/// What somebody may write where something else is expected.
fn nasty() -> Vec<String> {
    let command = format!("$(touch {LEFT});`touch {LEFT}`|touch {LEFT}&&touch {LEFT}");
    vec![
        "<script>lbx()</script>\"><img src=lbx onerror=lbx()>".to_owned(),
        "a\r\nlbx = 1\n}\nvirtual lbx {".to_owned(),
        "a\0b".to_owned(),
        "lbx {".to_owned(),
        "} #lbx".to_owned(),
        "\"lbx\\".to_owned(),
        command,
        "x".repeat(20_000),
        "\u{202e}\u{645}\u{631}\u{62d}\u{628}\u{627}\u{200f} \u{1f600}\u{0301}".to_owned(),
        "99999999999999999999999999".to_owned(),
    ]
}

/// A page has what somebody wrote as text only, and came from nowhere else.
fn is_clean(what: &str, answer: &Answer) -> Result<()> {
    if [400, 414, 431].contains(&answer.status) && answer.body.is_empty() {
        // It was no question yet.
        return Ok(());
    }
    let what: String = what.chars().take(60).collect();
    let told = || format!("{what}: {answer}");
    is_safe(answer).with_context(told)?;
    ensure!(answer.status < 500, "{what}: {answer}");
    ensure!(answer.header("set-cookie").is_none(), "{what}: {answer}");
    for live in [
        "<script>lbx",
        "<script>document",
        "<img src=lbx",
        "<img/src=lbx",
    ] {
        ensure!(!answer.body.contains(live), "{what}: {live}: {answer}");
    }
    Ok(())
}

/// Forms whose only meaning is what the tests do elsewhere.
const LEFT_OUT: [&str; 3] = ["/logout", "/config/discard", "/failover"];

/// All pages that links lead to, beginning with these.
fn crawl(admin: &mut Visitor, begin: Vec<String>) -> Result<Vec<(String, String)>> {
    const MOST: usize = 120;
    let mut seen: BTreeSet<String> = begin.iter().cloned().collect();
    let mut waiting = VecDeque::from(begin);
    let mut pages = Vec::new();
    while let Some(path) = waiting.pop_front() {
        let answer = admin.get(&path)?;
        is_clean(&path, &answer)?;
        if answer.status != 200 {
            continue;
        }
        for link in links(&answer.body) {
            let link = link.split('#').next().unwrap_or_default().to_owned();
            let is_page = link.starts_with('/') && !link.starts_with("/asset");
            if is_page && seen.len() < MOST && seen.insert(link.clone()) {
                waiting.push_back(link);
            }
        }
        pages.push((path, answer.body));
    }
    Ok(pages)
}

fn all_paths() -> Result<Vec<String>> {
    let routes = routes()?.into_iter().filter(|route| route.looks.is_some());
    Ok(routes.map(|route| route.path).collect())
}

#[test]
fn nothing_is_injected_through_any_field() {
    on_stage(|lab, lb| {
        let mut scene = Scene::set(lab, lb)?;
        let mut admin = scene.visitor("admin")?;
        let before = text(&scene)?;
        let pages = crawl(&mut admin, all_paths()?)?;
        let mut tried = BTreeSet::new();
        let (mut sent, mut taken) = (0, 0);
        for (path, _) in &pages {
            let mut index = 0;
            // A page is asked for anew before each form, for the one before it may have changed what it says.
            loop {
                let Some(form) = forms(&admin.page(path)?).into_iter().nth(index) else {
                    break;
                };
                index += 1;
                for field in &form.fields {
                    if LEFT_OUT.contains(&form.action.as_str())
                        || field.name == TOKEN
                        || !tried.insert(shape(&form, field))
                    {
                        continue;
                    }
                    let done = inject(&mut admin, path, (&form, field));
                    let (all, good) = done
                        .with_context(|| format!("{} of {} on {path}", field.name, form.action))?;
                    sent += all;
                    taken += good;
                }
            }
        }
        eprintln!(
            "{} pages, {} fields, {sent} sent, {taken} taken",
            pages.len(),
            tried.len()
        );
        ensure!(tried.len() > 60 && taken > 0, "{tried:?}");
        ensure!(
            text(&scene)? == before,
            "lvs.cf was written: {}",
            text(&scene)?
        );
        login_is_clean(&scene)?;
        // What was asked for stands in the logs as text.
        crawl(&mut admin, all_paths()?)?;
        scene.is_well()
    });
}

/// The same field of the same form, wherever it stands.
fn shape(form: &Form, field: &Field) -> String {
    let action = form.action.trim_end_matches(|c: char| c.is_ascii_digit());
    let is_button = field.kind == Kind::Button;
    let value = if is_button { field.value.as_str() } else { "" };
    let rest: Vec<_> = form.fields.iter().map(|one| one.name.as_str()).collect();
    format!("{action} {} {value} {}", field.name, rest.join(","))
}

/// Writes everything nasty into a field; how often, and how often that was taken.
fn inject(
    admin: &mut Visitor,
    path: &str,
    (form, field): (&Form, &Field),
) -> Result<(usize, usize)> {
    let mut form = form.clone();
    let (mut sent, mut taken) = (0, 0);
    for words in nasty() {
        let name = field.name.clone();
        let answer = admin.submit(&form, &[(&name, &words)])?;
        is_clean(&words, &answer)?;
        sent += 1;
        if answer.status != 303 {
            let is_told = [414, 431].contains(&answer.status) || answer.body.len() > 100;
            ensure!(is_told, "no words: {answer}");
            continue;
        }
        taken += 1;
        let location = answer.location().to_owned();
        ensure!(
            location.starts_with('/') && !location.starts_with("//"),
            "{location}"
        );
        is_clean(&words, &admin.get(&location)?)?;
        discard(admin)?;
        // The form belongs to another state of the draft now.
        let mut now = forms(&admin.page(path)?).into_iter();
        let now = now.find(|one| shape(one, field) == shape(&form, field));
        match now {
            Some(now) => form = now,
            None => break,
        }
    }
    Ok((sent, taken))
}

/// The draft says what lvs.cf says.
fn discard(admin: &mut Visitor) -> Result<()> {
    let page = admin.get("/config")?;
    is_clean("/config", &page)?;
    let forms = forms(&page.body);
    if let Some(form) = forms.iter().find(|form| form.action == "/config/discard") {
        let answer = admin.submit(form, &[])?;
        ensure!(answer.status == 303, "{answer}");
    }
    Ok(())
}

fn text(scene: &Scene) -> Result<String> {
    let router = scene.stage.network.router();
    router.inside(|| Ok(fs::read_to_string(CONFIG)?))
}

/// The same for the fields of the login, from hosts that have tries left.
fn login_is_clean(scene: &Scene) -> Result<()> {
    let hosts = scene.stage.network.servers.iter().cycle();
    for (words, host) in nasty().into_iter().zip(hosts) {
        let https = scene.tool.https(host)?;
        for (user, password) in [(words.as_str(), PASSWORD), ("admin", words.as_str())] {
            let next = encoded(&words);
            let body = format!(
                "user={}&password={}&next={next}",
                encoded(user),
                encoded(password)
            );
            let question = format!(
                "POST /login HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n{body}",
                body.len()
            );
            let answer = https.ask(question.as_bytes())?;
            is_clean(&words, &answer)?;
            ensure!(
                [401, 413, 429].contains(&answer.status),
                "{words}: {answer}"
            );
        }
        let next = format!(
            "GET /login?next={} HTTP/1.1\r\nhost: x\r\n\r\n",
            encoded(&words)
        );
        if next.len() < 10_000 {
            is_clean(&words, &https.ask(next.as_bytes())?)?;
        }
    }
    Ok(())
}

/// What somebody with an editor may have written into lvs.cf.
const STORED: &str = r#"
# <script>document.title='lbx'</script>
virtual <script>document.title='lbx'</script> {
     active = 1
     address = 10.88.0.102 eth0:3
     vip_nmask = 255.255.255.255
     port = 8081
     send = "<img src=lbx onerror=document.title='lbx'>"
     expect = "<script>document.title='lbx'</script>"
     server '"><img/src=lbx/onerror=lbx()>' {
         address = 10.88.1.11
         active = 1
     }
}
"#;

#[test]
fn what_is_stored_does_not_run_in_a_browser() {
    if let Some(why) = Browser::missing() {
        return skip(&why);
    }
    on_stage(|lab, lb| {
        let mut scene = Scene::set(lab, lb)?;
        let stored = text(&scene)? + STORED;
        scene.stage.director.reload_text(&stored)?;
        let status = scene.stage.director.status()?;
        ensure!(status.services.len() == 2, "{status}");
        let mut admin = scene.visitor("admin")?;
        let pages = crawl(&mut admin, all_paths()?)?;
        ensure!(
            pages
                .iter()
                .any(|(_, page)| page.contains("document.title=")),
            "it is nowhere"
        );

        let browser = Browser::start(&scene.stage.network.client, 9520, Scripts::On)?;
        let url = scene.tool.url();
        browser.open(&format!("{url}/login"))?;
        browser.fill("#f-user", "admin")?;
        browser.fill("#f-password", PASSWORD)?;
        browser.press_words("Log in")?;
        browser.await_words(".account", "admin")?;
        for (path, _) in &pages {
            browser.open(&format!("{url}{path}"))?;
            let title = browser.title()?;
            ensure!(title != "lbx", "{path} runs what is stored: {title}");
            let strange = browser.script(
                "return document.querySelectorAll('script:not([src]), img[src*=lbx], [onerror]').length",
            )?;
            ensure!(strange == 0, "{path} has {strange} of it as tags");
            let cookie = browser.script("return document.cookie")?;
            ensure!(cookie == "", "{path}: scripts read {cookie}");
        }
        // That the browser would have run it otherwise is seen at a page that is not ours.
        browser.open("data:text/html,<title>a</title><script>document.title='lbx'</script>")?;
        ensure!(browser.title()? == "lbx", "this browser runs nothing");
        scene.is_well()
    });
}
