//! piranha, the web configuration tool: `lb web`.
//!
//! A process of its own, without rights, that talks to the daemon by its socket like every other command.
//!
//! - `server`, `tls`: how browsers come in, and what they may take. `sandbox`: what this process may do at all.
//! - `password`, `session`, `role`, `throttle`, `csrf`, `token`: who somebody is. `guard` asks it of every page,
//!   before the page is reached.
//! - `audit`: who changed what.
//! - `app` is what all pages share, `visit` what a page knows of the one who looks at it.
//! - `frame`, `form`, `problem`, `asset`: what pages are made of.
//! - `draft`: what somebody has changed and not applied. `sheet`: forms made of the table of directives.
//! - `partner`: the file pushed to the other director's tool, and taken from it.
//! - `live`, `history`: how things are now, and how they were. `part` keeps pages up to date with it, which are drawn
//!   once for all who see the same of them (`drawing`); `chart` draws it, `words` writes it.
//! - `pages`: the pages, a file for each.
mod app;
mod asset;
mod audit;
mod chart;
mod csrf;
mod draft;
mod drawing;
mod form;
mod frame;
mod guard;
mod headers;
mod history;
mod live;
mod pages;
mod part;
pub(crate) mod partner;
pub(crate) mod password;
pub(crate) mod privilege;
mod problem;
pub(crate) mod role;
mod router;
pub(crate) mod run;
mod sandbox;
mod seccomp;
mod server;
mod session;
mod sheet;
#[cfg(test)]
mod tests;
mod throttle;
mod tls;
mod token;
mod visit;
mod words;

/// Where the web tool keeps passwords, its certificate and the audit log unless told otherwise.
pub(crate) const FOLDER: &str = "/var/lib/lb/web";

/// Where it listens unless told otherwise: as Piranha did, at every address.
pub(crate) const PORT: u16 = 3636;
