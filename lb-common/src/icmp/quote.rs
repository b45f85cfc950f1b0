//! The packet that an error quotes.

use crate::{
    checksum::Sum,
    family::End,
    flow::FlowKey,
    forward::translate,
    link::Link,
    packet::{MAX_SUM, Packet},
    parse::{Frame, Parse, Transport},
    room::Gist,
    verdict::Reason,
    wire::{Be16, Ports, icmp::Icmp, protocol},
};

use super::Quoting;

/// How much of the payload of a quoted packet is there at least, in bytes (RFC 792).
pub(super) const LEAST: usize = 8;

/// A message and the packet that it quotes.
#[derive(Clone, Copy)]
pub(super) struct Quote {
    /// Where the message starts, its own header.
    pub message: usize,
    /// Where it ends. The quote may end before.
    pub end: usize,
    /// Where the IP header of the quoted packet starts.
    pub ip: usize,
    /// What stands behind that.
    pub transport: Transport,
}

impl Quote {
    /// Reads what the message from byte `message` to `end` quotes.
    ///
    /// # Errors
    /// [`Reason::Malformed`] if that is no packet.
    #[inline(always)]
    pub(super) fn parse<F: Parse, P: Packet>(
        packet: &P,
        message: usize,
        end: usize,
    ) -> Result<Self, Reason> {
        let ip = message + size_of::<Icmp>();
        let transport = F::transport(packet, ip)?;
        if transport.at > end {
            return Err(Reason::Malformed);
        }
        Ok(Self {
            message,
            end,
            ip,
            transport,
        })
    }

    /// The quote in a message that an earlier stage has parsed.
    ///
    /// # Errors
    /// As [`Self::parse`].
    #[inline(always)]
    pub(super) fn restore<F: Parse, P: Packet>(
        packet: &P,
        link: Link,
        gist: &Gist,
    ) -> Result<Self, Reason> {
        let end = link.length + gist.length as usize;
        Self::parse::<F, P>(packet, gist.transport as usize, end)
    }

    /// The ports of the quoted packet, if it is one that is balanced and they are there. That a
    /// control message was quoted is no reason to look for its flow.
    #[inline(always)]
    pub(super) fn ports<P: Packet>(&self, packet: &P) -> Option<Ports> {
        ports(packet, &self.transport, self.end)
    }

    /// Makes the quoted packet into one of the key `sent`, and all checksums in the message right;
    /// that of the message itself as one between `ends`, which the caller makes of the packet.
    ///
    /// A quoted checksum may be cut off. What is wrong in the quote stays wrong.
    ///
    /// # Errors
    /// [`Reason::BadChecksum`] if that of the message is wrong; the packet is unchanged then.
    #[inline(always)]
    pub(super) fn rewrite<F: Quoting, P: Packet>(
        &self,
        packet: &mut P,
        link: Link,
        sent: &FlowKey<F::Address>,
        ends: [&F::Address; 2],
    ) -> Result<(), Reason> {
        let before = self.sum::<F, P>(packet, link)?;
        let quoted: &F::Header = packet.header(self.ip).ok_or(Reason::Malformed)?;
        let (link, gist) = (
            Link {
                length: self.ip,
                ..link
            },
            Gist {
                transport: self.transport.at as u16,
                length: F::facts(quoted).length as u16,
                flags: 0,
                marks: 0,
                pad: 0,
            },
        );
        let frame = Frame::<F>::restore(link, sent, &gist);
        translate(packet, &frame, End::Source, sent.source, sent.source_port)?;
        let (address, port) = (sent.destination, sent.destination_port);
        translate(packet, &frame, End::Destination, address, port)?;

        let after = self.summed(packet)?;
        let after = F::beside_message(ends, self.end - self.message).joined(after);
        let message: &mut Icmp = packet.header_mut(self.message).ok_or(Reason::Malformed)?;
        message
            .checksum
            .apply(after.joined(Sum::default().plus(&before.checksum())));
        Ok(())
    }

    /// The sum that the checksum of the message covers.
    ///
    /// # Errors
    /// [`Reason::BadChecksum`] if the checksum is wrong. That of a message which is longer than
    /// [`MAX_SUM`] is not looked at.
    #[inline(always)]
    pub(super) fn sum<F: Quoting, P: Packet>(&self, packet: &P, link: Link) -> Result<Sum, Reason> {
        let ip: &F::Header = packet.header(link.length).ok_or(Reason::Malformed)?;
        let ends = [
            &F::address(ip, End::Source),
            &F::address(ip, End::Destination),
        ];
        let length = self.end - self.message;
        let sum = F::beside_message(ends, length).joined(self.summed(packet)?);
        if length <= MAX_SUM && sum.checksum().0 != Be16::new(0) {
            return Err(Reason::BadChecksum);
        }
        Ok(sum)
    }

    /// The sum over as much of the message as can be summed up, and more than what changes in it.
    #[inline(always)]
    fn summed<P: Packet>(&self, packet: &P) -> Result<Sum, Reason> {
        let length = (self.end - self.message).min(MAX_SUM);
        packet.sum(self.message, length).ok_or(Reason::Malformed)
    }
}

/// The ports of a packet of which at least the first bytes are there, up to `end`; nothing if it is
/// none that is balanced.
#[inline(always)]
pub(super) fn ports<P: Packet>(packet: &P, transport: &Transport, end: usize) -> Option<Ports> {
    if transport.part.offset != 0 || transport.at + LEAST > end {
        return None;
    }
    match transport.protocol {
        protocol::AH | protocol::ESP => Some(Ports::NONE),
        other if protocol::has_ports(other) => packet.header(transport.at).copied(),
        _ => None,
    }
}
