//! Parts of a page that are kept up to date.
//!
//! A page that lives is a function that draws on a [`Canvas`]: once for the page itself, and again whenever something
//! is new, when only those parts are sent that are different. So what is written first and what is written later is
//! written by the same lines.

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{
    http::{HeaderName, StatusCode},
    response::{
        IntoResponse as _, Response, Sse,
        sse::{Event, KeepAlive},
    },
};
use futures_util::stream;
use maud::{Markup, html};
use tokio::time::Instant;

pub(super) use super::drawing::Canvas;
use super::{
    drawing::Drawn,
    guard,
    live::{Live, Looking, Snapshot},
    problem::Problem,
    visit::Visit,
};

/// A quiet stream says something that often, so that nobody on the way thinks that it is over.
const ALIVE: Duration = Duration::from_secs(15);

/// How often a page is read again without JavaScript, if its user wants it.
pub(super) const AGAIN: Duration = Duration::from_secs(10);

/// The living part of a page, as it is now; `path` is where its news are, and the page itself.
pub(super) fn section(
    visit: &Visit,
    path: &str,
    now: &Snapshot,
    draw: impl Fn(&Canvas, &Snapshot) -> Markup,
) -> Markup {
    let canvas = Canvas::new(visit.session.role);
    let inner = draw(&canvas, now);
    let separator = if path.contains('?') { '&' } else { '?' };
    let shape = format!("{:016x}", canvas.shape());
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
/// `path` is the page: all who look at the same one, and have the same role, get what is drawn for one of them.
pub(super) fn follow<F>(visit: Visit, shape: &str, path: String, draw: F) -> Response
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
        path,
        draw: Arc::new(draw),
        last: None,
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
    path: String,
    draw: Arc<F>,
    /// What was sent last.
    last: Option<Arc<Drawn>>,
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
    fn drawn(&mut self, now: &Arc<Snapshot>) -> Option<Event> {
        let Visit { app, session, .. } = &self.visit;
        let drawings = &app.live.drawings;
        let drawn = drawings.of(now, &self.path, session.role, &*self.draw);
        let before = self.last.take();
        if self
            .shape
            .replace(drawn.shape)
            .is_some_and(|last| last != drawn.shape)
        {
            return Some(Event::default().event("shape").data("other parts"));
        }
        let news = drawn.since(before.as_ref());
        self.last = Some(drawn);
        Some(Event::default().event("parts").data(&*news?))
    }
}
