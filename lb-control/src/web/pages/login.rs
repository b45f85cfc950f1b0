//! Login and logout.

use std::{net::IpAddr, sync::Arc, time::Duration};

use axum::{
    extract::{Request, State},
    http::{
        HeaderValue, StatusCode,
        header::{RETRY_AFTER, SET_COOKIE},
    },
    response::{IntoResponse as _, Redirect, Response},
    routing::{MethodRouter, get, post},
};
use maud::{Markup, html};
use serde::Deserialize;
use tokio::time::{Instant, timeout};

use super::super::{
    app::App,
    csrf,
    form::{self, Asked, Field},
    frame,
    guard::{self, complete, set_cookie},
    password::{self, LONGEST},
    problem::{Problem, sentence},
    role::Role,
    router::Page,
    visit::{Visit, own_path},
};

/// How long somebody waits for others whose passwords are looked at.
const PATIENCE: Duration = Duration::from_secs(10);

/// A login has no more bytes: a password of which each is written as three, and the rest.
const BODY: usize = 3 * LONGEST + 4_096;

pub(in crate::web) fn methods() -> MethodRouter<App> {
    get(show).post(log_in)
}

pub(in crate::web) fn pages() -> Vec<Page> {
    vec![Page::new("/logout", post(log_out)).written_by(Role::Viewer)]
}

#[derive(Debug, Deserialize)]
struct Next {
    next: Option<String>,
}

async fn show(State(app): State<App>, Asked(Next { next }): Asked<Next>) -> Response {
    let next = own_path(next.as_deref());
    match app.users.users() {
        Ok(users) if users.is_empty() => page("", next, Some(&nobody())),
        Ok(_) => page("", next, None),
        Err(error) => {
            tracing::error!("{error:#}");
            let text =
                html! { "The password file cannot be used; the log of the web tool says why." };
            page("", next, Some(&text))
        }
    }
}

fn nobody() -> Markup {
    html! {
        "There are no users yet. An administrator of this machine makes one: "
        code { "lb web passwd --role admin NAME" }
    }
}

#[derive(Deserialize)]
struct Said {
    #[serde(default)]
    user: String,
    #[serde(default)]
    password: String,
    next: Option<String>,
}

async fn log_in(State(app): State<App>, request: Request) -> Result<Response, Response> {
    let address = guard::address(&app, &request);
    let (parts, body) = request.into_parts();
    let said = complete(body, BODY).await?;
    if !csrf::is_from_here(&parts.headers, app.scheme) {
        let text = "this was not sent from the login page of this tool";
        return Err(Problem::forbidden(text).into_response());
    }
    let Said {
        user,
        password,
        next,
    } = form::read(&said).map_err(|problem| problem.into_response())?;
    let next = own_path(next.as_deref());
    // A name that cannot be is not worth a line of its own in any table.
    let known = match password::check_name(&user) {
        Ok(()) if password.len() <= LONGEST => user.as_str(),
        Ok(()) | Err(_) => "",
    };
    if let Err(wait) = app.throttle.enter(known, address, Instant::now()) {
        app.audit
            .write(known, address, "log in", Err("too many wrong tries"));
        return Err(later(known, next, wait));
    }
    let Some(role) = verified(&app, known, password)
        .await
        .map_err(|problem| problem.into_response())?
    else {
        let text = match app.users.users() {
            Ok(_) => "wrong user or password",
            Err(_) => "the password file cannot be used",
        };
        app.audit.write(known, address, "log in", Err(text));
        let text = html! { (sentence(text)) };
        let page = page(&user, next, Some(&text));
        return Err((StatusCode::UNAUTHORIZED, page).into_response());
    };
    app.throttle.pass(known, address, Instant::now());
    let cookie = begin(&app, &parts.headers, known, role, address)
        .map_err(|error| Problem::ours(&error).into_response())?;
    app.audit
        .write(known, address, "log in", Ok(&format!("as {}", role.0)));
    Ok(([(SET_COOKIE, cookie)], Redirect::to(next)).into_response())
}

/// What the user may do and what stands for the entry in the password file, if that is the password.
async fn verified(
    app: &App,
    user: &str,
    password: String,
) -> Result<Option<(Role, [u8; 32])>, Problem> {
    let users = app.users.users().unwrap_or_else(|error| {
        tracing::error!("{error:#}");
        Arc::default()
    });
    let found = users.get(user).cloned();
    let Ok(Ok(_turn)) = timeout(PATIENCE, app.hashing.acquire()).await else {
        let text = "too many others are logging in; try again in a minute";
        return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, text));
    };
    let looked = tokio::task::spawn_blocking(move || match found {
        Some(found) => found.has(&password).then(|| (found.role, found.digest())),
        None => {
            password::pretend(&password);
            None
        }
    });
    looked.await.map_err(|error| Problem::ours(&error.into()))
}

/// A new session; the one that the browser had before ends.
fn begin(
    app: &App,
    headers: &axum::http::HeaderMap,
    user: &str,
    (role, entry): (Role, [u8; 32]),
    address: IpAddr,
) -> anyhow::Result<String> {
    let now = Instant::now();
    if let Some(before) = guard::session(app, headers, now) {
        app.sessions.end(before.id);
    }
    let cookie = app.sessions.begin(user, role, entry, address, now)?;
    Ok(set_cookie(app.scheme, cookie.as_str()))
}

async fn log_out(visit: Visit) -> Response {
    visit.audit("log out", Ok(""));
    visit.app.sessions.end(visit.session.id);
    let cookie = set_cookie(visit.app.scheme, "");
    ([(SET_COOKIE, cookie)], Redirect::to("/login")).into_response()
}

/// The address has to wait.
fn later(user: &str, next: &str, wait: Duration) -> Response {
    let seconds = wait.as_secs() + 1;
    let text = html! { "Too many wrong tries. Try again in " (seconds) " seconds." };
    let mut response =
        (StatusCode::TOO_MANY_REQUESTS, page(user, next, Some(&text))).into_response();
    response
        .headers_mut()
        .insert(RETRY_AFTER, HeaderValue::from(seconds));
    response
}

fn page(user: &str, next: &str, problem: Option<&Markup>) -> Response {
    let body = html! {
        h1 { "Log in" }
        @if let Some(problem) = problem {
            p class="notice failed" id="problem" role="alert" { (problem) }
        }
        form method="post" action="/login" class="login" id="login" {
            input type="hidden" name="next" value=(next);
            (Field::new("user", "User").value(user).required().text_of("username"))
            (Field::new("password", "Password").required().password("current-password"))
            button type="submit" class="main" { "Log in" }
        }
    };
    frame::bare("Log in", &body)
}
