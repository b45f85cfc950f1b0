//! How numbers, times and states are written on pages.

use maud::{Markup, html};

use crate::{
    journal::{Kind, Utc},
    status::{Role, ServerState, columns::Style, columns::Tone},
};

const SHORT: Style = Style {
    exact: false,
    colour: false,
};

/// A number of connections, packets or the like.
pub(super) fn count(number: u64) -> String {
    SHORT.count(number)
}

/// A number of bytes.
pub(super) fn bytes(number: u64) -> String {
    match SHORT.bytes(number) {
        text if number < 1024 => format!("{text} B"),
        text => text,
    }
}

/// Bytes in a second; nothing if it is not known yet.
pub(super) fn byte_rate(rate: Option<u64>) -> String {
    rate.map_or_else(|| "–".to_owned(), |rate| format!("{}/s", bytes(rate)))
}

/// What happens in a second.
pub(super) fn rate(rate: Option<u64>) -> String {
    rate.map_or_else(|| "–".to_owned(), count)
}

/// A time in milliseconds since 1970, to the second.
pub(super) fn time(at: u64) -> Markup {
    let text = Utc(at).to_string();
    let (date, rest) = text.split_once('T').unwrap_or((&text, ""));
    let clock = rest.get(..8).unwrap_or(rest);
    html! {
        time datetime=(text) title=(text) { (date) " " (clock) }
    }
}

/// The time of day only.
pub(super) fn clock(at: u64) -> Markup {
    let text = Utc(at).to_string();
    let clock = text.get(11..19).unwrap_or(&text);
    html! {
        time datetime=(text) title=(text) { (clock) }
    }
}

/// How long something is, in its two largest units.
pub(super) fn span(seconds: u64) -> String {
    let (days, hours) = (seconds / 86_400, seconds / 3_600 % 24);
    let (minutes, seconds) = (seconds / 60 % 60, seconds % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min {seconds} s"),
        (0, _, _) => format!("{hours} h {minutes} min"),
        _ => format!("{days} d {hours} h"),
    }
}

/// So many of something, which has a word for one of them and a word for more.
pub(super) fn counted(count: usize, one: &str, more: &str) -> String {
    match count {
        1 => format!("1 {one}"),
        count => format!("{count} {more}"),
    }
}

/// Pages that belong together, each with its path and what it is called.
pub(super) fn tabs<P: AsRef<str>>(label: &str, here: &str, tabs: &[(P, &str)]) -> Markup {
    html! {
        nav class="tabs" aria-label=(label) {
            @for (path, name) in tabs {
                a href=(path.as_ref()) aria-current=[(path.as_ref() == here).then_some("page")] { (name) }
            }
        }
    }
}

/// A word with the shape and the colour of what it means.
pub(super) fn badge(tone: Tone, shape: &str, word: &str) -> Markup {
    let class = match tone {
        Tone::Good => "state good",
        Tone::Between => "state warn",
        Tone::Bad => "state bad",
        Tone::Faint => "state",
    };
    html! {
        span class=(class) { span aria-hidden="true" { (shape) } (word) }
    }
}

/// Whether a real server gets connections.
pub(super) fn state(state: ServerState) -> Markup {
    let shape = match state {
        ServerState::Up => "●",
        ServerState::Down => "✕",
        ServerState::Quiesced => "◌",
        ServerState::Draining => "◑",
        ServerState::Drained => "○",
        ServerState::Unknown => "?",
    };
    badge(state.tone(), shape, state.word())
}

/// The part that this node plays.
pub(super) fn role(role: Role) -> Markup {
    let (tone, shape) = match role {
        Role::Active => (Tone::Good, "▲"),
        Role::Standby => (Tone::Faint, "△"),
        Role::Starting | Role::Leaving | Role::Stopping => (Tone::Between, "◇"),
    };
    badge(tone, shape, role.word())
}

/// What kind of thing happened.
pub(super) fn kind(kind: Kind) -> Markup {
    let (tone, shape) = match kind {
        Kind::ServerUp | Kind::Active | Kind::Started => (Tone::Good, "●"),
        Kind::ServerDown | Kind::NotAttached | Kind::ReloadRefused | Kind::Trouble => {
            (Tone::Bad, "✕")
        }
        Kind::Sorry | Kind::Leaving | Kind::Left | Kind::Standby | Kind::Stopping | Kind::Pair => {
            (Tone::Between, "◑")
        }
        Kind::Attached
        | Kind::Address
        | Kind::Ordered
        | Kind::Changed
        | Kind::Zeroed
        | Kind::Written
        | Kind::Reloaded
        | Kind::Logging
        | Kind::Command => (Tone::Faint, "·"),
    };
    badge(tone, shape, kind.name())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        assert_eq!(bytes(5), "5 B");
        assert_eq!(bytes(5 << 20), "5.00 MiB");
        assert_eq!(byte_rate(None), "–");
        assert_eq!(rate(Some(7)), "7");
        let spans = [
            (5, "5 s"),
            (65, "1 min 5 s"),
            (3_700, "1 h 1 min"),
            (90_000, "1 d 1 h"),
        ];
        for (seconds, text) in spans {
            assert_eq!(span(seconds), text);
        }
    }

    #[test]
    fn a_state_is_a_word_too() {
        for one in [ServerState::Up, ServerState::Down, ServerState::Draining] {
            let text = state(one).into_string();
            assert!(
                text.contains(one.word()) && text.contains("aria-hidden"),
                "{text}"
            );
        }
    }

    #[test]
    fn times_are_those_of_the_log() {
        let text = time(1_767_225_599_500).into_string();
        assert!(
            text.contains("2025-12-31T23:59:59.500Z") && text.contains(">2025-12-31 23:59:59<")
        );
        assert!(clock(0).into_string().contains(">00:00:00<"));
    }
}
