//! What stands around every page: head, areas, who is logged in, what is to be told.

use axum::response::{Html, IntoResponse as _, Response};
use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::{asset, part, problem::sentence, role::Role, session::Notice, visit::Visit};

/// The areas of the tool, named as Piranha named them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Area {
    Control,
    Global,
    Redundancy,
    Virtual,
    Config,
    Drops,
    Events,
    Audit,
    Help,
}

impl Area {
    /// The four of Piranha.
    const OLD: [Self; 4] = [Self::Control, Self::Global, Self::Redundancy, Self::Virtual];

    /// Those that came later.
    const NEW: [Self; 5] = [
        Self::Config,
        Self::Drops,
        Self::Events,
        Self::Audit,
        Self::Help,
    ];

    /// What stands on its tab.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Control => "Control/Monitoring",
            Self::Global => "Global Settings",
            Self::Redundancy => "Redundancy",
            Self::Virtual => "Virtual Servers",
            Self::Config => "Config",
            Self::Drops => "Drops",
            Self::Events => "Events",
            Self::Audit => "Audit",
            Self::Help => "Help",
        }
    }

    /// Its first page.
    pub(super) const fn path(self) -> &'static str {
        match self {
            Self::Control => "/control",
            Self::Global => "/global",
            Self::Redundancy => "/redundancy",
            Self::Virtual => "/virtual",
            Self::Config => "/config",
            Self::Drops => "/drops",
            Self::Events => "/events",
            Self::Audit => "/audit",
            Self::Help => "/help",
        }
    }

    /// Who sees it.
    const fn role(self) -> Role {
        match self {
            Self::Audit => Role::Admin,
            Self::Control
            | Self::Global
            | Self::Redundancy
            | Self::Virtual
            | Self::Config
            | Self::Drops
            | Self::Events
            | Self::Help => Role::Viewer,
        }
    }
}

/// A page for somebody who is logged in.
pub(super) fn page(visit: &Visit, area: Area, title: &str, body: &Markup) -> Html<String> {
    let notices = visit.app.sessions.told(visit.session.id);
    let content = html! {
        a class="skip" href="#main" { "Skip to the content" }
        header class="top" {
            a class="brand" href="/control" { (logo()) span { "piranha" } }
            span class="node" id="node" { (node()) }
            form class="account" method="post" action="/logout" {
                (visit.token())
                span { (visit.session.user) " " span class="role" { (visit.session.role) } }
                button type="submit" class="quiet" id="logout" { "Log out" }
            }
        }
        nav class="areas" aria-label="Areas" {
            ul class="old" { @for one in Area::OLD { (tab(visit, area, one)) } }
            ul class="new" { @for one in Area::NEW { (tab(visit, area, one)) } }
        }
        main id="main" tabindex="-1" {
            div id="notices" role="status" aria-live="polite" { @for notice in &notices { (told(notice)) } }
            h1 { (title) }
            (body)
        }
        footer {
            "lvs-xdp " (env!("CARGO_PKG_VERSION"))
            " · " a href="/help" { "Help" }
        }
    };
    // What lives are the reading pages: nothing that is typed is lost.
    let lives = matches!(area, Area::Control | Area::Drops | Area::Events);
    Html(document(title, Some(visit), visit.again && lives, &content).into_string())
}

/// A page for anybody: login, and why there is no page.
pub(super) fn bare(title: &str, body: &Markup) -> Response {
    let content = html! {
        main id="main" class="bare" {
            p class="brand" { (logo()) span { "piranha" } }
            (body)
        }
    };
    Html(document(title, None, false, &content).into_string()).into_response()
}

fn document(title: &str, visit: Option<&Visit>, again: bool, content: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                @if let Some(visit) = visit {
                    meta name="csrf" content=(visit.session.csrf.as_str());
                }
                @if again { noscript { meta http-equiv="refresh" content=(part::AGAIN.as_secs()); } }
                title { (title) " – " (node()) " – piranha" }
                link rel="icon" type="image/svg+xml" href=(asset::LOGO.path());
                link rel="stylesheet" href=(asset::STYLE.path());
                script src=(asset::SCRIPT.path()) defer {}
            }
            body { (content) }
        }
    }
}

fn tab(visit: &Visit, here: Area, area: Area) -> Markup {
    html! {
        @if visit.may(area.role()) {
            li { a href=(area.path()) aria-current=[(area == here).then_some("page")] { (area.name()) } }
        }
    }
}

/// What was done, or was not.
pub(super) fn told(notice: &Notice) -> Markup {
    let (class, word, text) = match notice {
        Notice::Done(text) => ("done", "Done", text),
        Notice::Failed(text) => ("failed", "Failed", text),
    };
    html! {
        p class={ "notice " (class) } { strong { (word) ": " } (sentence(text)) }
    }
}

/// What people call this machine.
fn node() -> String {
    nix::unistd::gethostname()
        .ok()
        .and_then(|name| name.into_string().ok())
        .unwrap_or_else(|| "this node".to_owned())
}

fn logo() -> Markup {
    PreEscaped(asset::LOGO.text().to_owned())
}
