//! Why there is no page.

use axum::{
    http::StatusCode,
    response::{IntoResponse, Response},
};
use maud::html;

use super::frame;

/// What an answer is in place of a page. With `?` a page ends with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Problem {
    status: StatusCode,
    /// One sentence.
    text: String,
}

impl Problem {
    pub(super) fn new(status: StatusCode, text: impl Into<String>) -> Self {
        let text = text.into();
        Self { status, text }
    }

    /// There is no such thing.
    pub(super) fn missing(text: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, text)
    }

    /// What was sent is not understood.
    pub(super) fn unclear(text: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, text)
    }

    /// The one who asks must not.
    pub(super) fn forbidden(text: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, text)
    }

    /// The daemon does not answer, or says no.
    pub(super) fn daemon(error: &anyhow::Error) -> Self {
        Self::new(StatusCode::BAD_GATEWAY, format!("{error:#}"))
    }

    /// What went wrong is ours.
    pub(super) fn ours(error: &anyhow::Error) -> Self {
        tracing::error!("{error:#}");
        let text = "something went wrong here; the log of the web tool says what";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, text)
    }

    const fn title(&self) -> &'static str {
        match self.status {
            StatusCode::UNAUTHORIZED => "Please log in",
            StatusCode::FORBIDDEN => "Not allowed",
            StatusCode::NOT_FOUND => "Not found",
            StatusCode::BAD_GATEWAY => "The daemon does not answer",
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => "Try again later",
            StatusCode::INTERNAL_SERVER_ERROR => "Something went wrong",
            _ => "That did not work",
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = html! {
            section class="problem" {
                p class="code" aria-hidden="true" { (self.status.as_u16()) }
                h1 { (self.title()) }
                p id="problem" role="alert" { (sentence(&self.text)) }
                p { a class="button" href="/" { "To the start" } }
            }
        };
        (self.status, frame::bare(self.title(), &body)).into_response()
    }
}

/// With a capital letter and a full stop.
pub(super) fn sentence(text: &str) -> String {
    let mut letters = text.trim().chars();
    let Some(first) = letters.next() else {
        return String::new();
    };
    let end = match text.trim_end().ends_with(['.', '!', '?', '”']) {
        true => "",
        false => ".",
    };
    format!("{}{}{end}", first.to_uppercase(), letters.as_str())
}
