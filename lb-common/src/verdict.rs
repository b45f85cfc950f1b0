//! What becomes of a packet, and why some are dropped or left to the kernel.

/// What becomes of a packet that was understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Verdict {
    /// It is not ours: up to the kernel's own stack.
    Pass,
    /// Out by the interface it came from.
    Transmit,
    /// Out by another interface.
    Redirect(u32),
    /// It ends here, and a copy of it is in the daemon's hands.
    Hold,
}

/// What is done with a packet that could not be steered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It goes up to the kernel's own stack, unchanged.
    Pass,
    /// It ends here.
    Drop,
    /// It ends here, and its sender is told ([`crate::pipeline::answer`]).
    Answer,
}

macro_rules! reasons {
    ($($(#[doc = $doc:literal])+ $name:ident = $index:literal, $fate:ident, $text:literal;)+) => {
        /// Why a packet was not steered. Each is a counter.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        #[repr(u32)]
        pub enum Reason {
            $($(#[doc = $doc])+ $name = $index,)+
        }

        impl Reason {
            /// All of them, in the order of their counters.
            pub const ALL: &[Self] = &[$(Self::$name),+];

            /// What is done with the packet.
            #[must_use]
            #[inline(always)]
            pub const fn fate(self) -> Fate {
                match self {
                    $(Self::$name => Fate::$fate,)+
                }
            }

            /// The reason of a number that one with [`Fate::Answer`] was made.
            #[must_use]
            #[inline(always)]
            pub const fn answered(number: u32) -> Self {
                const HOP_LIMIT: u32 = Reason::HopLimit as u32;
                const TOO_BIG: u32 = Reason::TooBig as u32;
                match number {
                    HOP_LIMIT => Self::HopLimit,
                    TOO_BIG => Self::TooBig,
                    _ => Self::NoServer,
                }
            }

            /// The name of the counter, for listings and metrics.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)+
                }
            }

            /// What it means, in words.
            #[must_use]
            pub const fn meaning(self) -> &'static str {
                match self {
                    $(Self::$name => concat!($($doc),+).trim_ascii(),)+
                }
            }
        }
    };
}

reasons! {
    /// Headers that end early or whose lengths disagree. The kernel's stack discards it and counts
    /// it too.
    Malformed = 0, Pass, "malformed";
    /// A fragment that would overwrite the transport header of the first one (RFC 1858, RFC 3128),
    /// or the first fragment of an SCTP packet whose ports would have to change: its checksum
    /// covers what has not come yet.
    Fragment = 1, Drop, "fragment";
    /// A TCP segment to a service that starts nothing and belongs to no flow we know. The kernel
    /// answers with a reset, as behind IPVS.
    NoFlow = 2, Pass, "no-flow";
    /// A service without an available real server. What the client gets is the service's choice.
    NoServer = 3, Answer, "no-server";
    /// No room for another flow.
    FlowTableFull = 4, Drop, "flow-table-full";
    /// Masquerading would give two flows the same reply: same client socket and real server
    /// through two virtual addresses.
    ReplyTaken = 5, Drop, "reply-taken";
    /// The flow expired in this very moment on another CPU.
    FlowExpiring = 6, Drop, "flow-expiring";
    /// The real server's next hop is not known: no route, or its neighbour does not answer.
    NextHopUnknown = 7, Drop, "next-hop-unknown";
    /// The kernel has no route to the client.
    NoRoute = 8, Drop, "no-route";
    /// The kernel's forwarding is switched off on the interface that the reply came in by.
    ForwardingOff = 9, Drop, "forwarding-off";
    /// The packet may not travel further: its TTL or hop limit is used up.
    HopLimit = 10, Answer, "hop-limit";
    /// Larger than the MTU of the interface it would leave by.
    TooBig = 11, Answer, "too-big";
    /// The driver left no room in front of the packet.
    NoHeadroom = 12, Drop, "no-headroom";
    /// A packet that must not be answered (RFC 1122 §3.2.2, RFC 4443 §2.4e), or more than may be
    /// answered in a second. Counted besides the reason for which it was refused.
    Unanswered = 13, Drop, "unanswered";
    /// The flow's real server is gone and may come back: `expire_nodest_conn = 0`.
    ServerGone = 14, Drop, "server-gone";
    /// The checksum of the IPv4 header is wrong.
    BadChecksum = 15, Drop, "bad-checksum";
    /// A fragment that came before the first one of its datagram, and there was no room to hold it
    /// or it waited in vain.
    EarlyFragment = 16, Drop, "early-fragment";
    /// Full NAT found no free port of its pool towards the real server.
    NoPort = 17, Drop, "no-port";
    /// From a source that no host may have, or from the virtual service itself.
    Martian = 18, Drop, "martian";
    /// An ICMP error about a flow that is not known.
    UnknownError = 19, Pass, "unknown-error";
    /// This director's lease is over: its daemon did not renew it, and the partner may have taken over.
    /// Also counts who asked for the link address of a service, and replies of masqueraded servers that come to the
    /// one on standby.
    LeaseOver = 20, Drop, "lease-over";
    /// The partner answers for the service.
    Standby = 21, Pass, "standby";
}

/// What happens besides, worth a counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u32)]
pub enum Event {
    /// An answer of our own was sent: a reset or an ICMP message.
    Answered = 0,
    /// A half-open flow was taken away to make room for another.
    Displaced = 1,
    /// A packet was forwarded by a hashing scheduler without a flow being remembered.
    Stateless = 2,
    /// A fragment waits for the first one of its datagram.
    Held = 3,
    /// The partner was not told what became of a flow: the daemon does not read fast enough.
    Untold = 4,
}

impl Event {
    /// All of them, in the order of their counters.
    pub const ALL: &[Self] = &[
        Self::Answered,
        Self::Displaced,
        Self::Stateless,
        Self::Held,
        Self::Untold,
    ];

    /// The name of the counter, for listings and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Displaced => "displaced",
            Self::Stateless => "stateless",
            Self::Held => "held",
            Self::Untold => "untold",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_is_told_to_the_administrator() {
        let page = include_str!("../../docs/operations.md");
        for reason in Reason::ALL {
            let fate = match reason.fate() {
                Fate::Pass => "pass",
                Fate::Drop => "drop",
                Fate::Answer => "answer",
            };
            let row = format!("| `{}` | {fate} |", reason.name());
            assert!(page.contains(&row), "{row}");
        }
    }

    #[test]
    fn reasons_are_numbered_in_order() {
        for (index, reason) in Reason::ALL.iter().enumerate() {
            assert_eq!(*reason as usize, index, "{}", reason.name());
        }
        for (index, event) in Event::ALL.iter().enumerate() {
            assert_eq!(*event as usize, index, "{}", event.name());
        }
    }
}
