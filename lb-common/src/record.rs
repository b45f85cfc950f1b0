//! What a partner has to know of a flow, or of a client that stays with its server: a record. The data plane
//! writes one when a flow comes to stand, counts as something else or ends ([`tell`]), and makes flows of
//! those that a partner has written ([`crate::learn`]).

use bytemuck::{Pod, Zeroable};

use crate::{
    address::Address6,
    count::Class,
    family::{Family, V4},
    flow::{Flow, FlowKey},
    maps::Settings,
    persistence,
    state::State,
    tables::{FlowTable, Tables},
    wire::Be16,
};

/// A flow, or the memory of a client that stays ([`State::TEMPLATE`]), in the terms of one director: real
/// servers and services have the numbers that it gave them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Record {
    /// The client; of one that stays, its network.
    pub client: Address6,
    /// What it talks to; of one that stays, what it talked to first.
    pub address: Address6,
    /// What the real server sees as the source: another than the client by full NAT.
    pub source: Address6,
    /// The real server's id.
    pub server: u32,
    /// The service's id, of a client that stays; otherwise zero.
    pub service: u32,
    /// Its state.
    pub state: State,
    /// How long it is remembered after its last packet, in ticks. Where it is learned, zero means as long as
    /// this director remembers such flows.
    pub timeout: u32,
    /// How long it has been silent, in ticks.
    pub silent: u32,
    /// The client's port; zero of a client that stays.
    pub client_port: Be16,
    /// The virtual port.
    pub port: Be16,
    /// The source port that the real server sees.
    pub source_port: Be16,
    /// Its protocol; zero of a client that stays.
    pub protocol: u8,
    /// See the constants of [`Record`].
    pub flags: u8,
    /// What came of learning it.
    pub outcome: Outcome,
    /// Zero.
    pub pad: [u8; 3],
}

impl Record {
    /// In [`Record::flags`]: its addresses are of IPv6.
    pub const IPV6: u8 = 1;
    /// In [`Record::flags`]: it has ended.
    pub const ENDED: u8 = 2;

    /// How many the program takes at once: what fits into a packet.
    pub const AT_ONCE: u32 = 40;

    /// Whether this flag is set.
    #[must_use]
    #[inline(always)]
    pub const fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// Writes an entry of the flow table here. A way back has no record.
    #[inline(always)]
    pub fn fill<F: Family>(
        &mut self,
        key: &FlowKey<F::Address>,
        flow: &Flow<F::Address>,
        now: u32,
        flags: u8,
    ) {
        let is_template = key.protocol == 0;
        self.client = F::widen(key.source);
        self.address = F::widen(flow.virtual_address);
        self.source = F::widen(flow.client_address);
        self.server = flow.server;
        self.service = if is_template {
            persistence::service_of(key)
        } else {
            0
        };
        self.state = flow.state;
        self.timeout = flow.timeout;
        let silent = now.wrapping_sub(flow.seen);
        // Another CPU may have stamped it a moment after the clock was read.
        self.silent = if silent < u32::MAX / 2 { silent } else { 0 };
        self.client_port = if is_template {
            Be16::new(0)
        } else {
            key.source_port
        };
        self.port = flow.virtual_port;
        self.source_port = flow.client_port;
        self.protocol = key.protocol;
        self.flags = if F::AF == V4::AF {
            flags
        } else {
            flags | Self::IPV6
        };
        self.outcome = Outcome::NONE;
        self.pad = [0; 3];
    }

    /// Writes the key of its entry into `key`.
    #[inline(always)]
    pub fn key_to<F: Family>(&self, key: &mut FlowKey<F::Address>) {
        let client = F::narrow(&self.client);
        *key = if self.protocol == 0 {
            persistence::key_of::<F>(self.service, client)
        } else {
            let address = F::narrow(&self.address);
            FlowKey::new(client, address, self.client_port, self.port, self.protocol)
        };
    }
}

/// What came of learning a record.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Pod, Zeroable)]
#[repr(transparent)]
pub struct Outcome(pub u8);

impl Outcome {
    /// It was not looked at.
    pub const NONE: Self = Self(0);
    /// It is an entry now.
    pub const LEARNED: Self = Self(1);
    /// There was an entry, which has its state and time now.
    pub const RENEWED: Self = Self(2);
    /// Its entry ends.
    pub const ENDED: Self = Self(3);
    /// It has ended, and there is no entry of it.
    pub const ABSENT: Self = Self(4);
    /// There is no such real server, or no such service.
    pub const STRANGE: Self = Self(5);
    /// There is no room.
    pub const FULL: Self = Self(6);
    /// Its replies, or its port of full NAT, are another flow's.
    pub const TAKEN: Self = Self(7);
    /// Its entry is changing just now on another CPU.
    pub const BUSY: Self = Self(8);
    /// No flow is like this.
    pub const MALFORMED: Self = Self(9);

    /// How many there are.
    pub const COUNT: usize = 10;
}

/// Tells the partner that an entry went from one state to another, if there is one who wants to know and it
/// [is worth telling](is_worth_telling).
#[inline(always)]
pub fn tell<F: Family, T: Tables + FlowTable<F>>(
    tables: &T,
    key: &FlowKey<F::Address>,
    before: Option<State>,
    after: Option<State>,
) {
    if tables.is_set(Settings::SYNC) {
        FlowTable::<F>::told(tables, key, before, after);
    }
}

/// Whether a partner has to know that an entry went from one state to another: flows are told when they stand,
/// count as something else at their real server, and end. So one that opens, closes and goes is three records,
/// whatever its packets.
#[must_use]
#[inline(always)]
pub fn is_worth_telling(before: Option<State>, after: Option<State>) -> bool {
    (stands(before) || stands(after)) && Class::of(before) != Class::of(after)
}

#[inline(always)]
fn stands(state: Option<State>) -> bool {
    state.is_some_and(|state| !state.is_half_open())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flow_is_told_when_it_stands_closes_and_ends() {
        let table = [
            (None, Some(State::SYN_RECV), false),
            (Some(State::SYN_RECV), Some(State::ESTABLISHED), true),
            (None, Some(State::ESTABLISHED), true),
            (Some(State::ESTABLISHED), Some(State::FIN_WAIT), true),
            (Some(State::FIN_WAIT), Some(State::TIME_WAIT), false),
            (Some(State::TIME_WAIT), None, true),
            (Some(State::SYN_RECV), None, false),
            (Some(State::SYN_RECV), Some(State::CLOSE), true),
            (Some(State::ESTABLISHED), Some(State::SYN_RECV), true),
            (None, Some(State::UDP_ONCE), false),
            (Some(State::UDP_ONCE), Some(State::UDP), true),
            (None, Some(State::TEMPLATE), true),
            (Some(State::TEMPLATE), None, true),
        ];
        for (before, after, is_told) in table {
            let told = is_worth_telling(before, after);
            assert_eq!(told, is_told, "{before:?} to {after:?}");
        }
    }
}
