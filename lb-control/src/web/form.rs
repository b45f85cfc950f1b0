//! What forms are made of, and how they are read.

use axum::{
    body::{self, Bytes},
    extract::{FromRequest, FromRequestParts, Query, Request},
    http::request::Parts,
};
use maud::{Markup, html};
use serde::de::DeserializeOwned;

use super::problem::Problem;

/// What a form sent: an argument of a page that takes one, `Form(said): Form<Said>`. How long it may be was looked at
/// before.
pub(super) struct Form<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Form<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let body = body::to_bytes(request.into_body(), usize::MAX).await;
        read(&body.unwrap_or_default()).map(Self)
    }
}

/// A form out of a body.
pub(super) fn read<T: DeserializeOwned>(body: &Bytes) -> Result<T, Problem> {
    let form = serde_urlencoded::from_bytes(body);
    form.map_err(|error| Problem::unclear(format!("the form is not understood: {error}")))
}

/// What the address of a page says behind its path: `Asked(said): Asked<Said>`.
pub(super) struct Asked<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Asked<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        match Query::try_from_uri(&parts.uri) {
            Ok(Query(said)) => Ok(Self(said)),
            Err(error) => {
                let text = format!("the address is not understood: {}", error.body_text());
                Err(Problem::unclear(text))
            }
        }
    }
}

/// A value as it may stand in an address behind `?name=` (RFC 3986 §3.4).
pub(super) fn encoded(value: &str) -> String {
    let encode = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b':' | b'/' => {
            char::from(byte).to_string()
        }
        other => format!("%{other:02X}"),
    };
    value.bytes().map(encode).collect()
}

/// A field of a form with its label, a hint below it, and what is wrong with what was said.
///
/// ```ignore
/// (Field::new("port", "Application port").value("80").hint("1 to 65535").error(wrong).text())
/// ```
#[derive(Debug, Clone, Copy)]
pub(super) struct Field<'a> {
    name: &'a str,
    label: &'a str,
    value: &'a str,
    hint: &'a str,
    error: Option<&'a str>,
    required: bool,
}

impl<'a> Field<'a> {
    /// One that is called `name` in what is sent. Its element has the id `f-NAME`.
    pub(super) const fn new(name: &'a str, label: &'a str) -> Self {
        Self {
            name,
            label,
            value: "",
            hint: "",
            error: None,
            required: false,
        }
    }

    /// What stands in it.
    pub(super) const fn value(self, value: &'a str) -> Self {
        Self { value, ..self }
    }

    /// What people ought to know of it.
    pub(super) const fn hint(self, hint: &'a str) -> Self {
        Self { hint, ..self }
    }

    /// What is wrong with what was said.
    pub(super) const fn error(self, error: Option<&'a str>) -> Self {
        Self { error, ..self }
    }

    /// It must not be empty.
    pub(super) const fn required(self) -> Self {
        Self {
            required: true,
            ..self
        }
    }

    /// A line of text.
    pub(super) fn text(self) -> Markup {
        self.text_of("off")
    }

    /// A line of text that browsers may fill in, said as in HTML's `autocomplete`.
    pub(super) fn text_of(self, autocomplete: &str) -> Markup {
        self.around(&html! {
            input id=(self.id()) name=(self.name) type="text" value=(self.value) required[self.required]
                autocomplete=(autocomplete) spellcheck="false" autocapitalize="off"
                aria-invalid=[self.error.map(|_| "true")] aria-describedby=[self.described()];
        })
    }

    /// A whole number that is not larger.
    pub(super) fn number(self, most: u32) -> Markup {
        self.around(&html! {
            input id=(self.id()) name=(self.name) type="text" inputmode="numeric" value=(self.value)
                required[self.required] autocomplete="off" size=(most.to_string().len())
                aria-invalid=[self.error.map(|_| "true")] aria-describedby=[self.described()];
        })
    }

