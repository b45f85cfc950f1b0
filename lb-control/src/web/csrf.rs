//! Whether a request comes from one of our own pages.

use axum::http::{
    HeaderMap,
    header::{HOST, ORIGIN},
};

use super::{app::Scheme, token::Token};

/// The field of a form that has the token of the session.
pub(super) const FIELD: &str = "csrf";

/// The header that has it where there is no form.
const HEADER: &str = "x-csrf-token";

/// Whether a browser sent this from a page of ours, as far as the browser tells. Programs that are no browsers tell
/// nothing, and have no cookies of others either.
pub(super) fn is_from_here(headers: &HeaderMap, scheme: Scheme) -> bool {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or(""));
    if let Some(site) = text("sec-fetch-site")
        && site != "same-origin"
    {
        return false;
    }
    let Some(origin) = text(ORIGIN.as_str()) else {
        return true;
    };
    let (_, scheme) = match scheme {
        Scheme::Https => (443, "https"),
        Scheme::Http => (80, "http"),
    };
    let host = text(HOST.as_str()).unwrap_or("");
    !host.is_empty() && origin == format!("{scheme}://{host}")
}

/// Whether a request that changes something has the token of its session: in a header, or in its form.
pub(super) fn has_token(headers: &HeaderMap, body: &[u8], token: &Token) -> bool {
    if let Some(said) = headers.get(HEADER) {
        return said.to_str().is_ok_and(|said| token.is(said));
    }
    // A token has only digits and letters, which every form leaves as they are.
    let mut fields = body.split(|byte| *byte == b'&');
    let said = fields.find_map(|field| field.strip_prefix(b"csrf="));
    said.and_then(|said| std::str::from_utf8(said).ok())
        .is_some_and(|said| token.is(said))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        let lines = lines.iter();
        lines
            .map(|(name, value)| ((*name).parse().unwrap(), value.parse().unwrap()))
            .collect()
    }

    /// What it is, its headers, and whether it may.
    type Row<'a> = (&'a str, &'a [(&'static str, &'a str)], bool);

    #[test]
    fn only_our_own_pages_may_send() {
        let host = ("host", "lb1:3636");
        let table: [Row<'_>; 9] = [
            ("no browser", &[host], true),
            ("own page", &[host, ("origin", "https://lb1:3636")], true),
            (
                "own page, told twice",
                &[
                    host,
                    ("origin", "https://lb1:3636"),
                    ("sec-fetch-site", "same-origin"),
                ],
                true,
            ),
            (
                "another site",
                &[host, ("origin", "https://evil.example")],
                false,
            ),
            ("another port", &[host, ("origin", "https://lb1")], false),
            ("without TLS", &[host, ("origin", "http://lb1:3636")], false),
            (
                "a page that hides itself",
                &[host, ("origin", "null")],
                false,
            ),
            (
                "from a link elsewhere",
                &[host, ("sec-fetch-site", "cross-site")],
                false,
            ),
            (
                "a neighbour",
                &[host, ("sec-fetch-site", "same-site")],
                false,
            ),
        ];
        for (what, lines, expected) in table {
            assert_eq!(
                is_from_here(&headers(lines), Scheme::Https),
                expected,
                "{what}"
            );
        }
        let plain = headers(&[host, ("origin", "http://lb1:3636")]);
        assert!(is_from_here(&plain, Scheme::Http));
        assert!(!is_from_here(
            &headers(&[("origin", "https://")]),
            Scheme::Https
        ));
    }

    #[test]
    fn the_token_is_in_the_header_or_in_the_form() {
        let (token, other) = (Token::draw().unwrap(), Token::draw().unwrap());
        let (own, strange) = (token.as_str(), other.as_str());
        let form = |token: &str| format!("a=1&csrf={token}&b=2");
        let table = [
            ("in the form", None, form(own), true),
            ("in the header", Some(own), String::new(), true),
            ("nowhere", None, "a=1".to_owned(), false),
            ("empty", None, "csrf=".to_owned(), false),
            ("of another session", None, form(strange), false),
            ("the header counts", Some(strange), form(own), false),
            ("cut", None, form(&own[..63]), false),
            ("another field", None, format!("xcsrf={own}"), false),
        ];
        for (what, header, body, expected) in table {
            let lines: Vec<_> = header.map(|value| (HEADER, value)).into_iter().collect();
            let found = has_token(&headers(&lines), body.as_bytes(), &token);
            assert_eq!(found, expected, "{what}");
        }
    }
}
