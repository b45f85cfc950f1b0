//! What a server says of itself: a line of text as HAProxy's agents give it, or JSON.
//!
//! A line is words, with blanks or commas in between: `75%`, `up`, `ready`, `drain`, `down`, `stopped`, `fail`,
//! `maint`, and behind a `#` why. JSON is `{"state": "up", "weight": "75%", "reason": "…"}`; a weight that is a
//! number is one of its own.

use serde::Deserialize;

use super::{
    Failure,
    failure::quoted,
    visit::{Visit, wrong},
};

/// How much of what it says is looked at.
const MOST: usize = 1024;

/// More than that is a slip of the pen.
const PERCENT: u32 = 25_600;

/// What a server says of itself. What it does not speak of stays as it was.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Said {
    /// What is to become of it.
    pub state: Option<Wish>,
    /// What share of its weight it wants.
    pub share: Option<Share>,
}

/// What is to become of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wish {
    /// It works.
    Up,
    /// It wants nothing new.
    Drain,
    /// It is not to be used, and what it said in full, quoted.
    Down(String),
}

/// How much a server wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Share {
    /// Of its weight.
    Percent(u32),
    /// This weight.
    Weight(u16),
}

/// Asks the agent.
pub(super) async fn ask(visit: &mut Visit<'_>) -> Result<Said, Failure> {
    let mut stream = visit.connect().await?;
    // JSON may have line ends inside; it is done when the server closes.
    let is_enough = |bytes: &[u8]| {
        let text = bytes.trim_ascii();
        if text.first() == Some(&b'{') {
            text.last() == Some(&b'}') && parse(text).is_some()
        } else {
            !text.is_empty() && bytes.trim_ascii_start().contains(&b'\n')
        }
    };
    let (said, _) = visit.read(&mut stream, MOST, is_enough).await?;
    parse(&said).ok_or_else(|| wrong(quoted(&said), "what agents say"))
}

/// What is said, if it is anything.
pub(super) fn parse(said: &[u8]) -> Option<Said> {
    let text = std::str::from_utf8(said).ok()?.trim();
    if text.starts_with('{') {
        return parse_json(text);
    }
    let line = text.lines().next()?;
    let (words, _why) = line.split_once('#').unwrap_or((line, ""));
    let mut said = Said::default();
    for word in words
        .split([' ', '\t', ','])
        .filter(|word| !word.is_empty())
    {
        if let Some(share) = percent(word) {
            said.share = Some(share);
        } else if let Some(state) = wish(word, line) {
            said.state = Some(state);
        } else if !word.starts_with("maxconn:") {
            return None;
        }
    }
    (said != Said::default()).then_some(said)
}

#[derive(Deserialize)]
struct Json {
    state: Option<String>,
    weight: Option<Weight>,
    reason: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Weight {
    Number(u16),
    Text(String),
}

fn parse_json(text: &str) -> Option<Said> {
    let json: Json = serde_json::from_str(text).ok()?;
    let state = match &json.state {
        Some(state) => {
            let whole = match &json.reason {
                Some(reason) => format!("{state}: {reason}"),
                None => state.clone(),
            };
            Some(wish(state, &whole)?)
        }
        None => None,
    };
    let share = match json.weight {
        Some(Weight::Number(weight)) => Some(Share::Weight(weight)),
        Some(Weight::Text(text)) => Some(percent(&text)?),
        None => None,
    };
    let said = Said { state, share };
    (said != Said::default()).then_some(said)
}

fn wish(word: &str, whole: &str) -> Option<Wish> {
    Some(match word.to_ascii_lowercase().as_str() {
        "up" | "ready" => Wish::Up,
        "drain" => Wish::Drain,
        "down" | "stopped" | "fail" | "failed" | "maint" => Wish::Down(quoted(whole.as_bytes())),
        _ => return None,
    })
}

fn percent(word: &str) -> Option<Share> {
    let number: u32 = word.strip_suffix('%')?.parse().ok()?;
    (number <= PERCENT).then_some(Share::Percent(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_agents_say() {
        let said = |state, share| Some(Said { state, share });
        let down = |text: &str| Some(Wish::Down(format!("{text:?}")));
        let table: [(&str, Option<Said>); 22] = [
            ("75%\n", said(None, Some(Share::Percent(75)))),
            ("up 75%\r\n", said(Some(Wish::Up), Some(Share::Percent(75)))),
            ("UP,100%", said(Some(Wish::Up), Some(Share::Percent(100)))),
            ("ready maxconn:30\n", said(Some(Wish::Up), None)),
            ("drain\n", said(Some(Wish::Drain), None)),
            ("down # no disk\n", said(down("down # no disk"), None)),
            (
                "stopped#maintenance",
                said(down("stopped#maintenance"), None),
            ),
            ("fail\n", said(down("fail"), None)),
            (
                "maint 0%\n",
                said(down("maint 0%"), Some(Share::Percent(0))),
            ),
            ("200%\nwhatever", said(None, Some(Share::Percent(200)))),
            (
                r#"{"state":"up","weight":"50%"}"#,
                said(Some(Wish::Up), Some(Share::Percent(50))),
            ),
            (r#"{"weight":7}"#, said(None, Some(Share::Weight(7)))),
            (
                "{\n \"state\": \"down\",\n \"reason\": \"no disk\"\n}\n",
                said(down("down: no disk"), None),
            ),
            (r#"{"state":"up","more":[1]}"#, said(Some(Wish::Up), None)),
            ("", None),
            ("\n", None),
            ("# why", None),
            ("hello", None),
            ("up 75", None),
            ("99999999%", None),
            (r#"{"state":"sideways"}"#, None),
            (r#"{"weight":-1}"#, None),
        ];
        for (text, expected) in table {
            assert_eq!(parse(text.as_bytes()), expected, "{text:?}");
        }
    }
}
