//! Parts of a page that are kept up to date.
//!
//! A page that lives is a function that draws on a [`Canvas`]: once for the page itself, and again whenever something
//! is new, when only those parts are sent that are different. So what is written first and what is written later is
//! written by the same lines.

use std::{
    cell::RefCell,
    collections::HashMap,
    convert::Infallible,
    hash::{DefaultHasher, Hasher as _},
    sync::Arc,
    time::Duration,
};

use axum::{
    http::{HeaderName, StatusCode},
    response::{
        IntoResponse as _, Response, Sse,
        sse::{Event, KeepAlive},
    },
};
use futures_util::stream;
use maud::{Markup, PreEscaped, Render, html};
use tokio::time::Instant;

use super::{
    guard,
    live::{Live, Looking, Snapshot},
    problem::Problem,
    visit::Visit,
};

/// A quiet stream says something that often, so that nobody on the way thinks that it is over.
const ALIVE: Duration = Duration::from_secs(15);

/// How often a page is read again without JavaScript, if its user wants it.
pub(super) const AGAIN: Duration = Duration::from_secs(10);

/// Where a page that lives is drawn.
#[derive(Debug, Default)]
pub(super) struct Canvas {
    parts: RefCell<Vec<(String, String)>>,
}

impl Canvas {
    /// What has to be kept up to date within an element with this id.
    pub(super) fn part(&self, id: &str, inner: &impl Render) -> Markup {
        let inner = inner.render();
        let mut parts = self.parts.borrow_mut();
        parts.push((id.to_owned(), inner.0.clone()));
        inner
    }

    /// A cell of a table that is kept up to date.
    pub(super) fn cell(&self, id: &str, class: &str, inner: &impl Render) -> Markup {
        html! { td id=(id) class=[(!class.is_empty()).then_some(class)] { (self.part(id, inner)) } }
    }

    /// A part of a line, or of anything else.
    pub(super) fn span(&self, id: &str, inner: &impl Render) -> Markup {
        html! { span id=(id) { (self.part(id, inner)) } }
    }

    /// A block.
    pub(super) fn block(&self, id: &str, class: &str, inner: &impl Render) -> Markup {
        html! { div id=(id) class=[(!class.is_empty()).then_some(class)] { (self.part(id, inner)) } }
    }

    fn into_parts(self) -> Vec<(String, String)> {
        self.parts.into_inner()
    }
}

/// The living part of a page, as it is now; `path` is where its news are, and the page itself.
pub(super) fn section(
    path: &str,
    now: &Snapshot,
    draw: impl Fn(&Canvas, &Snapshot) -> Markup,
) -> Markup {
    let canvas = Canvas::default();
    let inner = draw(&canvas, now);
    let separator = if path.contains('?') { '&' } else { '?' };
    let shape = format!("{:016x}", shape(&canvas.into_parts()));
    html! {
        div id="live" data-follow={ (path) (separator) "follow=" (shape) } { (inner) }
        noscript {
            p class="soft" {
                "Without JavaScript this page does not keep itself up to date. Look again: "
                a href=(path) { "once" } " · "
                a href={ (path) (separator) (guard::AGAIN) } { "every " (AGAIN.as_secs()) " seconds" }
            }
        }
    }
}

/// News of a page: `parts` is a list of ids and what is in them now, `shape` says that other parts are there now, and
/// `over` that the session has ended. The page says what shape it has: it may be of an older state than the first news.
pub(super) fn follow<F>(visit: Visit, shape: &str, draw: F) -> Response
where
    F: Fn(&Canvas, &Snapshot) -> Markup + Send + Sync + 'static,
{
    let Some(mut looking) = Live::look(&visit.app) else {
        let text = "too many others look on; try again later";
        return Problem::new(StatusCode::SERVICE_UNAVAILABLE, text).into_response();
    };
    looking.begin();
    let viewer = Viewer {
        visit,
        looking,
        draw: Arc::new(draw),
        seen: HashMap::new(),
        shape: Some(shape)
            .filter(|shape| shape.len() == 16)
            .and_then(|shape| u64::from_str_radix(shape, 16).ok()),
        is_over: false,
    };
    let news = stream::unfold(viewer, |mut viewer| async move {
        let event = viewer.news().await?;
        Some((Ok::<_, Infallible>(event), viewer))
    });
    let alive = KeepAlive::new().interval(ALIVE);
    // Proxies are not to wait until there is more.
    let headers = [(HeaderName::from_static("x-accel-buffering"), "no")];
    (headers, Sse::new(news).keep_alive(alive)).into_response()
}

/// Somebody who looks on.
struct Viewer<F> {
    visit: Visit,
    looking: Looking,
    draw: Arc<F>,
    /// What is in each part, by a hash.
    seen: HashMap<String, u64>,
    /// Which parts there are, by a hash.
    shape: Option<u64>,
    is_over: bool,
}

impl<F: Fn(&Canvas, &Snapshot) -> Markup> Viewer<F> {
    /// The next event; none when the stream is over.
    async fn news(&mut self) -> Option<Event> {
        loop {
            if self.is_over {
                return None;
            }
            let now = self.looking.next().await?;
            if !guard::goes_on(&self.visit, Instant::now()) {
                self.is_over = true;
                return Some(Event::default().event("over").data("the session is over"));
            }
            if let Some(event) = self.drawn(&now) {
                return Some(event);
            }
        }
    }

    /// What is different now, if anything is.
    fn drawn(&mut self, now: &Snapshot) -> Option<Event> {
        let canvas = Canvas::default();
        let PreEscaped(_) = (self.draw)(&canvas, now);
        let parts = canvas.into_parts();
        let shape = shape(&parts);
        if self.shape.replace(shape).is_some_and(|last| last != shape) {
            self.seen.clear();
            return Some(Event::default().event("shape").data("other parts"));
        }
        let new: Vec<_> = parts
            .into_iter()
            .filter(|(id, inner)| {
                let inner = hash(inner);
                match self.seen.get_mut(id) {
                    Some(seen) => std::mem::replace(seen, inner) != inner,
                    None => self.seen.insert(id.clone(), inner).is_none(),
                }
            })
            .collect();
        if new.is_empty() {
            return None;
        }
        // Ids and texts are always fit for JSON.
        let news = Event::default().event("parts").json_data(&new);
        news.ok()
    }
}

/// Which parts there are, by a hash.
fn shape(parts: &[(String, String)]) -> u64 {
    hash(&parts.iter().map(|(id, _)| id).collect::<Vec<_>>())
}

fn hash<T: std::hash::Hash>(what: &T) -> u64 {
    let mut hasher = DefaultHasher::new();
    what.hash(&mut hasher);
    hasher.finish()
}
