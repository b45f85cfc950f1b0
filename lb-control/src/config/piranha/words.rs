//! Tokens → values, by the functions of the C library that Piranha called.

use std::net::{IpAddr, Ipv4Addr};

use super::{answer::Fault, scanner::Token};
use crate::config::{
    names::Names,
    numbers::{inet_aton, strtol},
    values::may_be_name,
};

/// A directive's value and what is wrong with it: which of the line's tokens, and why.
pub(super) type Value<T> = Result<T, (usize, Fault)>;

/// The tokens of `name = value` or `name = value value`.
pub(super) struct Words<'l, 'a> {
    tokens: &'l [Token<'a>],
}

impl<'l, 'a> Words<'l, 'a> {
    /// A line whose name is known. The sign comes first, then the number of values, then the values.
    pub(super) fn new(tokens: &'l [Token<'a>], values: usize) -> Value<Self> {
        match tokens.get(1) {
            None => return Err((0, Fault::Missing)),
            Some(sign) if !sign.is("=") => return Err((1, Fault::NoEquals)),
            Some(_) => {}
        }
        if tokens.len() < values + 2 {
            return Err((tokens.len() - 1, Fault::Missing));
        }
        if tokens.len() > values + 2 {
            return Err((values + 2, Fault::Unexpected));
        }
        Ok(Self { tokens })
    }

    fn bytes(&self) -> &'a [u8] {
        self.tokens.get(2).map_or(b"", |token| token.text)
    }

    fn text(&self) -> std::borrow::Cow<'a, str> {
        String::from_utf8_lossy(self.bytes())
    }

    /// A C `int`, what does not fit is cut off.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "Piranha assigned a long to an int"
    )]
    pub(super) fn integer(&self) -> Value<i32> {
        let value = strtol(&self.text()).ok_or((2, Fault::Integer))?;
        Ok(value as i32)
    }

    pub(super) fn boolean(&self) -> Value<u8> {
        match self.integer()? {
            0 => Ok(0),
            1 => Ok(1),
            _ => Err((2, Fault::Boolean)),
        }
    }

    /// A number, not checked for its range, or a service of TCP.
    pub(super) fn port(&self, names: &mut dyn Names) -> Value<i32> {
        if let Ok(number) = self.integer() {
            return Ok(number);
        }
        let port = names.tcp_service(&self.text());
        port.map(i32::from).ok_or((2, Fault::Argument))
    }

    /// An IPv4 address, or a name that has one.
    pub(super) fn host(&self, names: &mut dyn Names) -> Value<Ipv4Addr> {
        let text = self.text();
        if let Some(address) = address(&text) {
            return Ok(address);
        }
        let found = may_be_name(&text).then(|| names.host(&text)).flatten();
        match found {
            Some(IpAddr::V4(address)) => Ok(address),
            Some(IpAddr::V6(_)) | None => Err((2, Fault::Argument)),
        }
    }

    /// The same, and not 0.0.0.0.
    pub(super) fn own_host(&self, names: &mut dyn Names) -> Value<Ipv4Addr> {
        let address = self.host(names)?;
        if address.is_unspecified() {
            return Err((2, Fault::Host));
        }
        Ok(address)
    }

    /// An IPv4 address, no name.
    pub(super) fn dotted(&self) -> Value<Ipv4Addr> {
        address(&self.text()).ok_or((2, Fault::Argument))
    }

    pub(super) fn mask(&self) -> Value<Ipv4Addr> {
        address(&self.text()).ok_or((2, Fault::Netmask))
    }

    /// inet_addr(3) answers 255.255.255.255 to what it does not understand, and Piranha took that for none.
    pub(super) fn persistence_mask(&self) -> Ipv4Addr {
        address(&self.text())
            .filter(|mask| *mask != Ipv4Addr::BROADCAST)
            .unwrap_or(Ipv4Addr::UNSPECIFIED)
    }

    /// One of a few words.
    pub(super) fn choice(&self, choices: &[&'static str]) -> Value<&'static str> {
        let mut found = choices
            .iter()
            .filter(|word| word.as_bytes() == self.bytes());
        found.next().copied().ok_or((2, Fault::Argument))
    }

    /// Any text, without its quotes.
    pub(super) fn string(&self) -> String {
        self.text().into_owned()
    }

    /// Any text in the quotes that it was written in.
    pub(super) fn quoted(&self) -> String {
        let written = self.tokens.get(2).map_or(&b""[..], |token| token.written);
        String::from_utf8_lossy(written).into_owned()
    }

    /// The second value.
    pub(super) fn device(&self) -> String {
        let device = self.tokens.get(3).map_or(&b""[..], |token| token.text);
        String::from_utf8_lossy(device).into_owned()
    }
}

/// `[ a:b c:d ]`, of which nothing was kept.
pub(super) fn list(tokens: &[Token<'_>]) -> Value<()> {
    let values = tokens.len().saturating_sub(2).max(1);
    Words::new(tokens, values)?;
    let last = tokens.len() - 1;
    match (tokens.get(2), tokens.get(last)) {
        (Some(open), Some(close)) if open.is("[") && close.is("]") => Ok(()),
        (Some(open), _) if open.is("[") => Err((last, Fault::List)),
        (_, _) => Err((2, Fault::List)),
    }
}

/// inet_aton(3), which looks at nothing behind a blank.
fn address(text: &str) -> Option<Ipv4Addr> {
    let end = text.find([' ', '\t', '\n', '\x0b', '\x0c', '\r']);
    inet_aton(text.get(..end.unwrap_or(text.len()))?)
}
