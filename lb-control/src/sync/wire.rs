//! Our protocol as it is on the wire: one datagram of UDP for each message, to the partner alone.
//!
//! ```text
//!  0  4  "lbsy"
//!  4  1  version, 1
//!  5  1  kind: 1 hello, 2 data, 3 acknowledgement
//!  6  1  the sender's role: 0 standby, 1 active
//!  7  1  which pair of directors this is (syncd_id)
//!  8  8  session: drawn by the sender when it starts
//! 16  8  to: the receiver's session; 0 if none is known. Data and acknowledgements are for that one alone
//! 24  8  challenge: drawn by the sender for the next session of the receiver
//! 32  8  echo: the challenge that the sender has last seen of the receiver, else 0
//! 40  8  number: one more with each message of a session
//! 48  4  stream: one more with each time that the sender begins to tell everything
//! 52  8  sequence: of data, its place in the stream, from 0; of an acknowledgement, the first place that is missing
//! 60     data: items; acknowledgement: bits of those that are there all the same, the place after `sequence` first
//!        the seal: see the keys of the heartbeat
//! ```
//!
//! All numbers are in network byte order. An item begins with its kind and its flags, which say how long the
//! addresses are; see [`Writer`]. A message with an item that is not known is refused as a whole: what changes is a
//! new version.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use lb_common::state::State;

use super::connection::{Connection, Item, Key};
use crate::model::{Family, Method, Protocol, ServiceAddress, ServiceId};

const MAGIC: &[u8; 4] = b"lbsy";
const VERSION: u8 = 1;

/// How many bytes stand before the items.
pub const HEADER: usize = 60;

/// How many bytes a message has at the most, its seal included: what fits a frame of Ethernet with room for a tunnel.
pub const LONGEST: usize = 1_400;

/// How many places an acknowledgement tells of behind the first that is missing, at the most.
pub const SELECTED: usize = 256;

/// What makes that nobody but the partner can say anything: keys that both directors have.
pub trait Seal: Send {
    /// How many bytes the seal takes.
    fn length(&self) -> usize;

    /// Puts the seal behind a message.
    fn seal(&self, message: &mut Vec<u8>);

    /// The message, if the seal behind it is of a key that is known.
    fn open<'a>(&self, datagram: &'a [u8]) -> Option<&'a [u8]>;
}

/// What a director is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It steers, and tells the other.
    Active,
    /// It listens.
    Standby,
}

/// What every message begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// What the sender is.
    pub role: Role,
    /// Which pair of directors this is.
    pub pair: u8,
    /// The sender's session.
    pub session: u64,
    /// The receiver's, as far as the sender knows; 0 for none.
    pub to: u64,
    /// What the next session of the receiver has to say to be believed.
    pub challenge: u64,
    /// The receiver's challenge; 0 if the sender has heard none.
    pub echo: u64,
    /// The place of the message among all of its session.
    pub number: u64,
}

/// What a message says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// The sender is there.
    Hello,
    /// What became of flows.
    Data {
        /// Of which telling of everything.
        stream: u32,
        /// Its place there.
        sequence: u64,
        /// The items, as they are on the wire.
        items: Vec<u8>,
    },
    /// What has come.
    Acknowledgement {
        /// Of which stream.
        stream: u32,
        /// Everything before this place.
        sequence: u64,
        /// And these after it: the lowest bit of the first byte is `sequence + 1`.
        selected: Vec<u8>,
    },
}

/// A message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Who says it.
    pub header: Header,
    /// What.
    pub body: Body,
}

/// A datagram is no message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// It is too short, or of another protocol, or of another version of this one.
    #[error("not a message of this version")]
    Foreign,
    /// It ends in the middle, or says what there is not.
    #[error("not as a message ought to be")]
    Broken,
}

