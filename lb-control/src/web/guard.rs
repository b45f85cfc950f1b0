//! Who reaches a page: somebody with a session, with the right role, and for changes from one of our own pages.

use std::{net::IpAddr, time::Duration};

use axum::{
    body::{self, Body},
    extract::{ConnectInfo, Request, State},
    http::{
        HeaderMap, Method, StatusCode,
        header::{COOKIE, HOST},
    },
    middleware::Next,
    response::{IntoResponse as _, Redirect, Response},
};
use tokio::time::{Instant, timeout};

use super::{
    app::{App, Scheme},
    csrf,
    problem::Problem,
    role::Role,
    session::Session,
    visit::Visit,
};

/// What a body has to be complete after.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a page asks of those who come.
#[derive(Debug, Clone, Copy)]
pub(super) struct Needs {
    /// To look at it.
    pub(super) read: Role,
    /// To send something.
    pub(super) write: Role,
    /// How long a body may be, in bytes.
    pub(super) body: usize,
}

/// What a body may have where a page says nothing else, in bytes.
pub(super) const BODY: usize = 64 << 10;

/// The name of the cookie. With the prefix a browser takes it only by https, for this host and all of its paths.
pub(super) const fn cookie_name(scheme: Scheme) -> &'static str {
    match scheme {
        Scheme::Https => "__Host-lb",
        Scheme::Http => "lb",
    }
}

/// What sets the cookie; an empty one takes it away.
pub(super) fn set_cookie(scheme: Scheme, value: &str) -> String {
    let name = cookie_name(scheme);
    let secure = match scheme {
        Scheme::Https => "; Secure",
        Scheme::Http => "",
    };
    let age = match value {
        "" => "; Max-Age=0",
        _ => "",
    };
    format!("{name}={value}; Path=/; HttpOnly; SameSite=Strict{secure}{age}")
}

/// What the address of a page says that is read again and again by a browser without JavaScript.
pub(super) const AGAIN: &str = "again=1";

/// Whether a request is one that nobody made by himself.
fn is_again(request: &Request) -> bool {
    let query = request.uri().query().unwrap_or_default();
    is_reading(request) && query.split('&').any(|word| word == AGAIN)
}

/// The session that a request belongs to, if it is one of a user who is still there.
pub(super) fn session(app: &App, headers: &HeaderMap, now: Instant) -> Option<Session> {
    found(app, headers, |cookie| app.sessions.find(cookie, now))
}

fn found(
    app: &App,
    headers: &HeaderMap,
    find: impl FnOnce(&str) -> Option<Session>,
) -> Option<Session> {
    let name = cookie_name(app.scheme);
    let cookies = headers.get_all(COOKIE).iter();
    let mut cookies = cookies
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(';'))
        .filter_map(|cookie| cookie.trim().split_once('='));
    let (_, value) = cookies.find(|(found, _)| *found == name)?;
    let session = find(value)?;
    if !is_still_so(app, &session) {
        app.sessions.end(session.id);
        return None;
    }
    Some(session)
}

/// Whether somebody who looks on may go on looking.
pub(super) fn goes_on(visit: &Visit, now: Instant) -> bool {
    let Visit { app, session, .. } = visit;
    app.sessions.goes_on(session.id, now) && is_still_so(app, session)
}

/// Whether the password file says of the user what it said at login.
fn is_still_so(app: &App, session: &Session) -> bool {
    let users = app.users.users().ok();
    let entry = users.and_then(|users| Some(users.get(&session.user)?.digest()));
    entry == Some(session.entry)
}

/// From where a request comes. A proxy that we are told to trust says it for its clients.
pub(super) fn address(app: &App, request: &Request) -> IpAddr {
    let peer = request.extensions().get::<ConnectInfo<IpAddr>>();
    let unknown = IpAddr::from([0, 0, 0, 0]);
    let peer = peer.map_or(unknown, |ConnectInfo(peer)| peer.to_canonical());
    if app.proxy != Some(peer) {
        return peer;
    }
    let said = request
        .headers()
        .get_all("x-forwarded-for")
        .iter()
        .next_back();
    let said = said.and_then(|said| said.to_str().ok()?.rsplit(',').next());
    said.and_then(|said| said.trim().parse().ok())
        .unwrap_or(peer)
}

