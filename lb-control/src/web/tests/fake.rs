//! A web tool with a daemon that is made up, and those who use it.

use std::{
    net::IpAddr,
    sync::{Arc, Mutex},
};

use axum::{
    Json, Router,
    body::{Body, to_bytes},
    extract::{ConnectInfo, State},
    http::{
        HeaderMap, Method, Request, StatusCode,
        header::{COOKIE, LOCATION, SET_COOKIE},
    },
    response::Response,
    routing::{get, post},
};
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;
use tempfile::TempDir;
use tokio::{net::UnixListener, task::JoinSet};

use crate::{
    control::{ON_BEHALF_OF, order::Order},
    journal::{Entry, Page},
    status::{StatusReport, testing},
    web::{
        app::{App, Scheme},
        live, password,
        password::Change,
        role::Role,
        router::router,
    },
};

pub(super) const PASSWORD: &str = "correct horse";

/// Where browsers are.
pub(super) const HOME: [u8; 4] = [192, 0, 2, 7];

/// What the made-up daemon says, and what it was asked to do.
#[derive(Debug, Clone)]
pub(super) struct Daemon(Arc<Mutex<Said>>);

#[derive(Debug)]
pub(super) struct Said {
    pub(super) report: StatusReport,
    pub(super) events: Vec<Entry>,
    /// For whom, and what.
    pub(super) orders: Vec<(String, Order)>,
    pub(super) failovers: Vec<String>,
}

impl Daemon {
    pub(super) fn said<T>(&self, look: impl FnOnce(&mut Said) -> T) -> T {
        look(&mut self.0.lock().unwrap())
    }
}

/// A web tool.
pub(super) struct Tool {
    pub(super) folder: TempDir,
    pub(super) app: App,
    pub(super) router: Router,
    pub(super) daemon: Daemon,
    _tasks: JoinSet<()>,
}

impl Tool {
    /// One with a user for each role, who is called like it.
    pub(super) fn new(scheme: Scheme) -> Self {
        Self::with_proxy(scheme, None)
    }

    pub(super) fn with_proxy(scheme: Scheme, proxy: Option<IpAddr>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for role in Role::ALL {
            let set = Change::Set(PASSWORD.to_owned(), Some(role));
            password::change(folder.path(), role.word(), set).unwrap();
        }
        let socket = folder.path().join("lb.sock");
        let daemon = Daemon(Arc::new(Mutex::new(Said {
            report: testing::report(),
            events: Vec::new(),
            orders: Vec::new(),
            failovers: Vec::new(),
        })));
        let listener = UnixListener::bind(&socket).unwrap();
        let answers = Router::new()
            .route("/v1/status", get(status))
            .route("/v1/events", get(events))
            .route("/v1/server", post(order))
            .route("/v1/failover", post(failover))
            .with_state(daemon.clone());
        let app = App::new(folder.path(), &socket, scheme, proxy).unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move { axum::serve(listener, answers).await.unwrap() });
        tasks.spawn(live::keep(app.clone()));
        Self {
            router: router(&app),
            folder,
            app,
            daemon,
            _tasks: tasks,
        }
    }

    /// An answer to a request from an address.
    pub(super) async fn send_from(&self, address: [u8; 4], mut request: Request<Body>) -> Response {
        let peer = ConnectInfo(IpAddr::from(address));
        request.extensions_mut().insert(peer);
        let router = TowerToHyperService::new(self.router.clone());
        router.call(request).await.unwrap()
    }

    pub(super) async fn send(&self, request: Request<Body>) -> Response {
        self.send_from(HOME, request).await
    }

    pub(super) async fn get(&self, path: &str) -> Response {
        self.send(Request::get(path).body(Body::empty()).unwrap())
            .await
    }

    pub(super) async fn log_in(&self, user: &str, password: &str) -> Response {
        let form = form(&[("user", user), ("password", password)]);
        self.send(Request::post("/login").body(form).unwrap()).await
    }

    /// A browser of a user with this role, who is logged in.
    pub(super) async fn browser(&self, role: Role) -> Browser<'_> {
        let answer = self.log_in(role.word(), PASSWORD).await;
        assert_eq!(answer.status(), StatusCode::SEE_OTHER);
        let cookie = answer.headers()[SET_COOKIE].to_str().unwrap();
        let cookie = cookie.split(';').next().unwrap().to_owned();
        let mut browser = Browser {
            tool: self,
            cookie,
            csrf: String::new(),
        };
        let (status, page) = browser.read("/help").await;
        assert_eq!(status, StatusCode::OK);
        let (_, rest) = page.split_once("name=\"csrf\" content=\"").unwrap();
        browser.csrf = rest.split('"').next().unwrap().to_owned();
        browser
    }
}