impl Message {
    /// The bytes, without the seal.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let Self { header, body } = self;
        let (kind, stream, sequence, rest): (u8, u32, u64, &[u8]) = match body {
            Body::Hello => (1, 0, 0, &[]),
            Body::Data {
                stream,
                sequence,
                items,
            } => (2, *stream, *sequence, items),
            Body::Acknowledgement {
                stream,
                sequence,
                selected,
            } => (3, *stream, *sequence, selected),
        };
        let role = match header.role {
            Role::Standby => 0,
            Role::Active => 1,
        };
        let mut bytes = Vec::with_capacity(LONGEST);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&[VERSION, kind, role, header.pair]);
        for number in [
            header.session,
            header.to,
            header.challenge,
            header.echo,
            header.number,
        ] {
            bytes.extend_from_slice(&number.to_be_bytes());
        }
        bytes.extend_from_slice(&stream.to_be_bytes());
        bytes.extend_from_slice(&sequence.to_be_bytes());
        bytes.extend_from_slice(rest);
        bytes
    }

    /// What the bytes of a message say, whose seal was taken off.
    ///
    /// # Errors
    /// If they are none. Items are looked at by [`items`].
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader(bytes);
        let magic = reader.array::<4>().map_err(|_| Malformed::Foreign)?;
        let version = reader.byte().map_err(|_| Malformed::Foreign)?;
        if &magic != MAGIC || version != VERSION {
            return Err(Malformed::Foreign);
        }
        let kind = reader.byte()?;
        let role = match reader.byte()? {
            0 => Role::Standby,
            1 => Role::Active,
            _ => return Err(Malformed::Broken),
        };
        let header = Header {
            role,
            pair: reader.byte()?,
            session: reader.u64()?,
            to: reader.u64()?,
            challenge: reader.u64()?,
            echo: reader.u64()?,
            number: reader.u64()?,
        };
        let stream = reader.u32()?;
        let sequence = reader.u64()?;
        let rest = reader.0;
        let body = match kind {
            1 => Body::Hello,
            2 => Body::Data {
                stream,
                sequence,
                items: rest.to_vec(),
            },
            3 if rest.len() <= SELECTED / 8 => Body::Acknowledgement {
                stream,
                sequence,
                selected: rest.to_vec(),
            },
            _ => return Err(Malformed::Broken),
        };
        Ok(Self { header, body })
    }
}

/// The kinds of items.
mod kind {
    pub(super) const HAS_FLOW: u8 = 1;
    pub(super) const HAS_TEMPLATE: u8 = 2;
    pub(super) const GONE_FLOW: u8 = 3;
    pub(super) const GONE_TEMPLATE: u8 = 4;
    pub(super) const BEGIN: u8 = 5;
    pub(super) const COMPLETE: u8 = 6;
}

/// What the second byte of an item says.
mod flag {
    /// The client is one of IPv6.
    pub(super) const CLIENT6: u8 = 1;
    /// The real server is one of IPv6.
    pub(super) const SERVER6: u8 = 2;
    /// The service is written out: it is not the very address and port that the client talks to.
    pub(super) const SERVICE: u8 = 4;
    /// The service is known by a mark.
    pub(super) const MARK: u8 = 8;
    /// The service is one of IPv6.
    pub(super) const SERVICE6: u8 = 16;
    /// The source that the server sees is written out.
    pub(super) const TRANSLATED: u8 = 32;
    /// That is one of IPv6.
    pub(super) const TRANSLATED6: u8 = 64;
}

/// The longest item: all addresses of IPv6.
pub const LONGEST_ITEM: usize = 2 + 1 + 2 * 18 + 19 + 2 + 18 + 8 + 18;

