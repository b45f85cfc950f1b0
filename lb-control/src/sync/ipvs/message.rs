//! Messages as `ip_vs_sync.c` has them. Version 1 is written; both are read. In network byte order:
//!
//! ```text
//! version 1:  0 (1) syncid (1) size (2) count (1) 1 (1) 0 (2), then connections, each at a multiple of four
//!   connection: type (1, 1 for IPv6) protocol (1) size (2, 12 bits) flags (4) state (2) client port (2)
//!               virtual port (2) server port (2) mark (4) timeout (4, seconds) client, virtual, server address,
//!               then parameters: type (1) length (1) bytes
//! version 0:  count (1) syncid (1) size (2), then connections of IPv4
//!   connection: 0 (1) protocol (1) ports (2 each) addresses (4 each) flags (2) state (2) [sequence numbers (24)]
//! ```

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The bits of [`Entry::flags`] that are heeded: `IP_VS_CONN_F_*`.
pub mod flag {
    /// The method: one of [`super::forward`].
    pub const FORWARD: u32 = 7;
    /// Replies are not seen here.
    pub const NO_OUTPUT: u32 = 0x80;
    /// It does not count as active.
    pub const INACTIVE: u32 = 0x100;
    /// The sequence numbers of one direction are shifted (by a helper like FTP's).
    pub const SEQUENCES: u32 = 0x600;
    /// The client's port is not known yet.
    pub const NO_CLIENT_PORT: u32 = 0x800;
    /// A client that stays.
    pub const TEMPLATE: u32 = 0x1000;
}

/// How packets reach the server: `IP_VS_CONN_F_FWD_MASK`.
pub mod forward {
    /// Masquerading.
    pub const MASQUERADE: u32 = 0;
    /// The balancer itself.
    pub const LOCAL: u32 = 1;
    /// A tunnel.
    pub const TUNNEL: u32 = 2;
    /// Direct routing.
    pub const ROUTE: u32 = 3;
}

/// A connection, or a client that stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// The number of its protocol; 0 for a client that stays with a mark.
    pub protocol: u8,
    /// The client; port 0 for one that stays.
    pub client: SocketAddr,
    /// What it talks to.
    pub address: SocketAddr,
    /// The real server.
    pub server: SocketAddr,
    /// See [`flag`].
    pub flags: u32,
    /// By the table of its protocol.
    pub state: u16,
    /// The mark of its service; 0 for none.
    pub mark: u32,
    /// How long it may be silent, in seconds; 0 if that is not said.
    pub timeout: u32,
}

/// The most that a count can say.
pub const MOST: usize = 255;

const HEADER: usize = 8;
const BASE: usize = 24;

/// How many bytes an entry takes.
#[must_use]
pub const fn length(entry: &Entry) -> usize {
    BASE + match entry.client {
        SocketAddr::V4(_) => 3 * 4,
        SocketAddr::V6(_) => 3 * 16,
    }
}

/// A message of version 1. Of more than [`MOST`] entries the first are in it.
#[must_use]
pub fn encode(syncid: u8, entries: &[Entry]) -> Vec<u8> {
    let entries = entries.get(..MOST).unwrap_or(entries);
    let mut bytes = vec![0, syncid, 0, 0, entries.len() as u8, 1, 0, 0];
    for entry in entries {
        let is_v6 = entry.client.is_ipv6();
        bytes.extend([u8::from(is_v6), entry.protocol]);
        bytes.extend((length(entry) as u16).to_be_bytes());
        bytes.extend(entry.flags.to_be_bytes());
        bytes.extend(entry.state.to_be_bytes());
        let sockets = [entry.client, entry.address, entry.server];
        for socket in sockets {
            bytes.extend(socket.port().to_be_bytes());
        }
        bytes.extend(entry.mark.to_be_bytes());
        bytes.extend(entry.timeout.to_be_bytes());
        for socket in sockets {
            match (socket.ip(), is_v6) {
                (IpAddr::V4(address), false) => bytes.extend(address.octets()),
                (IpAddr::V4(address), true) => bytes.extend(address.to_ipv6_mapped().octets()),
                (IpAddr::V6(address), _) => bytes.extend(address.octets()),
            }
        }
    }
    let size = (bytes.len() as u16).to_be_bytes();
    if let Some(place) = bytes.get_mut(2..4) {
        place.copy_from_slice(&size);
    }
    bytes
}

/// A datagram is no message of IPVS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// It is shorter or longer than it says.
    #[error("not as long as it says")]
    Size,
    /// It is of another pair of directors.
    #[error("of syncid {0}")]
    Pair(u8),
    /// A connection ends in the middle, or is of a kind that there is not. What came before it counts.
    #[error("a connection is not as it ought to be")]
    Connection,
}

