//! The pages, a file for each.
//!
//! A page is added by a file here with a function `pages()`, and a line in [`all`]. What stands in such a file is
//! reached only by those who have a session, the role that the page asks for (to look: viewer; to send: admin; see
//! [`Page`]), and, when something is sent, the token of their session, which `visit.token()` puts into a form:
//!
//! ```ignore
//! pub(in crate::web) fn pages() -> Vec<Page> {
//!     vec![Page::new("/global", get(show).post(save))]
//! }
//!
//! async fn show(visit: Visit) -> Result<Response, Problem> {
//!     let text = client::config(visit.daemon()).await.map_err(|error| Problem::daemon(&error))?;
//!     let body = html! {
//!         form method="post" action="/global" {
//!             (visit.token())
//!             (Field::new("primary", "Primary server public IP").value(&text).required().text())
//!             @if visit.may(Role::Admin) { button type="submit" { "Accept" } }
//!         }
//!     };
//!     Ok(visit.page(Area::Global, "Global settings", &body))
//! }
//!
//! async fn save(visit: Visit, Form(said): Form<Said>) -> Result<Response, Problem> {
//!     visit.done("edit global settings", Ok("the draft has another primary"));
//!     Ok(visit.go("/global"))
//! }
//! ```

pub(super) mod apart;
pub(super) mod apply;
pub(super) mod audit;
pub(super) mod block;
pub(super) mod config;
pub(super) mod control;
mod desk;
pub(super) mod drops;
#[cfg(test)]
mod editing;
pub(super) mod events;
pub(super) mod explain;
pub(super) mod failover;
mod fields;
pub(super) mod help;
pub(super) mod history;
pub(super) mod login;
pub(super) mod partner;
#[cfg(test)]
mod pushing;
mod routing;
pub(super) mod server;
pub(super) mod service;
pub(super) mod services;
pub(super) mod settings;
mod text;

use super::router::Page;

/// All pages that need a session.
pub(super) fn all() -> Vec<Page> {
    let pages = [
        login::pages(),
        control::pages(),
        settings::pages(),
        services::pages(),
        block::pages(),
        config::pages(),
        apply::pages(),
        apart::pages(),
        history::pages(),
        service::pages(),
        server::pages(),
        failover::pages(),
        drops::pages(),
        explain::pages(),
        events::pages(),
        audit::pages(),
        help::pages(),
    ];
    pages.into_iter().flatten().collect()
}
