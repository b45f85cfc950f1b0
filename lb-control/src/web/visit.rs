//! What a page knows of the one who looks at it.

use std::net::IpAddr;

use axum::{
    extract::FromRequestParts,
    http::{StatusCode, request::Parts},
    response::{IntoResponse as _, Redirect, Response},
};
use maud::{Markup, html};

use super::{
    app::App,
    csrf,
    frame::{self, Area},
    problem::Problem,
    role::Role,
    session::{Notice, Session},
};
use crate::control::client::Daemon;

/// Somebody who is logged in looks at a page. An argument of every page: `visit: Visit`.
#[derive(Debug, Clone)]
pub(super) struct Visit {
    pub(super) app: App,
    pub(super) session: Session,
    pub(super) address: IpAddr,
    /// For the daemon's journal: `ada from 192.0.2.7`.
    pub(super) name: String,
    /// The page is read again and again, without anybody asking.
    pub(super) again: bool,
}

impl Visit {
    pub(super) fn new(app: App, session: Session, address: IpAddr) -> Self {
        let name = format!("{} from {address}", session.user);
        Self {
            app,
            session,
            address,
            name,
            again: false,
        }
    }

    /// Whether this is for such a user. What a page *does* is refused before it is reached; this is for what it shows.
    pub(super) fn may(&self, role: Role) -> bool {
        self.session.role >= role
    }

    /// The daemon, asked for this user: whatever it changes it writes down under the user's name.
    pub(super) fn daemon(&self) -> Daemon<'_> {
        Daemon {
            socket: &self.app.socket,
            on_behalf_of: Some(&self.name),
        }
    }

    /// A whole page. `title` stands above `body`.
    pub(super) fn page(&self, area: Area, title: &str, body: &Markup) -> Response {
        frame::page(self, area, title, body).into_response()
    }

    /// What every form that changes something has in it.
    pub(super) fn token(&self) -> Markup {
        html! { input type="hidden" name=(csrf::FIELD) value=(self.session.csrf.as_str()); }
    }

    /// Something was done, or was not: that is written into the audit log, and told on the next page.
    pub(super) fn done(&self, what: &str, result: Result<&str, &str>) {
        self.audit(what, result);
        self.tell(match result {
            Ok(text) => Notice::Done(text.to_owned()),
            Err(text) => Notice::Failed(text.to_owned()),
        });
    }

    /// Into the audit log only.
    pub(super) fn audit(&self, what: &str, result: Result<&str, &str>) {
        let user = &self.session.user;
        self.app.audit.write(user, self.address, what, result);
    }

    /// On the next page only.
    pub(super) fn tell(&self, notice: Notice) {
        self.app.sessions.tell(self.session.id, notice);
    }

    /// After a form was taken: the browser asks for this page of ours, and reloading that sends nothing again.
    pub(super) fn go(&self, path: &str) -> Response {
        Redirect::to(path).into_response()
    }
}

impl FromRequestParts<App> for Visit {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, Problem> {
        // Without one the guard would not have let it through.
        let visit = parts.extensions.get::<Self>().cloned();
        visit.ok_or_else(|| Problem::new(StatusCode::UNAUTHORIZED, "nobody is logged in"))
    }
}

/// A path of ours out of what a browser says: where it wants to go next. Anything else is the start.
pub(super) fn own_path(wanted: Option<&str>) -> &str {
    let is_own = |path: &&str| {
        path.starts_with('/')
            && !path.starts_with("//")
            && path
                .bytes()
                .all(|byte| byte.is_ascii_graphic() && byte != b'\\')
    };
    wanted.filter(is_own).unwrap_or("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_sent_elsewhere() {
        let table = [
            (None, "/"),
            (Some("/events?kind=left"), "/events?kind=left"),
            (Some(""), "/"),
            (Some("//evil.example"), "/"),
            (Some("/\\evil.example"), "/"),
            (Some("https://evil.example"), "/"),
            (Some("/a\r\nset-cookie: x"), "/"),
            (Some("javascript:alert(1)"), "/"),
        ];
        for (wanted, expected) in table {
            assert_eq!(own_path(wanted), expected, "{wanted:?}");
        }
    }
}
