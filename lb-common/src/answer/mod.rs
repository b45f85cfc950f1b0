//! Answers that the data plane gives itself: a reset, an ICMP error, an echo reply. The packet is
//! made into the answer to it, on the spot, and goes back the way it came.
//!
//! Whoever calls this limits the rate.

mod answering;
mod echo;
pub(crate) mod error;
mod reset;

pub use answering::Answering;

use crate::{
    family::End,
    link::Link,
    packet::Packet,
    verdict::{Reason, Verdict},
    wire::ethernet::{Ethernet, GROUP},
};

/// TTL or hop limit of an answer.
const HOPS: u8 = 64;

/// What a packet is answered with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// A TCP segment: nobody listens here (RFC 9293 §3.10.7.1).
    Reset,
    /// Port unreachable.
    Unreachable,
    /// Larger than what fits through: fragmentation needed (RFC 1191), or packet too big.
    TooBig {
        /// How large a packet may be, IP header included, in bytes.
        mtu: u16,
    },
    /// Its TTL or hop limit was used up on the way.
    TimeExceeded,
    /// An echo request: the reply.
    Echo,
}

impl Answer {
    /// As one number, to be handed to a BPF function. Of the enum itself the MTU would be an
    /// argument of its own, and the verifier refuses one that nobody wrote.
    #[must_use]
    #[inline(always)]
    pub const fn to_word(self) -> u32 {
        match self {
            Self::Reset => 0,
            Self::Unreachable => 1,
            Self::TooBig { mtu } => (mtu as u32) << 16 | 2,
            Self::TimeExceeded => 3,
            Self::Echo => 4,
        }
    }

    /// The answer that [`Self::to_word`] made `word` of.
    #[must_use]
    #[inline(always)]
    pub const fn from_word(word: u32) -> Self {
        match word & 0xffff {
            0 => Self::Reset,
            1 => Self::Unreachable,
            2 => Self::TooBig {
                mtu: (word >> 16) as u16,
            },
            3 => Self::TimeExceeded,
            _ => Self::Echo,
        }
    }
}

/// What parsing found out about the packet that is to be answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Question {
    /// Its link header.
    pub link: Link,
    /// What is in it, extension headers looked through. For IPv6 it may be the fragment header
    /// ([`crate::wire::ipv6::extension::FRAGMENT`]).
    pub protocol: u8,
    /// Where the header of `protocol` starts, in bytes from the link header on. Of no meaning for
    /// an IPv4 fragment other than the first.
    pub transport: usize,
}

/// Makes the packet, which is of family `F`, into the answer to it. IPv4 header and lengths were
/// looked at by [`crate::parse`]. Where the fate of an error is to pass, the packet is unchanged.
///
/// # Errors
/// [`Reason::Unanswered`] if there must be no such answer to it: it was sent to many, or by
/// nobody, or is itself an error, a reset, or a fragment other than the first; or, of an echo
/// request, if it has IPv4 options or IPv6 extension headers. [`Reason::Malformed`] if its lengths
/// disagree, [`Reason::NoHeadroom`] if it cannot grow.
#[inline(always)]
pub fn answer<F: Answering, P: Packet>(
    packet: &mut P,
    question: &Question,
    answer: Answer,
) -> Result<Verdict, Reason> {
    refuse_unanswerable::<F, P>(packet, &question.link)?;
    let error = match answer {
        Answer::Reset => {
            reset::answer::<F, P>(packet, question)?;
            return Ok(Verdict::Transmit);
        }
        Answer::Echo => {
            echo::answer::<F, P>(packet, question)?;
            return Ok(Verdict::Transmit);
        }
        Answer::Unreachable => F::PORT_UNREACHABLE,
        Answer::TooBig { mtu } => F::too_big(mtu),
        Answer::TimeExceeded => F::TIME_EXCEEDED,
    };
    error::answer::<F, P>(packet, question, error)?;
    Ok(Verdict::Transmit)
}

/// Refuses what must not be answered, whatever it is (RFC 1122 §3.2.2, RFC 4443 §2.4 e): it has to
/// go from one host to another one, on the link too. A packet from a virtual address to itself
/// would have an answer that asks again.
#[inline(always)]
fn refuse_unanswerable<F: Answering, P: Packet>(packet: &P, link: &Link) -> Result<(), Reason> {
    let ethernet: &Ethernet = packet.header(0).ok_or(Reason::Malformed)?;
    if (ethernet.destination[0] | ethernet.source[0]) & GROUP != 0 {
        return Err(Reason::Unanswered);
    }
    let ip: &F::Header = packet.header(link.length).ok_or(Reason::Malformed)?;
    if link.length + F::facts(ip).length > packet.length() {
        return Err(Reason::Malformed);
    }
    let source = F::address(ip, End::Source);
    let destination = F::address(ip, End::Destination);
    if !F::is_host(&source) || !F::is_host(&destination) || source == destination {
        return Err(Reason::Unanswered);
    }
    Ok(())
}