/// Puts items behind each other:
///
/// ```text
/// HAS_FLOW       kind flags protocol client address [service] state method timeout left server [translated]
/// HAS_TEMPLATE   kind flags service client-address state method timeout left server
/// GONE_FLOW      kind flags protocol client address
/// GONE_TEMPLATE  kind flags service client-address
/// BEGIN, COMPLETE  kind 0 number (4)
/// ```
///
/// A socket is its address and its port; a service is its mark (4), or its protocol (1) and its socket; `timeout` and
/// `left` have four bytes, all else one.
#[derive(Debug, Default)]
pub struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    /// Puts an item behind the others.
    pub fn item(&mut self, item: &Item) {
        let begin = self.bytes.len();
        let kind = match item {
            Item::Has(connection) => match connection.key {
                Key::Flow { .. } => kind::HAS_FLOW,
                Key::Template { .. } => kind::HAS_TEMPLATE,
            },
            Item::Gone(Key::Flow { .. }) => kind::GONE_FLOW,
            Item::Gone(Key::Template { .. }) => kind::GONE_TEMPLATE,
            Item::Begin(_) => kind::BEGIN,
            Item::Complete(_) => kind::COMPLETE,
        };
        self.bytes.extend_from_slice(&[kind, 0]);
        let flags = match item {
            Item::Has(connection) => self.connection(connection),
            Item::Gone(key) => self.key(key, None),
            Item::Begin(number) | Item::Complete(number) => {
                self.bytes.extend_from_slice(&number.to_be_bytes());
                0
            }
        };
        if let Some(place) = self.bytes.get_mut(begin + 1) {
            *place = flags;
        }
    }

    /// How many bytes there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The bytes.
    #[must_use]
    pub fn finish(self) -> Vec<u8> {
        self.bytes
    }

    fn connection(&mut self, connection: &Connection) -> u8 {
        let (service, server, method) = &connection.server;
        let mut flags = self.key(&connection.key, Some(service));
        let method = match method {
            Method::Nat => 0,
            Method::Direct => 1,
            Method::Tunnel => 2,
        };
        let [state, ..] = connection.state.0.to_le_bytes();
        self.bytes.extend_from_slice(&[state, method]);
        for seconds in [connection.timeout, connection.left] {
            self.bytes.extend_from_slice(&seconds.to_be_bytes());
        }
        flags |= self.socket(server, flag::SERVER6);
        if let Some(translated) = &connection.translated {
            flags |= flag::TRANSLATED | self.socket(translated, flag::TRANSLATED6);
        }
        flags
    }

    fn key(&mut self, key: &Key, service: Option<&ServiceId>) -> u8 {
        match key {
            Key::Flow {
                protocol,
                client,
                address,
            } => {
                self.bytes.push(*protocol);
                let flags = self.socket(client, flag::CLIENT6);
                self.socket(address, 0);
                match service {
                    Some(service) if implied(*protocol, address) != Some(*service) => {
                        flags | flag::SERVICE | self.service(service)
                    }
                    Some(_) | None => flags,
                }
            }
            Key::Template { service, client } => {
                let flags = flag::SERVICE | self.service(service);
                flags | self.address(client, flag::CLIENT6)
            }
        }
    }

    fn service(&mut self, service: &ServiceId) -> u8 {
        match service {
            ServiceId::Mark { mark, family } => {
                self.bytes.extend_from_slice(&mark.to_be_bytes());
                flag::MARK
                    | match family {
                        Family::Ipv4 => 0,
                        Family::Ipv6 => flag::SERVICE6,
                    }
            }
            ServiceId::Address(key) => {
                self.bytes.push(number(key.protocol));
                self.socket(&SocketAddr::new(key.address, key.port), flag::SERVICE6)
            }
        }
    }

    fn socket(&mut self, socket: &SocketAddr, flag: u8) -> u8 {
        let flags = self.address(&socket.ip(), flag);
        self.bytes.extend_from_slice(&socket.port().to_be_bytes());
        flags
    }

    fn address(&mut self, address: &IpAddr, flag: u8) -> u8 {
        match address {
            IpAddr::V4(address) => {
                self.bytes.extend_from_slice(&address.octets());
                0
            }
            IpAddr::V6(address) => {
                self.bytes.extend_from_slice(&address.octets());
                flag
            }
        }
    }
}

/// The service that a flow belongs to if nothing else is said.
fn implied(protocol: u8, address: &SocketAddr) -> Option<ServiceId> {
    Some(ServiceId::Address(ServiceAddress {
        address: address.ip(),
        port: address.port(),
        protocol: named(protocol)?,
    }))
}

/// The number of a protocol in an IP header.
pub(super) const fn number(protocol: Protocol) -> u8 {
    use lb_common::wire::protocol;
    match protocol {
        Protocol::Tcp => protocol::TCP,
        Protocol::Udp => protocol::UDP,
        Protocol::Sctp => protocol::SCTP,
        Protocol::Ah => protocol::AH,
        Protocol::Esp => protocol::ESP,
    }
}

/// Which protocol has this number.
pub(super) fn named(protocol: u8) -> Option<Protocol> {
    [
        Protocol::Tcp,
        Protocol::Udp,
        Protocol::Sctp,
        Protocol::Ah,
        Protocol::Esp,
    ]
    .into_iter()
    .find(|one| number(*one) == protocol)
}

