//! Captures of frames: pcap and pcapng are read, pcap is written.

use std::{
    io::Write,
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, bail, ensure};

/// The link type of Ethernet, the only one that is understood.
const ETHERNET: u32 = 1;
/// The longest frame that is written, in bytes.
const SNAP_LENGTH: u32 = 262_144;

/// A frame and when it was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Captured {
    /// Since 1970, in microseconds.
    pub time: u64,
    /// Its bytes.
    pub frame: Vec<u8>,
    /// How many bytes it had on the wire: more if the capture cut it off.
    pub length: usize,
}

impl Captured {
    /// A frame as if it came now.
    #[must_use]
    pub fn now(frame: Vec<u8>) -> Self {
        #[expect(
            clippy::disallowed_methods,
            reason = "captures are stamped with the time of day"
        )]
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        Self {
            time: now.unwrap_or_default().as_micros() as u64,
            length: frame.len(),
            frame,
        }
    }
}

/// The frames of a capture.
///
/// # Errors
/// If it is none, or not one of Ethernet.
pub fn read(bytes: &[u8]) -> anyhow::Result<Vec<Captured>> {
    let magic: [u8; 4] = bytes
        .get(..4)
        .and_then(|magic| magic.try_into().ok())
        .context("it is too short for a capture")?;
    let (order, nanoseconds) = match magic {
        [0xd4, 0xc3, 0xb2, 0xa1] => (Order::Little, false),
        [0xa1, 0xb2, 0xc3, 0xd4] => (Order::Big, false),
        [0x4d, 0x3c, 0xb2, 0xa1] => (Order::Little, true),
        [0xa1, 0xb2, 0x3c, 0x4d] => (Order::Big, true),
        [0x0a, 0x0d, 0x0d, 0x0a] => return read_blocks(bytes),
        _ => bail!("it is neither pcap nor pcapng"),
    };
    let reader = Reader { bytes, order };
    check_link_type(reader.word(20)? & 0x0fff_ffff)?;
    let mut frames = Vec::new();
    let mut at = 24;
    while at < bytes.len() {
        let fraction = u64::from(reader.word(at + 4)?);
        let captured = reader.word(at + 8)? as usize;
        frames.push(Captured {
            time: u64::from(reader.word(at)?) * 1_000_000
                + if nanoseconds {
                    fraction / 1_000
                } else {
                    fraction
                },
            frame: reader.slice(at + 16, captured)?.to_vec(),
            length: reader.word(at + 12)? as usize,
        });
        at += 16 + captured;
    }
    Ok(frames)
}

/// The frames of a pcapng file: enhanced and simple packet blocks, whatever the section.
fn read_blocks(bytes: &[u8]) -> anyhow::Result<Vec<Captured>> {
    const SECTION: u32 = 0x0a0d_0d0a;
    const INTERFACE: u32 = 1;
    const SIMPLE: u32 = 3;
    const ENHANCED: u32 = 6;

    let mut frames = Vec::new();
    // How many of an interface's units of time a second has, one interface after the other.
    let mut units: Vec<u64> = Vec::new();
    let mut order = Order::Little;
    let mut at = 0;
    while at < bytes.len() {
        let mut reader = Reader { bytes, order };
        let kind = reader.word(at)?;
        if kind == SECTION {
            order = match reader.slice(at + 8, 4)? {
                [0x4d, 0x3c, 0x2b, 0x1a] => Order::Little,
                _ => Order::Big,
            };
            reader.order = order;
            units.clear();
        }
        let length = reader.word(at + 4)? as usize;
        ensure!(
            length >= 12 && length.is_multiple_of(4),
            "a block of it has no length"
        );
        let body = at + 8;
        match kind {
            INTERFACE => {
                check_link_type(u32::from(reader.half(body)?))?;
                units.push(units_of(&reader, body + 8, at + length - 4)?);
            }
            ENHANCED => {
                let interface = reader.word(body)? as usize;
                let unit = units.get(interface).context("a packet has no interface")?;
                let time =
                    u64::from(reader.word(body + 4)?) << 32 | u64::from(reader.word(body + 8)?);
                let captured = reader.word(body + 12)? as usize;
                frames.push(Captured {
                    time: (u128::from(time) * 1_000_000 / u128::from(*unit)) as u64,
                    frame: reader.slice(body + 20, captured)?.to_vec(),
                    length: reader.word(body + 16)? as usize,
                });
            }
            SIMPLE => {
                let original = reader.word(body)? as usize;
                let captured = original.min(length - 16);
                frames.push(Captured {
                    time: 0,
                    frame: reader.slice(body + 4, captured)?.to_vec(),
                    length: original,
                });
            }
            _ => {}
        }
        at += length;
    }
    Ok(frames)
}

