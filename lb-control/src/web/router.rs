//! Which path is which page.

use axum::{
    Router,
    extract::{DefaultBodyLimit, Request, State},
    http::StatusCode,
    middleware,
    response::{IntoResponse as _, Redirect, Response},
    routing::{MethodRouter, get},
};
use tokio::time::Instant;

#[cfg(test)]
use super::partner::{CHALLENGE_PATH, CONFIG_PATH};
use super::{
    app::App,
    asset,
    guard::{self, BODY, Needs, guard, one_host},
    headers, pages,
    problem::Problem,
    role::Role,
};

/// A page: its path, what it answers, and whom it is for.
pub(super) struct Page {
    path: &'static str,
    methods: MethodRouter<App>,
    needs: Needs,
}

impl Page {
    /// One that everybody with a session may look at, and that only admins may send something to.
    pub(super) const fn new(path: &'static str, methods: MethodRouter<App>) -> Self {
        let needs = Needs {
            read: Role::Viewer,
            write: Role::Admin,
            body: BODY,
        };
        Self {
            path,
            methods,
            needs,
        }
    }

    #[cfg(test)]
    pub(super) const fn path(&self) -> &'static str {
        self.path
    }

    /// Who may look at it, and who may send something to it.
    #[cfg(test)]
    pub(super) const fn roles(&self) -> (Role, Role) {
        (self.needs.read, self.needs.write)
    }

    /// It is only for those who have at least this role.
    pub(super) fn read_by(mut self, role: Role) -> Self {
        self.needs.read = role;
        self
    }

    /// Those who have at least this role may send something.
    pub(super) fn written_by(mut self, role: Role) -> Self {
        self.needs.write = role;
        self
    }

    /// What is sent may have so many bytes.
    pub(super) fn with_body(mut self, bytes: usize) -> Self {
        self.needs.body = bytes;
        self
    }
}

/// The paths that need no session.
#[cfg(test)]
pub(super) const OPEN: [&str; 5] = [LOGIN, CHALLENGE_PATH, CONFIG_PATH, ASSET, ICON];

const LOGIN: &str = "/login";
const ASSET: &str = "/asset/{name}";
const ICON: &str = "/favicon.ico";

/// All that the tool answers.
pub(super) fn router(app: &App) -> Router {
    let guarded = pages::all()
        .into_iter()
        .fold(Router::new(), |router, page| {
            let state = (app.clone(), page.needs);
            let guard = middleware::from_fn_with_state(state, guard);
            router.route(page.path, page.methods.layer(guard))
        });
    guarded
        .route(LOGIN, pages::login::methods())
        .merge(pages::partner::routes())
        .route(ASSET, get(asset::file))
        .route(ICON, get(|| async { Redirect::to(asset::LOGO.path()) }))
        .fallback(nothing_here)
        .method_not_allowed_fallback(not_so)
        .layer(DefaultBodyLimit::disable())
        .layer(middleware::from_fn(one_host))
        .layer(middleware::from_fn_with_state(app.clone(), headers::add))
        .with_state(app.clone())
}

/// Who is not logged in is not told what there is.
async fn nothing_here(State(app): State<App>, request: Request) -> Response {
    let text = format!("there is no page {}", request.uri().path());
    stranger_or(&app, &request, Problem::missing(text))
}

async fn not_so(State(app): State<App>, request: Request) -> Response {
    let text = "this page is not for sending something to it, or only for that";
    let problem = Problem::new(StatusCode::METHOD_NOT_ALLOWED, text);
    stranger_or(&app, &request, problem)
}

fn stranger_or(app: &App, request: &Request, problem: Problem) -> Response {
    match guard::session(app, request.headers(), Instant::now()) {
        Some(_) => problem.into_response(),
        None => guard::no_session(request),
    }
}