/// The items of a message.
///
/// # Errors
/// If one of them is none.
pub fn items(bytes: &[u8]) -> Result<Vec<Item>, Malformed> {
    let mut reader = Reader(bytes);
    let mut items = Vec::new();
    while !reader.0.is_empty() {
        items.push(reader.item()?);
    }
    Ok(items)
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn item(&mut self) -> Result<Item, Malformed> {
        let kind = self.byte()?;
        let flags = self.byte()?;
        Ok(match kind {
            kind::HAS_FLOW => {
                let key = self.flow(flags)?;
                let service = if flags & flag::SERVICE == 0 {
                    let Key::Flow {
                        protocol, address, ..
                    } = key
                    else {
                        return Err(Malformed::Broken);
                    };
                    implied(protocol, &address).ok_or(Malformed::Broken)?
                } else {
                    self.service(flags)?
                };
                Item::Has(self.connection(flags, key, service)?)
            }
            kind::HAS_TEMPLATE => {
                let key = self.template(flags)?;
                let Key::Template { service, .. } = key else {
                    return Err(Malformed::Broken);
                };
                Item::Has(self.connection(flags, key, service)?)
            }
            kind::GONE_FLOW => Item::Gone(self.flow(flags)?),
            kind::GONE_TEMPLATE => Item::Gone(self.template(flags)?),
            kind::BEGIN => Item::Begin(self.u32()?),
            kind::COMPLETE => Item::Complete(self.u32()?),
            _ => return Err(Malformed::Broken),
        })
    }

    fn flow(&mut self, flags: u8) -> Result<Key, Malformed> {
        let is_v6 = flags & flag::CLIENT6 != 0;
        Ok(Key::Flow {
            protocol: self.byte()?,
            client: self.socket(is_v6)?,
            address: self.socket(is_v6)?,
        })
    }

    fn template(&mut self, flags: u8) -> Result<Key, Malformed> {
        Ok(Key::Template {
            service: self.service(flags)?,
            client: self.address(flags & flag::CLIENT6 != 0)?,
        })
    }

    fn connection(
        &mut self,
        flags: u8,
        key: Key,
        service: ServiceId,
    ) -> Result<Connection, Malformed> {
        let state = State(self.byte()?.into());
        let is_template = matches!(key, Key::Template { .. });
        if state.0 as usize >= State::COUNT || (state == State::TEMPLATE) != is_template {
            return Err(Malformed::Broken);
        }
        let method = match self.byte()? {
            0 => Method::Nat,
            1 => Method::Direct,
            2 => Method::Tunnel,
            _ => return Err(Malformed::Broken),
        };
        let (timeout, left) = (self.u32()?, self.u32()?);
        let server = self.socket(flags & flag::SERVER6 != 0)?;
        let translated = if flags & flag::TRANSLATED != 0 {
            Some(self.socket(flags & flag::TRANSLATED6 != 0)?)
        } else {
            None
        };
        Ok(Connection {
            key,
            server: (service, server, method),
            state,
            timeout,
            left,
            translated,
        })
    }

    fn service(&mut self, flags: u8) -> Result<ServiceId, Malformed> {
        let is_v6 = flags & flag::SERVICE6 != 0;
        if flags & flag::MARK != 0 {
            let mark = self.u32()?;
            if mark == 0 {
                return Err(Malformed::Broken);
            }
            let family = if is_v6 { Family::Ipv6 } else { Family::Ipv4 };
            return Ok(ServiceId::Mark { mark, family });
        }
        let protocol = named(self.byte()?).ok_or(Malformed::Broken)?;
        let socket = self.socket(is_v6)?;
        Ok(ServiceId::Address(ServiceAddress {
            address: socket.ip(),
            port: socket.port(),
            protocol,
        }))
    }

    fn socket(&mut self, is_v6: bool) -> Result<SocketAddr, Malformed> {
        let address = self.address(is_v6)?;
        let port = u16::from_be_bytes(self.array()?);
        Ok(SocketAddr::new(address, port))
    }

    fn address(&mut self, is_v6: bool) -> Result<IpAddr, Malformed> {
        Ok(if is_v6 {
            Ipv6Addr::from(self.array::<16>()?).into()
        } else {
            Ipv4Addr::from(self.array::<4>()?).into()
        })
    }

    fn byte(&mut self) -> Result<u8, Malformed> {
        Ok(u8::from_be_bytes(self.array()?))
    }

    fn u32(&mut self) -> Result<u32, Malformed> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    fn u64(&mut self) -> Result<u64, Malformed> {
        Ok(u64::from_be_bytes(self.array()?))
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (array, rest) = self.0.split_first_chunk().ok_or(Malformed::Broken)?;
        self.0 = rest;
        Ok(*array)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::connection::testing::all_kinds;

    fn message(body: Body) -> Message {
        Message {
            header: Header {
                role: Role::Active,
                pair: 5,
                session: 0x0102_0304_0506_0708,
                to: 8,
                challenge: 9,
                echo: 10,
                number: 11,
            },
            body,
        }
    }

    fn written(items: &[Item]) -> Vec<u8> {
        let mut writer = Writer::default();
        for item in items {
            let before = writer.len();
            writer.item(item);
            assert!(writer.len() - before <= LONGEST_ITEM, "{item:?}");
        }
        writer.finish()
    }

    fn all_bodies() -> Vec<Body> {
        vec![
            Body::Hello,
            Body::Data {
                stream: 3,
                sequence: 4,
                items: written(&all_kinds()),
            },
            Body::Acknowledgement {
                stream: 3,
                sequence: 5,
                selected: vec![0b10, 0x80],
            },
        ]
    }

    #[test]
    fn what_is_written_is_read() {
        for body in all_bodies() {
            let message = message(body);
            assert_eq!(Message::decode(&message.encode()), Ok(message));
        }
        assert_eq!(items(&written(&all_kinds())), Ok(all_kinds()));
    }

    /// The published vector: what other implementations may be checked against.
    #[test]
    fn the_bytes_are_as_they_are_documented() {
        let hex = |bytes: &[u8]| {
            bytes
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect::<String>()
        };
        let kinds = all_kinds();
        let body = Body::Data {
            stream: 3,
            sequence: 4,
            items: written(&kinds[..2]),
        };
        assert_eq!(
            hex(&message(body).encode()),
            "6c62737901020105010203040506070800000000000000080000000000000009\
             00000000000000\
             0a000000000000000b0000000300000000000000040500000000070100\
             06c63364070001c000020a0050010000000384000003830a0000011f90"
        );
    }

    #[test]
    fn no_datagram_is_more_than_refused() {
        let mut state = 0x2545_f491_4f6c_dd1d_u64;
        let mut random = move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state as usize
        };
        let seeds: Vec<Vec<u8>> = all_bodies()
            .into_iter()
            .map(|body| message(body).encode())
            .collect();
        let (mut read, mut refused) = (0, 0);
        for round in 0..60_000 {
            let mut bytes = seeds[round % seeds.len()].clone();
            for _ in 0..=random() % 4 {
                let at = random() % bytes.len();
                match random() % 4 {
                    0 => bytes[at] = random() as u8,
                    1 => bytes[at] ^= 1 << (random() % 8),
                    2 => bytes.truncate(at.max(1)),
                    _ => {
                        let piece = bytes[at..].to_vec();
                        bytes.extend(piece);
                        bytes.truncate(2 * LONGEST);
                    }
                }
            }
            match Message::decode(&bytes) {
                Ok(message) => {
                    read += 1;
                    if let Body::Data { items: bytes, .. } = &message.body
                        && let Ok(list) = items(bytes)
                    {
                        // What is read is never more than was sent, and is written the same way again, or shorter.
                        assert!(list.len() <= bytes.len() / 6);
                        assert_eq!(items(&written(&list)), Ok(list));
                    }
                }
                Err(_) => refused += 1,
            }
        }
        assert!(
            read > 1_000 && refused > 1_000,
            "{read} read, {refused} refused"
        );
    }

    #[test]
    fn another_version_is_foreign() {
        let mut bytes = message(Body::Hello).encode();
        bytes[4] = 2;
        assert_eq!(Message::decode(&bytes), Err(Malformed::Foreign));
        assert_eq!(Message::decode(b"lbhb"), Err(Malformed::Foreign));
        assert_eq!(Message::decode(&[]), Err(Malformed::Foreign));
    }
}
