//! Netlink attributes: length, kind, value, padded to four bytes (include/uapi/linux/netlink.h).

/// Some attributes one after the other.
pub(super) struct Attributes<'a>(pub(super) &'a [u8]);

/// Flags that may stand in the kind.
const KIND: u16 = 0x3fff;
const HEADER: usize = 4;

impl<'a> Attributes<'a> {
    /// The value of the first one of this kind.
    pub(super) fn bytes(&self, kind: u16) -> Option<&'a [u8]> {
        let mut rest = self.0;
        while let Some((&[a, b, c, d], _)) = rest.split_first_chunk::<HEADER>() {
            let length = usize::from(u16::from_ne_bytes([a, b]));
            if u16::from_ne_bytes([c, d]) & KIND == kind {
                return rest.get(HEADER..length);
            }
            // One that is shorter than its header would never end.
            rest = rest.get(length.next_multiple_of(4).max(HEADER)..)?;
        }
        None
    }

    pub(super) fn u8(&self, kind: u16) -> Option<u8> {
        self.bytes(kind)?.first().copied()
    }

    pub(super) fn u16(&self, kind: u16) -> Option<u16> {
        let bytes = self.bytes(kind)?.first_chunk()?;
        Some(u16::from_ne_bytes(*bytes))
    }

    pub(super) fn u32(&self, kind: u16) -> Option<u32> {
        let bytes = self.bytes(kind)?.first_chunk()?;
        Some(u32::from_ne_bytes(*bytes))
    }

    /// A number in network order.
    pub(super) fn port(&self, kind: u16) -> Option<u16> {
        let bytes = self.bytes(kind)?.first_chunk()?;
        Some(u16::from_be_bytes(*bytes))
    }

    /// Text up to its zero; empty if there is none.
    pub(super) fn text(&self, kind: u16) -> String {
        let bytes = self.bytes(kind).unwrap_or_default();
        let end = bytes.iter().position(|byte| *byte == 0);
        let text = bytes.get(..end.unwrap_or(bytes.len()));
        String::from_utf8_lossy(text.unwrap_or_default()).into_owned()
    }
}

/// Adds an attribute.
pub(super) fn put(to: &mut Vec<u8>, kind: u16, value: &[u8]) {
    let length = u16::try_from(HEADER + value.len()).unwrap_or(u16::MAX);
    to.extend(length.to_ne_bytes());
    to.extend(kind.to_ne_bytes());
    to.extend(value);
    to.resize(to.len().next_multiple_of(4), 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_is_found() {
        let mut bytes = Vec::new();
        put(&mut bytes, 1, b"abc\0");
        put(&mut bytes, 2, &[1]);
        put(&mut bytes, 3 | 0x8000, &7_u32.to_ne_bytes());
        put(&mut bytes, 4, &80_u16.to_be_bytes());
        let attributes = Attributes(&bytes);
        assert_eq!(attributes.text(1), "abc");
        assert_eq!(attributes.u8(2), Some(1));
        assert_eq!(attributes.u32(3), Some(7));
        assert_eq!(attributes.port(4), Some(80));
        assert_eq!(attributes.u32(5), None);
        assert_eq!(attributes.u32(2), None, "too short");
    }

    #[test]
    fn what_is_cut_off_ends() {
        for bytes in [&[0, 0, 0, 0][..], &[1], &[200, 0, 9, 0], &[3, 0, 9, 0, 1]] {
            assert_eq!(Attributes(bytes).bytes(1), None, "{bytes:?}");
        }
        assert_eq!(Attributes(&[200, 0, 1, 0]).bytes(1), None);
    }
}
