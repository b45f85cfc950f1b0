//! What happens during a check, for those who look on: `lb nanny`.

use std::net::SocketAddr;

use super::Failure;

/// Is told what happens, as it happens.
pub type Witness<'a> = &'a mut (dyn FnMut(Happening<'_>) + Send);

/// Looks away.
pub fn nobody(_happening: Happening<'_>) {}

/// A part of a check that went well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Happening<'a> {
    /// This virtual address is asked, by the way of clients' packets.
    Called(SocketAddr),
    /// The handshake is complete.
    Connected,
    /// The TLS handshake is complete.
    Secured {
        /// For how many days the server's certificate is good; nothing if that cannot be read.
        days: Option<i64>,
    },
    /// The server answered so, in words.
    Answered(&'a str),
    /// A try went wrong, and there is another one.
    Again(&'a Failure),
    /// All of this was handed to the kernel.
    Sent(&'a [u8]),
    /// This came, after what came before.
    Received(&'a [u8]),
    /// The peer will send no more.
    Ended,
    /// This program runs.
    Started(&'a str),
    /// The program has ended.
    Exited {
        /// `exit status 0`, or `signal 15`.
        status: &'a str,
        /// What it printed; of much, the beginning.
        printed: &'a [u8],
    },
}
