//! What was wrong with a check, in words for an operator.

use std::{io, net::SocketAddr, time::Duration};

use nix::errno::Errno;

/// How much of an answer is quoted.
const QUOTED: usize = 60;

/// Why a check did not find its server well.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// A step of the conversation went wrong.
    #[error("{step} {server}: {error}")]
    Step {
        /// What was being done.
        step: Step,
        /// With whom.
        server: SocketAddr,
        /// What the system said, or for how long nothing happened.
        error: String,
    },
    /// Not one byte came.
    #[error("no answer within {within:?}")]
    NoAnswer {
        /// The limit.
        within: Duration,
    },
    /// Something came, too little to decide, and then the time was over.
    #[error("answered {answered} and no more within {within:?}, expected {expected}")]
    Unfinished {
        /// The answer so far, quoted.
        answered: String,
        /// What was expected, quoted.
        expected: String,
        /// The limit.
        within: Duration,
    },
    /// The peer closed at once.
    #[error("ended without an answer, expected {expected}")]
    Empty {
        /// What was expected, quoted.
        expected: String,
    },
    /// The answer is not what it should be.
    #[error("answered {answered}, expected {expected}")]
    WrongAnswer {
        /// The answer, quoted.
        answered: String,
        /// What was expected, quoted.
        expected: String,
    },
    /// There is no such program, or it may not be run.
    #[error("program {program} did not start: {error}")]
    NotStarted {
        /// The program.
        program: String,
        /// What the system said.
        error: String,
    },
    /// The program was still running at the limit.
    #[error("program killed after {within:?}")]
    Killed {
        /// The limit.
        within: Duration,
    },
    /// The program itself says that the server is not well.
    #[error("program ended with {status}, printed {printed}")]
    Exited {
        /// `exit status 1` or `signal 15`.
        status: String,
        /// Its output, quoted.
        printed: String,
    },
    /// The program's output is not what it should be.
    #[error("program printed {printed}, expected {expected}")]
    WrongOutput {
        /// Its output, quoted.
        printed: String,
        /// What was expected, quoted.
        expected: String,
    },
    /// Its agent says that it is not to be used.
    #[error("its agent says {said}")]
    Said {
        /// What, quoted.
        said: String,
    },
    /// The director could not make the check. That says nothing about the server.
    #[error("the director could not check: {error}")]
    Untried {
        /// What the system said.
        error: String,
    },
}

impl Failure {
    /// Whether it is the director that failed, which says nothing about the server.
    pub fn is_the_directors(&self) -> bool {
        matches!(self, Self::Untried { .. })
    }

    /// Whether the server itself says so, which nobody has to ask twice.
    pub fn is_said(&self) -> bool {
        matches!(self, Self::Said { .. })
    }

    /// What a system call's error means for the check.
    pub(super) fn of_step(step: Step, server: SocketAddr, error: &io::Error) -> Self {
        if is_shortage(error) || error.kind() == io::ErrorKind::Unsupported {
            return Self::Untried {
                error: words(error),
            };
        }
        Self::Step {
            step,
            server,
            error: words(error),
        }
    }

    /// Why a program could not be started.
    pub(super) fn of_start(program: &str, error: &io::Error) -> Self {
        if is_shortage(error) {
            return Self::Untried {
                error: words(error),
            };
        }
        Self::NotStarted {
            program: program.to_owned(),
            error: words(error),
        }
    }
}

/// A step of a conversation with a real server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The TCP handshake, or choosing the peer of a UDP socket.
    Connect,
    /// The TLS handshake.
    Secure,
    /// Writing what is to be sent.
    Send,
    /// Reading the answer.
    Read,
}

impl std::fmt::Display for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Connect => "connect to",
            Self::Secure => "TLS handshake with",
            Self::Send => "send to",
            Self::Read => "read from",
        })
    }
}

/// Bytes as an operator can read them, in quotes, cut after 60 characters.
#[must_use]
pub fn quoted(bytes: &[u8]) -> String {
    let escaped = bytes.escape_ascii().take(QUOTED + 1);
    let mut text: String = escaped.map(char::from).collect();
    let cut = text.len() > QUOTED;
    text.truncate(QUOTED);
    format!("\"{text}\"{}", if cut { "…" } else { "" })
}

/// The director is short of something. A director without file descriptors would otherwise take
/// all its servers out of the table at once.
fn is_shortage(error: &io::Error) -> bool {
    let Some(code) = error.raw_os_error() else {
        return false;
    };
    [
        Errno::EMFILE,
        Errno::ENFILE,
        Errno::ENOBUFS,
        Errno::ENOMEM,
        Errno::EAGAIN,
        Errno::EADDRNOTAVAIL,
    ]
    .contains(&Errno::from_raw(code))
}

/// `connection refused`, without the number and without a capital.
fn words(error: &io::Error) -> String {
    let text = match error.raw_os_error() {
        Some(code) => Errno::from_raw(code).desc().to_owned(),
        None => error.to_string(),
    };
    let mut letters = text.chars();
    match letters.next() {
        Some(first) => first.to_lowercase().chain(letters).collect(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_quoted_and_cut() {
        let table: [(&[u8], &str); 4] = [
            (b"", r#""""#),
            (b"220 mail\r\n", r#""220 mail\r\n""#),
            (b"\x00\xff\"", r#""\x00\xff\"""#),
            (&[b'a'; 60], &format!("\"{}\"", "a".repeat(60))),
        ];
        for (bytes, text) in table {
            assert_eq!(quoted(bytes), text);
        }
        assert_eq!(quoted(&[b'a'; 61]), format!("\"{}\"…", "a".repeat(60)));
    }

    #[test]
    fn only_the_directors_own_shortage_is_not_the_servers_fault() {
        let server = SocketAddr::from(([10, 0, 0, 2], 80));
        let table = [
            (
                Errno::ECONNREFUSED,
                "connect to 10.0.0.2:80: connection refused",
            ),
            (
                Errno::EHOSTUNREACH,
                "connect to 10.0.0.2:80: no route to host",
            ),
            (
                Errno::EMFILE,
                "the director could not check: too many open files",
            ),
        ];
        for (errno, text) in table {
            let error = io::Error::from(errno);
            assert_eq!(
                Failure::of_step(Step::Connect, server, &error).to_string(),
                text
            );
        }
    }
}
