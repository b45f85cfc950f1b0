//! `virtual/web/server/one/weight`: how people and programs name a part of the file.
//!
//! A name that repeats is followed by which one is meant, `web#2`; `#2` alone is the second block of its
//! kind, whatever its name. A name with a slash, or with `#` and a number at its end, stands in quotes:
//! `virtual/"a/b"/port`.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::config::document::ServiceKind;

/// A block, or what stands outside of blocks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Place {
    /// Outside of blocks; written as nothing.
    Global,
    /// `virtual/web` or `failover/web`.
    Service(ServiceKind, Which),
    /// `virtual/web/server/one`.
    Server(ServiceKind, Which, Which),
}

/// Which of the blocks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Which {
    /// Its name; none if any name will do.
    pub name: Option<String>,
    /// Which one of those, from 1 on; none if there is only one.
    pub nth: Option<usize>,
}

impl Which {
    /// The only block of this name.
    #[must_use]
    pub fn named(name: &str) -> Self {
        Self {
            name: Some(name.to_owned()),
            nth: None,
        }
    }
}

/// A directive in its place: `keepalive`, `virtual/web/port`, `virtual/web/server/one/weight`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DirectivePath {
    /// Where it stands.
    pub place: Place,
    /// What it is called.
    pub directive: String,
}

/// A path of either kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Path {
    /// To a block.
    Block(Place),
    /// To a directive.
    Directive(DirectivePath),
}

/// Why a text is no path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no path: {why}")]
pub struct NoPath {
    text: String,
    why: &'static str,
}

const SHAPES: &str = "it looks like keepalive, virtual/web, virtual/web/port, virtual/web/server/one \
                      or virtual/web/server/one/weight";

/// Splits `PATH=VALUE` at the first `=` outside of quotes.
#[must_use]
pub fn split_value(text: &str) -> Option<(&str, &str)> {
    let end = path_end(text, '=')?;
    Some((text.get(..end)?, text.get(end + 1..)?))
}

/// Where `sign` stands outside of quoted names.
fn path_end(text: &str, sign: char) -> Option<usize> {
    let mut quote = None;
    let mut before = '/';
    for (at, c) in text.char_indices() {
        match quote {
            Some(open) if c == open => quote = None,
            Some(_) => {}
            None if c == sign => return Some(at),
            None if before == '/' && matches!(c, '"' | '\'') => quote = Some(c),
            None => {}
        }
        before = c;
    }
    None
}

struct Segment {
    name: Option<String>,
    nth: Option<usize>,
}

impl Segment {
    fn read(text: &str) -> Result<Self, &'static str> {
        let (name, rest) = match text.chars().next() {
            Some(quote @ ('"' | '\'')) => {
                let inner = text.get(1..).unwrap_or_default();
                let (name, rest) = inner.split_once(quote).ok_or("a quote is not closed")?;
                (name, rest)
            }
            Some(_) => match text.rsplit_once('#') {
                Some((name, number))
                    if !number.is_empty() && number.bytes().all(|c| c.is_ascii_digit()) =>
                {
                    (name, text.get(name.len()..).unwrap_or_default())
                }
                Some(_) | None => (text, ""),
            },
            None => return Err(SHAPES),
        };
        let nth = match rest.strip_prefix('#') {
            None if rest.is_empty() => None,
            None => return Err("something follows the closing quote"),
            Some(number) => match number.parse() {
                Ok(nth @ 1..) => Some(nth),
                Ok(_) | Err(_) => return Err("blocks are counted from 1 on"),
            },
        };
        let is_quoted = text.starts_with(['"', '\'']);
        let name = (!name.is_empty() || is_quoted).then(|| name.to_owned());
        Ok(Self { name, nth })
    }

    fn word(self) -> Result<String, &'static str> {
        match self {
            Self {
                name: Some(name),
                nth: None,
            } => Ok(name),
            Self { .. } => Err(SHAPES),
        }
    }
}

impl From<Segment> for Which {
    fn from(Segment { name, nth }: Segment) -> Self {
        Self { name, nth }
    }
}

impl FromStr for Path {
    type Err = NoPath;

    fn from_str(text: &str) -> Result<Self, NoPath> {
        read(text).map_err(|why| NoPath {
            text: text.to_owned(),
            why,
        })
    }
}

fn read(text: &str) -> Result<Path, &'static str> {
    let mut segments = Vec::new();
    let mut rest = Some(text);
    while let Some(text) = rest {
        let end = path_end(text, '/').unwrap_or(text.len());
        segments.push(Segment::read(text.get(..end).unwrap_or_default())?);
        rest = text.get(end + 1..);
    }
    let mut segments = segments.into_iter();
    let mut next = || segments.next();
    let Some(first) = next() else {
        return Err(SHAPES);
    };
    let first = first.word()?;
    let Some(service) = next() else {
        return Ok(Path::Directive(DirectivePath {
            place: Place::Global,
            directive: first,
        }));
    };
    let kind = match first.as_str() {
        "virtual" => ServiceKind::Virtual,
        "failover" => ServiceKind::Failover,
        _ => return Err("blocks are called virtual/NAME or failover/NAME"),
    };
    let service = service.into();
    let Some(third) = next() else {
        return Ok(Path::Block(Place::Service(kind, service)));
    };
    let third = third.word()?;
    let Some(server) = next() else {
        return Ok(Path::Directive(DirectivePath {
            place: Place::Service(kind, service),
            directive: third,
        }));
    };
    if third != "server" {
        return Err("in a virtual block there are server/NAME blocks only");
    }
    let place = Place::Server(kind, service, server.into());
    match (next(), next()) {
        (None, _) => Ok(Path::Block(place)),
        (Some(directive), None) => Ok(Path::Directive(DirectivePath {
            place,
            directive: directive.word()?,
        })),
        (Some(_), Some(_)) => Err(SHAPES),
    }
}