    /// A secret; what browsers may fill in is said as in HTML's `autocomplete`.
    pub(super) fn password(self, autocomplete: &str) -> Markup {
        self.around(&html! {
            input id=(self.id()) name=(self.name) type="password" required[self.required]
                autocomplete=(autocomplete)
                aria-invalid=[self.error.map(|_| "true")] aria-describedby=[self.described()];
        })
    }

    /// Lines of text.
    pub(super) fn lines(self, rows: usize) -> Markup {
        // HTML leaves out the first line break.
        self.around(&html! {
            textarea id=(self.id()) name=(self.name) rows=(rows) spellcheck="false" autocapitalize="off"
                required[self.required]
                aria-invalid=[self.error.map(|_| "true")] aria-describedby=[self.described()]
                { "\n" (self.value) }
        })
    }

    /// One of these: what is sent, and what people read.
    pub(super) fn choice<V: AsRef<str>, L: AsRef<str>>(self, choices: &[(V, L)]) -> Markup {
        self.around(&html! {
            select id=(self.id()) name=(self.name)
                aria-invalid=[self.error.map(|_| "true")] aria-describedby=[self.described()] {
                @for (value, label) in choices {
                    option value=(value.as_ref()) selected[value.as_ref() == self.value] { (label.as_ref()) }
                }
            }
        })
    }

    /// Yes or no; `1` is sent for yes, nothing for no. It is ticked if the value is `1`.
    pub(super) fn tick(self) -> Markup {
        html! {
            div class="field tick" {
                label for=(self.id()) {
                    input id=(self.id()) name=(self.name) type="checkbox" value="1" checked[self.value == "1"]
                        aria-describedby=[self.described()];
                    " " (self.label)
                }
                (self.below())
            }
        }
    }

    fn around(self, input: &Markup) -> Markup {
        html! {
            div class={ "field" @if self.error.is_some() { " wrong" } } {
                label for=(self.id()) {
                    (self.label)
                    @if self.required { span class="required" title="required" aria-hidden="true" { " *" } }
                }
                (input)
                (self.below())
            }
        }
    }

    fn below(self) -> Markup {
        html! {
            @if let Some(error) = self.error {
                p class="error" id={ (self.id()) "-error" } { (error) }
            }
            @if !self.hint.is_empty() {
                p class="hint" id={ (self.id()) "-hint" } { (self.hint) }
            }
        }
    }

    fn id(self) -> String {
        format!("f-{}", self.name)
    }

    fn described(self) -> Option<String> {
        let error = self.error.map(|_| format!("{}-error", self.id()));
        let hint = (!self.hint.is_empty()).then(|| format!("{}-hint", self.id()));
        match (error, hint) {
            (Some(error), Some(hint)) => Some(format!("{error} {hint}")),
            (one, other) => one.or(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_is_said_stays_text() {
        let evil = "\"><script>alert(1)</script>";
        let field = Field::new("name", "Name")
            .value(evil)
            .hint(evil)
            .error(Some(evil));
        let choices = [(evil, evil)];
        for markup in [
            field.text(),
            field.lines(3),
            field.choice(&choices),
            field.tick(),
        ] {
            let text = markup.into_string();
            assert!(!text.contains("<script"), "{text}");
        }
    }

    #[test]
    fn what_is_below_a_field_is_told_with_it() {
        let field = Field::new("port", "Port").value("80");
        let text = field.hint("1 to 65535").error(Some("too large")).text();
        let text = text.into_string();
        assert!(text.contains("aria-describedby=\"f-port-error f-port-hint\""));
        assert!(text.contains("for=\"f-port\""));
        assert!(
            field
                .choice(&[("80", "web")])
                .into_string()
                .contains("selected")
        );
    }

    #[test]
    fn values_in_addresses_are_encoded() {
        assert_eq!(encoded("TCP [fd00::1]:80&x"), "TCP%20%5Bfd00::1%5D:80%26x");
    }
}
