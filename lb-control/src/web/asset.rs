//! What pages need besides themselves. All of it is in the program; there is no folder to read from.

use std::sync::LazyLock;

use axum::{
    extract::Path,
    http::header::{CACHE_CONTROL, CONTENT_TYPE},
    response::{IntoResponse as _, Response},
};

use super::{
    problem::Problem,
    token::{digest, hexadecimal},
};

/// A file that is in the program.
#[derive(Debug)]
pub(super) struct Asset {
    kind: &'static str,
    text: &'static str,
    path: LazyLock<String>,
}

impl Asset {
    /// Where browsers find it: the name changes with what is in it, so it may be kept for ever.
    pub(super) fn path(&self) -> &str {
        &self.path
    }

    pub(super) const fn text(&self) -> &'static str {
        self.text
    }
}

macro_rules! asset {
    ($constant:ident, $name:literal, $kind:literal, $what:literal) => {
        #[doc = $what]
        pub(super) static $constant: Asset = Asset {
            kind: $kind,
            text: include_str!(concat!("asset/", $name)),
            path: LazyLock::new(|| path($name, include_str!(concat!("asset/", $name)))),
        };
    };
}

asset!(
    STYLE,
    "style.css",
    "text/css; charset=utf-8",
    "How pages look."
);
asset!(
    SCRIPT,
    "script.js",
    "text/javascript; charset=utf-8",
    "What keeps pages up to date."
);
asset!(LOGO, "logo.svg", "image/svg+xml", "The fish.");

fn path(name: &str, text: &str) -> String {
    let digest = hexadecimal(&digest(text.as_bytes())[..6]);
    let (stem, end) = name.split_once('.').unwrap_or((name, ""));
    format!("/asset/{stem}-{digest}.{end}")
}

/// One of them by the name that it has today.
pub(super) async fn file(Path(name): Path<String>) -> Response {
    let wanted = format!("/asset/{name}");
    let assets = [&STYLE, &SCRIPT, &LOGO];
    let found = assets.into_iter().find(|asset| asset.path() == wanted);
    let Some(asset) = found else {
        return Problem::missing("there is no such file").into_response();
    };
    let headers = [
        (CONTENT_TYPE, asset.kind),
        (CACHE_CONTROL, "public, max-age=31536000, immutable"),
    ];
    (headers, asset.text).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_change_with_what_is_in_them() {
        assert_ne!(path("style.css", "a{}"), path("style.css", "b{}"));
        let path = STYLE.path();
        assert!(
            path.starts_with("/asset/style-") && path.ends_with(".css"),
            "{path}"
        );
    }
}
