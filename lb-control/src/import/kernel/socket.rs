//! A socket of generic netlink, for questions one after the other.

use std::io;

use rtnetlink::sys;

use super::attributes::{Attributes, put};

/// `NETLINK_GENERIC`.
const GENERIC: isize = 16;
/// The family that knows the others (include/uapi/linux/genetlink.h): its number, its question, and what
/// stands in question and answer.
const CONTROLLER: u16 = 16;
const GET_FAMILY: u8 = 3;
const FAMILY_ID: u16 = 1;
const FAMILY_NAME: u16 = 2;

/// Flags and kinds of messages (include/uapi/linux/netlink.h).
const REQUEST: u16 = 1;
const ACK: u16 = 4;
const DUMP: u16 = 0x300;
const ERROR: u16 = 2;
const DONE: u16 = 3;

const HEADER: usize = 16;
const GENERIC_HEADER: usize = 4;

/// Asks one family.
pub(super) struct Socket {
    socket: sys::Socket,
    family: u16,
    sequence: u32,
}

impl Socket {
    /// # Errors
    /// If there is no such family, or no netlink.
    pub(super) fn open(family: &str) -> io::Result<Self> {
        let mut socket = sys::Socket::new(GENERIC)?;
        socket.bind_auto()?;
        let mut socket = Self {
            socket,
            family: CONTROLLER,
            sequence: 0,
        };
        let mut name = Vec::new();
        put(&mut name, FAMILY_NAME, format!("{family}\0").as_bytes());
        let answer = socket.ask(GET_FAMILY, &name)?;
        let id = Attributes(&answer).u16(FAMILY_ID);
        socket.family = id.ok_or(io::ErrorKind::NotFound)?;
        Ok(socket)
    }

    /// The attributes of the one message that answers.
    pub(super) fn ask(&mut self, command: u8, attributes: &[u8]) -> io::Result<Vec<u8>> {
        let answers = self.exchange(command, ACK, attributes)?;
        Ok(answers.into_iter().next().unwrap_or_default())
    }

    /// The attributes of each message of a dump.
    pub(super) fn dump(&mut self, command: u8, attributes: &[u8]) -> io::Result<Vec<Vec<u8>>> {
        self.exchange(command, DUMP, attributes)
    }

    fn exchange(&mut self, command: u8, flags: u16, attributes: &[u8]) -> io::Result<Vec<Vec<u8>>> {
        self.sequence += 1;
        let length = HEADER + GENERIC_HEADER + attributes.len();
        let length = u32::try_from(length).map_err(io::Error::other)?;
        let mut message = Vec::new();
        message.extend(length.to_ne_bytes());
        message.extend(self.family.to_ne_bytes());
        message.extend((REQUEST | flags).to_ne_bytes());
        message.extend(self.sequence.to_ne_bytes());
        message.extend([0; 4]);
        message.extend([command, 1, 0, 0]);
        message.extend(attributes);
        self.socket
            .send_to(&message, &sys::SocketAddr::new(0, 0), 0)?;
        let mut answers = Vec::new();
        loop {
            let (packet, _) = self.socket.recv_from_full()?;
            if take(&packet, self.sequence, &mut answers)? == Answer::Whole {
                return Ok(answers);
            }
        }
    }
}

/// Whether more is to come.
#[derive(Debug, PartialEq, Eq)]
enum Answer {
    Part,
    Whole,
}

/// The messages of a packet; those to an earlier question are passed over.
fn take(packet: &[u8], sequence: u32, answers: &mut Vec<Vec<u8>>) -> io::Result<Answer> {
    let mut rest = packet;
    while let Some((header, _)) = rest.split_first_chunk::<HEADER>() {
        let [l0, l1, l2, l3, k0, k1, _, _, s0, s1, s2, s3, ..] = *header;
        let length = u32::from_ne_bytes([l0, l1, l2, l3]) as usize;
        let body = rest
            .get(HEADER..length)
            .ok_or(io::ErrorKind::UnexpectedEof)?;
        if u32::from_ne_bytes([s0, s1, s2, s3]) == sequence {
            match u16::from_ne_bytes([k0, k1]) {
                ERROR | DONE => {
                    // A dump may end without a number.
                    let number = body.first_chunk::<4>().copied().unwrap_or_default();
                    return match i32::from_ne_bytes(number) {
                        0 => Ok(Answer::Whole),
                        number => Err(io::Error::from_raw_os_error(number.saturating_neg())),
                    };
                }
                _ => answers.extend(body.get(GENERIC_HEADER..).map(<[u8]>::to_vec)),
            }
        }
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(Answer::Part)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u16, sequence: u32, body: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend((16 + body.len() as u32).to_ne_bytes());
        bytes.extend(kind.to_ne_bytes());
        bytes.extend([0, 0]);
        bytes.extend(sequence.to_ne_bytes());
        bytes.extend([0; 4]);
        bytes.extend(body);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    #[test]
    fn answers_and_their_ends() {
        let error = |number: i32| number.to_ne_bytes();
        let own = message(30, 7, &[1, 1, 0, 0, 9, 9]);
        let foreign = message(30, 6, &[1, 1, 0, 0, 8]);
        let table = [
            (
                "more to come",
                [own.clone(), foreign].concat(),
                Ok(Answer::Part),
            ),
            (
                "done",
                [own.clone(), message(DONE, 7, &error(0))].concat(),
                Ok(Answer::Whole),
            ),
            (
                "acknowledged",
                [own, message(ERROR, 7, &error(0))].concat(),
                Ok(Answer::Whole),
            ),
        ];
        for (what, packet, expected) in table {
            let mut answers = Vec::new();
            let answer = take(&packet, 7, &mut answers).map_err(|_| ());
            assert_eq!(answer, expected, "{what}");
            assert_eq!(answers, [[9, 9]], "{what}");
        }
        let refused = take(&message(ERROR, 7, &error(-1)), 7, &mut Vec::new());
        assert_eq!(refused.unwrap_err().raw_os_error(), Some(1));
        let cut = take(&message(30, 7, &[1; 20])[..20], 7, &mut Vec::new());
        assert!(cut.is_err());
    }
}