/// Somebody who is logged in.
pub(super) struct Browser<'a> {
    pub(super) tool: &'a Tool,
    pub(super) cookie: String,
    pub(super) csrf: String,
}

impl Browser<'_> {
    pub(super) fn request(&self, method: Method, path: &str, body: Body) -> Request<Body> {
        Request::builder()
            .method(method)
            .uri(path)
            .header(COOKIE, &self.cookie)
            .body(body)
            .unwrap()
    }

    pub(super) async fn get(&self, path: &str) -> Response {
        self.tool
            .send(self.request(Method::GET, path, Body::empty()))
            .await
    }

    pub(super) async fn read(&self, path: &str) -> (StatusCode, String) {
        let answer = self.get(path).await;
        (answer.status(), text(answer).await)
    }

    /// A form with the token of this session.
    pub(super) async fn post(&self, path: &str, fields: &[(&str, &str)]) -> Response {
        let mut fields = fields.to_vec();
        fields.push(("csrf", &self.csrf));
        self.tool
            .send(self.request(Method::POST, path, form(&fields)))
            .await
    }
}

pub(super) fn form(fields: &[(&str, &str)]) -> Body {
    Body::from(serde_urlencoded::to_string(fields).unwrap())
}

pub(super) async fn text(answer: Response) -> String {
    let body = to_bytes(answer.into_body(), 64 << 20).await.unwrap();
    String::from_utf8(body.to_vec()).unwrap()
}

pub(super) fn location(answer: &Response) -> &str {
    answer
        .headers()
        .get(LOCATION)
        .map_or("", |location| location.to_str().unwrap())
}

async fn status(State(daemon): State<Daemon>) -> Json<StatusReport> {
    Json(daemon.said(|said| said.report.clone()))
}

async fn events(State(daemon): State<Daemon>) -> Json<Page> {
    let events = daemon.said(|said| std::mem::take(&mut said.events));
    Json(Page {
        events,
        oldest: 1,
        newest: 1,
    })
}

fn on_behalf_of(headers: &HeaderMap) -> String {
    let name = headers.get(ON_BEHALF_OF);
    name.map_or_else(String::new, |name| name.to_str().unwrap().to_owned())
}

async fn order(
    State(daemon): State<Daemon>,
    headers: HeaderMap,
    Json(order): Json<Order>,
) -> Result<Json<serde_json::Value>, (StatusCode, Json<serde_json::Value>)> {
    if order.server == "nobody" {
        let text = serde_json::json!({"text": "no real server is called “nobody”"});
        return Err((StatusCode::NOT_FOUND, Json(text)));
    }
    let text = format!("{} is ordered", order.verb);
    daemon.said(|said| said.orders.push((on_behalf_of(&headers), order)));
    Ok(Json(serde_json::json!({ "text": text })))
}

async fn failover(State(daemon): State<Daemon>, headers: HeaderMap) -> Json<serde_json::Value> {
    daemon.said(|said| said.failovers.push(on_behalf_of(&headers)));
    Json(serde_json::json!({"text": "the partner is active"}))
}
