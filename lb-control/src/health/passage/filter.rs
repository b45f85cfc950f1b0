//! What a packet socket hears, as a program of the classic packet filter: whatever is none of ours the kernel does not
//! even copy.

use std::net::IpAddr;

use lb_common::wire::protocol;
use socket2::SockFilter;

/// Above so many addresses all are let through, and looked at here. The kernel takes 4,096 instructions, and its
/// memory for options of a socket (net.core.optmem_max) may hold fewer.
const MOST: usize = 1_000;

/// A jump reaches 255 instructions.
const CHUNK: usize = 200;

/// Where the kernel keeps what is no byte of the packet, and where the network header begins (linux/filter.h).
const ANCILLARY: u32 = 0xffff_f000;
const PACKET_TYPE: u32 = ANCILLARY + 4;
const HARDWARE: u32 = ANCILLARY + 28;
const NETWORK: u32 = 0xfff0_0000;

/// Hardware that has frames of Ethernet (ARPHRD_ETHER), and frames to this host (PACKET_HOST).
const ETHERNET: u32 = 1;
const TO_US: u32 = 0;

const LOAD_WORD: u16 = 0x20;
const LOAD_BYTE: u16 = 0x30;
const JUMP: u16 = 0x05;
const JUMP_IF_EQUAL: u16 = 0x15;
const RETURN: u16 = 0x06;

/// An instruction: what it does, where it goes on if so and if not, and its number.
pub(super) type Instruction = (u16, u8, u8, u32);

/// A family of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    V4,
    V6,
}

impl Family {
    /// Where the header has the protocol, and the last word of the source.
    const fn places(self) -> (u32, u32, u8) {
        match self {
            Self::V4 => (9, 12, protocol::ICMP),
            Self::V6 => (6, 20, protocol::ICMPV6),
        }
    }

    /// The last word of an address of this family.
    fn word(self, address: IpAddr) -> Option<u32> {
        match (self, address) {
            (Self::V4, IpAddr::V4(address)) => Some(address.to_bits()),
            (Self::V6, IpAddr::V6(address)) => Some(address.to_bits() as u32),
            (Self::V4, IpAddr::V6(_)) | (Self::V6, IpAddr::V4(_)) => None,
        }
    }
}

/// Lets through TCP, UDP and ICMP of a family from these addresses to this host. Of IPv6 the last word is compared;
/// the rest is seen to by the register.
pub(super) fn program(family: Family, addresses: impl Iterator<Item = IpAddr>) -> Vec<Instruction> {
    let mut words: Vec<u32> = addresses
        .filter_map(|address| family.word(address))
        .collect();
    words.sort_unstable();
    words.dedup();
    let (protocol_at, source_at, icmp) = family.places();
    let pass = (RETURN, 0, 0, u32::MAX);
    let drop = (RETURN, 0, 0, 0);
    if words.is_empty() {
        return vec![drop];
    }
    let mut program = vec![
        (LOAD_WORD, 0, 0, HARDWARE),
        (JUMP_IF_EQUAL, 1, 0, ETHERNET),
        drop,
        (LOAD_WORD, 0, 0, PACKET_TYPE),
        (JUMP_IF_EQUAL, 1, 0, TO_US),
        drop,
        (LOAD_BYTE, 0, 0, NETWORK + protocol_at),
        (JUMP_IF_EQUAL, 3, 0, protocol::TCP.into()),
        (JUMP_IF_EQUAL, 2, 0, protocol::UDP.into()),
        (JUMP_IF_EQUAL, 1, 0, icmp.into()),
        drop,
    ];
    if words.len() > MOST {
        program.push(pass);
        return program;
    }
    program.push((LOAD_WORD, 0, 0, NETWORK + source_at));
    for chunk in words.chunks(CHUNK) {
        // Those that are equal jump behind the jump over the end of this chunk.
        for (left, word) in (1..=chunk.len() as u8).rev().zip(chunk) {
            program.push((JUMP_IF_EQUAL, left, 0, *word));
        }
        program.push((JUMP, 0, 0, 1));
        program.push(pass);
    }
    program.push(drop);
    program
}

/// The same as the kernel takes it.
pub(super) fn assembled(program: &[Instruction]) -> Vec<SockFilter> {
    let instructions = program.iter();
    instructions
        .map(|(code, yes, no, number)| SockFilter::new(*code, *yes, *no, *number))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the kernel does with a program, for a packet from an address.
    fn run(program: &[Instruction], family: Family, from: IpAddr, protocol: u8) -> bool {
        let (protocol_at, source_at, _) = family.places();
        let mut at = 0;
        let mut register = 0;
        loop {
            let (code, yes, no, number) = program[at];
            at += 1;
            match code {
                LOAD_WORD | LOAD_BYTE => {
                    register = match number {
                        HARDWARE => ETHERNET,
                        PACKET_TYPE => TO_US,
                        place if place == NETWORK + protocol_at => protocol.into(),
                        place if place == NETWORK + source_at => family.word(from).unwrap(),
                        place => panic!("{place:#x}"),
                    };
                }
                JUMP => at += number as usize,
                JUMP_IF_EQUAL => at += usize::from(if register == number { yes } else { no }),
                RETURN => return number != 0,
                other => panic!("{other}"),
            }
        }
    }

    #[test]
    fn only_packets_of_ours_are_heard() {
        for count in [0_u32, 1, 2, 200, 201, 999, 1_001] {
            let v4 = (0..count).map(|number| IpAddr::from((0xc000_0200 + number).to_be_bytes()));
            let v6 = (0..count).map(|number| IpAddr::from(u128::from(number).to_be_bytes()));
            for (family, addresses) in [
                (Family::V4, v4.collect::<Vec<_>>()),
                (Family::V6, v6.collect()),
            ] {
                let program = program(family, addresses.iter().copied());
                assert!(program.len() < 1_100, "{}", program.len());
                for address in &addresses {
                    assert!(run(&program, family, *address, protocol::TCP), "{address}");
                    assert!(!run(&program, family, *address, protocol::GRE));
                }
                let other = match family {
                    Family::V4 => IpAddr::from([10, 0, 0, 1]),
                    Family::V6 => "2001:db8::ffff:1".parse().unwrap(),
                };
                let is_heard = run(&program, family, other, protocol::UDP);
                assert_eq!(is_heard, count > 1_000, "{count}");
            }
        }
    }
}