/// A request is for one host (RFC 9112 §3.2): others on the way may have looked at another one of several.
pub(super) async fn one_host(request: Request, next: Next) -> Response {
    match request.headers().get_all(HOST).iter().nth(1) {
        None => next.run(request).await,
        Some(_) => Problem::unclear("this is for several hosts at once").into_response(),
    }
}

/// Lets a request through to its page, or says why not.
pub(super) async fn guard(
    State((app, needs)): State<(App, Needs)>,
    request: Request,
    next: Next,
) -> Response {
    match admitted(app, needs, request).await {
        Ok(request) => next.run(request).await,
        Err(response) => response,
    }
}

async fn admitted(app: App, needs: Needs, mut request: Request) -> Result<Request, Response> {
    let reads = is_reading(&request);
    let (now, again) = (Instant::now(), is_again(&request));
    let session = found(&app, request.headers(), |cookie| match again {
        true => app.sessions.look(cookie, now),
        false => app.sessions.find(cookie, now),
    });
    let Some(session) = session else {
        return Err(no_session(&request));
    };
    let address = address(&app, &request);
    let mut visit = Visit::new(app, session, address);
    visit.again = again;
    let needed = if reads { needs.read } else { needs.write };
    if !visit.may(needed) {
        let role = visit.session.role;
        let text = format!("this is for the role {needed}, and you have the role {role}");
        if !reads {
            visit.audit(&format!("send {}", request.uri().path()), Err(&text));
        }
        return Err(Problem::forbidden(text).into_response());
    }
    if !reads {
        let scheme = visit.app.scheme;
        let is_ours = csrf::is_from_here(request.headers(), scheme);
        let (parts, body) = request.into_parts();
        let body = complete(body, needs.body).await?;
        if !is_ours || !csrf::has_token(&parts.headers, &body, &visit.session.csrf) {
            let text = "this was not sent from a page of this session; go back, reload the page and try again";
            return Err(Problem::forbidden(text).into_response());
        }
        request = Request::from_parts(parts, Body::from(body));
    }
    request.extensions_mut().insert(visit);
    Ok(request)
}

fn is_reading(request: &Request) -> bool {
    matches!(*request.method(), Method::GET | Method::HEAD)
}

/// The whole body, if it is not too long and does not take too long.
pub(super) async fn complete(body: Body, longest: usize) -> Result<body::Bytes, Response> {
    let problem = match timeout(PATIENCE, body::to_bytes(body, longest)).await {
        Ok(Ok(body)) => return Ok(body),
        Ok(Err(_)) => {
            let text = format!("what was sent has no end, or more than {longest} bytes");
            Problem::new(StatusCode::PAYLOAD_TOO_LARGE, text)
        }
        Err(_) => {
            let text = format!("what was sent was not complete after {PATIENCE:?}");
            Problem::new(StatusCode::REQUEST_TIMEOUT, text)
        }
    };
    Err(problem.into_response())
}

/// People are sent to the login and come back; programs and scripts are told.
pub(super) fn no_session(request: &Request) -> Response {
    let reads = is_reading(request);
    let accept = request.headers().get("accept");
    let is_page = accept.is_none_or(|accept| {
        let accept = accept.to_str().unwrap_or("");
        !accept.contains("event-stream")
    });
    if !reads || !is_page {
        let text = "nobody is logged in, or the session is over";
        return Problem::new(StatusCode::UNAUTHORIZED, text).into_response();
    }
    let wanted = request
        .uri()
        .path_and_query()
        .map_or("/", |path| path.as_str());
    match wanted {
        "/" => Redirect::to("/login").into_response(),
        wanted => {
            let next = super::form::encoded(wanted);
            Redirect::to(&format!("/login?next={next}")).into_response()
        }
    }
}