/// What a message says, and how it ends: as the kernel does, connections before a broken one are heeded.
/// `syncid` 0 hears all pairs.
///
/// # Errors
/// If nothing of it can be heeded.
pub fn decode(syncid: u8, bytes: &[u8]) -> Result<(Vec<Entry>, Result<(), Malformed>), Malformed> {
    let [first, pair, high, low, ..] = bytes else {
        return Err(Malformed::Size);
    };
    if usize::from(u16::from_be_bytes([*high, *low])) != bytes.len() {
        return Err(Malformed::Size);
    }
    if syncid != 0 && *pair != syncid {
        return Err(Malformed::Pair(*pair));
    }
    let mut entries = Vec::new();
    let end = match (first, bytes.get(4..HEADER)) {
        (0, Some([count, 1, 0, 0])) => version_1(bytes, *count, &mut entries),
        _ => version_0(bytes, *first, &mut entries),
    };
    Ok((entries, end))
}

fn version_1(bytes: &[u8], count: u8, entries: &mut Vec<Entry>) -> Result<(), Malformed> {
    let mut begin = HEADER;
    for _ in 0..count {
        let rest = bytes.get(begin..).ok_or(Malformed::Connection)?;
        let word = rest.get(2..4).ok_or(Malformed::Connection)?;
        let mut reader = Reader(word);
        let word = reader.u16()?;
        if word >> 12 != 0 {
            return Err(Malformed::Connection);
        }
        let size = usize::from(word);
        let one = rest.get(..size).ok_or(Malformed::Connection)?;
        if let Some(entry) = connection(one)? {
            entries.push(entry);
        }
        begin += size.next_multiple_of(4);
    }
    Ok(())
}

/// One connection; nothing if it has what has to be understood and is not.
fn connection(bytes: &[u8]) -> Result<Option<Entry>, Malformed> {
    let mut reader = Reader(bytes);
    let kind = reader.u8()?;
    if kind > 1 {
        return Err(Malformed::Connection);
    }
    let protocol = reader.u8()?;
    reader.u16()?;
    let flags = reader.u32()?;
    let state = reader.u16()?;
    let ports = [reader.u16()?, reader.u16()?, reader.u16()?];
    let (mark, timeout) = (reader.u32()?, reader.u32()?);
    let mut socket = |port| -> Result<_, Malformed> {
        let address: IpAddr = match kind {
            0 => Ipv4Addr::from(reader.array::<4>()?).into(),
            _ => Ipv6Addr::from(reader.array::<16>()?).into(),
        };
        Ok(SocketAddr::new(address, port))
    };
    let [client, address, server] = [socket(ports[0])?, socket(ports[1])?, socket(ports[2])?];
    let is_understood = parameters(&mut reader)?;
    let entry = Entry {
        protocol,
        client,
        address,
        server,
        flags,
        state,
        mark,
        timeout,
    };
    Ok(is_understood.then_some(entry))
}

/// What stands behind a connection; whether all that has to be understood is.
fn parameters(reader: &mut Reader<'_>) -> Result<bool, Malformed> {
    /// Such a parameter may be skipped.
    const OPTIONAL: u8 = 0x40;
    let mut seen = 0_u8;
    while !reader.0.is_empty() {
        let (kind, length) = (reader.u8()?, reader.u8()?);
        let bytes = reader
            .0
            .split_at_checked(usize::from(length))
            .filter(|_| length > 0);
        let (_, rest) = bytes.ok_or(Malformed::Connection)?;
        let most = match kind & !OPTIONAL {
            // Sequence numbers; data and name of a persistence engine.
            1 if length != 24 => return Err(Malformed::Connection),
            1 => 24,
            2 => 255,
            3 => 16,
            _ if kind & OPTIONAL != 0 => 255,
            _ => return Ok(false),
        };
        let bit = 1 << (kind & 3);
        if length > most || (kind & !OPTIONAL <= 3 && seen & bit != 0) {
            return Err(Malformed::Connection);
        }
        seen |= bit;
        reader.0 = rest;
    }
    Ok(true)
}

fn version_0(bytes: &[u8], count: u8, entries: &mut Vec<Entry>) -> Result<(), Malformed> {
    let mut reader = Reader(bytes.get(4..).unwrap_or(&[]));
    for _ in 0..count {
        reader.u8()?;
        let protocol = reader.u8()?;
        let ports = [reader.u16()?, reader.u16()?, reader.u16()?];
        let mut sockets = [SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 0); 3];
        for (socket, port) in sockets.iter_mut().zip(ports) {
            *socket = SocketAddr::new(Ipv4Addr::from(reader.array::<4>()?).into(), port);
        }
        let [client, address, server] = sockets;
        let flags = u32::from(reader.u16()?);
        let state = reader.u16()?;
        if flags & flag::SEQUENCES != 0 {
            reader.array::<24>()?;
        }
        entries.push(Entry {
            protocol,
            client,
            address,
            server,
            flags,
            state,
            mark: 0,
            timeout: 0,
        });
    }
    Ok(())
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn u8(&mut self) -> Result<u8, Malformed> {
        Ok(u8::from_be_bytes(self.array()?))
    }

    fn u16(&mut self) -> Result<u16, Malformed> {
        Ok(u16::from_be_bytes(self.array()?))
    }

    fn u32(&mut self) -> Result<u32, Malformed> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (array, rest) = self.0.split_first_chunk().ok_or(Malformed::Connection)?;
        self.0 = rest;
        Ok(*array)
    }
}

#[cfg(test)]
pub(super) mod tests;