/// The option `if_tsresol` of an interface: microseconds unless it says otherwise.
fn units_of(reader: &Reader<'_>, mut at: usize, end: usize) -> anyhow::Result<u64> {
    const RESOLUTION: u16 = 9;
    while at + 4 <= end {
        let (code, length) = (reader.half(at)?, usize::from(reader.half(at + 2)?));
        match (code, reader.slice(at + 4, length)?) {
            (RESOLUTION, [power]) if power & 0x80 != 0 => {
                let units = 1_u64.checked_shl(u32::from(power & 0x7f));
                return units.context("its clock is too fine");
            }
            (RESOLUTION, [power]) => {
                let units = 10_u64.checked_pow(u32::from(*power));
                return units.context("its clock is too fine");
            }
            (0, _) => break,
            _ => at += 4 + length.next_multiple_of(4),
        }
    }
    Ok(1_000_000)
}

fn check_link_type(kind: u32) -> anyhow::Result<()> {
    ensure!(
        kind == ETHERNET,
        "its link type is {kind}; only captures of Ethernet (1) are understood"
    );
    Ok(())
}

/// Writes the head of a pcap file of Ethernet frames.
///
/// # Errors
/// If it cannot be written.
pub fn write_head(out: &mut impl Write) -> std::io::Result<()> {
    out.write_all(&0xa1b2_c3d4_u32.to_le_bytes())?;
    out.write_all(&[2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0])?;
    out.write_all(&SNAP_LENGTH.to_le_bytes())?;
    out.write_all(&ETHERNET.to_le_bytes())
}

/// Writes a frame behind it.
///
/// # Errors
/// If it cannot be written.
pub fn write(out: &mut impl Write, time: u64, frame: &[u8]) -> std::io::Result<()> {
    let length = frame.len() as u32;
    for word in [
        (time / 1_000_000) as u32,
        (time % 1_000_000) as u32,
        length,
        length,
    ] {
        out.write_all(&word.to_le_bytes())?;
    }
    out.write_all(frame)
}

#[derive(Clone, Copy)]
enum Order {
    Little,
    Big,
}

struct Reader<'a> {
    bytes: &'a [u8],
    order: Order,
}

impl Reader<'_> {
    fn slice(&self, at: usize, length: usize) -> anyhow::Result<&[u8]> {
        at.checked_add(length)
            .and_then(|end| self.bytes.get(at..end))
            .context("it ends in the middle of a packet")
    }

    fn word(&self, at: usize) -> anyhow::Result<u32> {
        let bytes = self.slice(at, 4)?.try_into()?;
        Ok(match self.order {
            Order::Little => u32::from_le_bytes(bytes),
            Order::Big => u32::from_be_bytes(bytes),
        })
    }

    fn half(&self, at: usize) -> anyhow::Result<u16> {
        let bytes = self.slice(at, 2)?.try_into()?;
        Ok(match self.order {
            Order::Little => u16::from_le_bytes(bytes),
            Order::Big => u16::from_be_bytes(bytes),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn captured(time: u64, frame: &[u8]) -> Captured {
        Captured {
            time,
            frame: frame.to_vec(),
            length: frame.len(),
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let frames = [captured(1_700_000_000_000_007, b"one"), captured(5, b"")];
        let mut bytes = Vec::new();
        write_head(&mut bytes).unwrap();
        for one in &frames {
            write(&mut bytes, one.time, &one.frame).unwrap();
        }
        assert_eq!(read(&bytes).unwrap(), frames);
        for length in 25..bytes.len() - 16 {
            if length != 24 + 19 {
                assert!(read(&bytes[..length]).is_err(), "{length}");
            }
        }
    }

    /// A block of pcapng in this byte order.
    fn block(kind: u32, body: &[u8]) -> Vec<u8> {
        let length = (12 + body.len().next_multiple_of(4)) as u32;
        let mut block = kind.to_be_bytes().to_vec();
        block.extend(length.to_be_bytes());
        block.extend(body);
        block.resize(block.len().next_multiple_of(4), 0);
        block.extend(length.to_be_bytes());
        block
    }

    #[test]
    fn pcapng_is_read() {
        let section = [0x1a, 0x2b, 0x3c, 0x4d, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        // Ethernet, any length, nanoseconds.
        let interface = [0, 1, 0, 0, 0, 0, 0, 0, 0, 9, 0, 1, 9, 0, 0, 0, 0, 0, 0, 0];
        let packet = [
            &[
                0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x1b, 0x58, 0, 0, 0, 5, 0, 0, 0, 9,
            ][..],
            b"frame",
        ]
        .concat();
        let bytes = [
            block(0x0a0d_0d0a, &section),
            block(1, &interface),
            block(5, b"statistics"),
            block(6, &packet),
            block(3, b"\0\0\0\x04four"),
        ]
        .concat();
        let frames = read(&bytes).unwrap();
        let expected = Captured {
            time: 7,
            frame: b"frame".to_vec(),
            length: 9,
        };
        assert_eq!(frames, [expected, captured(0, b"four")]);
    }

    #[test]
    fn other_link_types_and_files_are_refused() {
        let mut bytes = Vec::new();
        write_head(&mut bytes).unwrap();
        bytes[20] = 113;
        assert!(read(&bytes).unwrap_err().to_string().contains("113"));
        assert!(read(b"GIF89a").is_err());
        assert!(read(b"").is_err());
    }
}