impl FromStr for Place {
    type Err = NoPath;

    fn from_str(text: &str) -> Result<Self, NoPath> {
        if text.is_empty() {
            return Ok(Self::Global);
        }
        match text.parse()? {
            Path::Block(place) => Ok(place),
            Path::Directive(_) => Err(NoPath {
                text: text.to_owned(),
                why: "a block is called virtual/NAME or virtual/NAME/server/NAME",
            }),
        }
    }
}

impl FromStr for DirectivePath {
    type Err = NoPath;

    fn from_str(text: &str) -> Result<Self, NoPath> {
        match text.parse()? {
            Path::Directive(path) => Ok(path),
            Path::Block(_) => Err(NoPath {
                text: text.to_owned(),
                why: "the name of a directive is missing at its end",
            }),
        }
    }
}

impl fmt::Display for Which {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(name) = &self.name {
            let counts = name.rsplit_once('#').is_some_and(|(_, number)| {
                !number.is_empty() && number.bytes().all(|c| c.is_ascii_digit())
            });
            let plain = !name.is_empty()
                && !name.contains(['/', '='])
                && !name.starts_with(['"', '\''])
                && !counts;
            match name.contains('"') {
                _ if plain => f.write_str(name)?,
                true => write!(f, "'{name}'")?,
                false => write!(f, "\"{name}\"")?,
            }
        }
        match self.nth {
            Some(nth) => write!(f, "#{nth}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Global => Ok(()),
            Self::Service(kind, which) => write!(f, "{}/{which}", kind.word()),
            Self::Server(kind, which, server) => {
                write!(f, "{}/{which}/server/{server}", kind.word())
            }
        }
    }
}

impl fmt::Display for DirectivePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.place {
            Place::Global => f.write_str(&self.directive),
            Place::Service(..) | Place::Server(..) => {
                write!(f, "{}/{}", self.place, self.directive)
            }
        }
    }
}

/// What serde needs.
macro_rules! as_text {
    ($($name:ident)*) => {$(
        impl TryFrom<String> for $name {
            type Error = NoPath;

            fn try_from(text: String) -> Result<Self, NoPath> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(path: $name) -> Self {
                path.to_string()
            }
        }
    )*};
}

as_text!(Place DirectivePath);

#[cfg(test)]
mod tests {
    use super::*;

    fn which(name: &str, nth: Option<usize>) -> Which {
        Which {
            name: (!name.is_empty()).then(|| name.to_owned()),
            nth,
        }
    }

    fn directive(place: Place, directive: &str) -> Path {
        Path::Directive(DirectivePath {
            place,
            directive: directive.to_owned(),
        })
    }

    #[test]
    fn paths_are_read_and_written() {
        let web = || Place::Service(ServiceKind::Virtual, Which::named("web"));
        let table = [
            ("keepalive", directive(Place::Global, "keepalive")),
            ("virtual/web", Path::Block(web())),
            ("virtual/web/port", directive(web(), "port")),
            (
                "failover/my ftp/server/[server_name]/active",
                directive(
                    Place::Server(
                        ServiceKind::Failover,
                        Which::named("my ftp"),
                        Which::named("[server_name]"),
                    ),
                    "active",
                ),
            ),
            (
                "virtual/web#2/server/#3",
                Path::Block(Place::Server(
                    ServiceKind::Virtual,
                    which("web", Some(2)),
                    which("", Some(3)),
                )),
            ),
            (
                "virtual/\"a/b\"#1/port",
                directive(
                    Place::Service(ServiceKind::Virtual, which("a/b", Some(1))),
                    "port",
                ),
            ),
            (
                "virtual/\"a#1\"",
                Path::Block(Place::Service(ServiceKind::Virtual, Which::named("a#1"))),
            ),
            (
                "virtual/'a/\"'",
                Path::Block(Place::Service(ServiceKind::Virtual, Which::named("a/\""))),
            ),
            (
                "virtual/a#b",
                Path::Block(Place::Service(ServiceKind::Virtual, Which::named("a#b"))),
            ),
        ];
        for (text, expected) in table {
            assert_eq!(text.parse(), Ok(expected.clone()), "{text}");
            let written = match expected {
                Path::Block(place) => place.to_string(),
                Path::Directive(path) => path.to_string(),
            };
            assert_eq!(written, text);
        }
    }

    #[test]
    fn what_is_no_path() {
        for text in [
            "",
            "/",
            "web/port",
            "virtual/",
            "virtual//port",
            "virtual/web/",
            "virtual/web/host/one",
            "virtual/web/server/one/weight/more",
            "virtual/\"web",
            "virtual/\"web\"x",
            "virtual/web#0",
            "virtual/web#99999999999999999999999",
            "keepalive#1",
        ] {
            assert!(text.parse::<Path>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_value_follows_the_first_sign_outside_of_names() {
        let table = [
            ("keepalive=6", Some(("keepalive", "6"))),
            ("a=b=c", Some(("a", "b=c"))),
            (
                "virtual/\"a=b\"/port=80",
                Some(("virtual/\"a=b\"/port", "80")),
            ),
            ("virtual/a\"=b", Some(("virtual/a\"", "b"))),
            ("keepalive", None),
        ];
        for (text, expected) in table {
            assert_eq!(split_value(text), expected, "{text}");
        }
    }
}
