//! The bytes of a file as text for those who edit it elsewhere, and back: nothing is lost on the way.
//!
//! Old files have comments in Latin-1. Each of their bytes is the character of the same number then, so that
//! what was not touched is the same bytes again.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What the bytes of a file are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub enum Encoding {
    /// UTF-8, as is right.
    #[default]
    #[serde(rename = "utf-8")]
    Utf8,
    /// A byte for a character (ISO 8859-1): a file that is not UTF-8.
    #[serde(rename = "latin-1")]
    Latin1,
}

/// What a file says.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct Text {
    /// All of it, with its line ends.
    pub text: String,
    /// How it is made into bytes.
    #[serde(default)]
    pub encoding: Encoding,
}

/// A text that has a character which its file cannot have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the file is not UTF-8 but Latin-1, which has no `{0}`; make it UTF-8: `iconv -f latin1 -t utf8`"
)]
pub struct Unencodable(pub char);

impl Text {
    /// The text of a file of these bytes.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Self {
        match str::from_utf8(bytes) {
            Ok(text) => Self {
                text: text.to_owned(),
                encoding: Encoding::Utf8,
            },
            Err(_) => Self {
                text: bytes.iter().copied().map(char::from).collect(),
                encoding: Encoding::Latin1,
            },
        }
    }

    /// The bytes of the file.
    ///
    /// # Errors
    /// If a character cannot be in a file of this encoding.
    pub fn encode(&self) -> Result<Vec<u8>, Unencodable> {
        match self.encoding {
            Encoding::Utf8 => Ok(self.text.clone().into_bytes()),
            Encoding::Latin1 => {
                let byte = |c| u8::try_from(c).map_err(|_| Unencodable(c));
                self.text.chars().map(byte).collect()
            }
        }
    }

    /// The same file with another text.
    #[must_use]
    pub fn with(&self, text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            encoding: self.encoding,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_back_as_they_were() {
        let table: [(&[u8], Encoding); 5] = [
            (b"", Encoding::Utf8),
            (b"primary = 10.0.0.1\r\n", Encoding::Utf8),
            ("# für alle\n".as_bytes(), Encoding::Utf8),
            (b"# f\xfcr alle\n", Encoding::Latin1),
            (b"\xff\xfe\x00\x80", Encoding::Latin1),
        ];
        for (bytes, encoding) in table {
            let text = Text::decode(bytes);
            assert_eq!(text.encoding, encoding, "{bytes:?}");
            assert_eq!(text.encode().as_deref(), Ok(bytes));
        }
    }

    #[test]
    fn a_latin1_file_takes_latin1_only() {
        let file = Text::decode(b"# \xe4");
        assert_eq!(file.with("# äß").encode(), Ok(b"# \xe4\xdf".to_vec()));
        assert_eq!(file.with("# €").encode(), Err(Unencodable('€')));
    }
}
