//! The frames by which a director says "this address is here now". Pure bytes.
//!
//! IPv4: ARP announcements in both forms. As a request (RFC 5227 section 3, what keepalived sends)
//! and as a reply (what Piranha's `send_arp` sends): every receiver updates an entry that it has on
//! at least one of them, and some devices only on one. IPv6: an unsolicited neighbour advertisement
//! with the override flag (RFC 4861 section 7.2.6).

use std::net::{Ipv4Addr, Ipv6Addr};

const BROADCAST: [u8; 6] = [0xff; 6];

/// The multicast address of all IPv6 nodes of a link, and its MAC address.
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
const ALL_NODES_MAC: [u8; 6] = [0x33, 0x33, 0, 0, 0, 1];

/// The form of an ARP announcement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ArpForm {
    /// Operation 1, target MAC address zero.
    Request,
    /// Operation 2, target MAC address as the sender's.
    Reply,
}

/// Whether the director forwards IPv6 packets of others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forwards {
    /// It is a router, and says so.
    Yes,
    /// It is a host.
    No,
}

/// A gratuitous ARP: `address` is at `mac`.
pub fn gratuitous_arp(form: ArpForm, mac: [u8; 6], address: Ipv4Addr) -> Vec<u8> {
    let (operation, target_mac) = match form {
        ArpForm::Request => (1_u16, [0; 6]),
        ArpForm::Reply => (2, mac),
    };
    let mut frame = Vec::with_capacity(42);
    frame.extend(BROADCAST);
    frame.extend(mac);
    frame.extend(0x0806_u16.to_be_bytes());
    frame.extend(1_u16.to_be_bytes()); // hardware: Ethernet
    frame.extend(0x0800_u16.to_be_bytes()); // protocol: IPv4
    frame.extend([6, 4]); // lengths of their addresses
    frame.extend(operation.to_be_bytes());
    frame.extend(mac);
    frame.extend(address.octets());
    frame.extend(target_mac);
    frame.extend(address.octets());
    frame
}

/// An unsolicited neighbour advertisement: `address` is at `mac`.
pub fn neighbour_advertisement(mac: [u8; 6], address: Ipv6Addr, forwards: Forwards) -> Vec<u8> {
    const OVERRIDE: u8 = 0x20;
    const ROUTER: u8 = 0x80;
    let flags = match forwards {
        Forwards::Yes => OVERRIDE | ROUTER,
        Forwards::No => OVERRIDE,
    };
    let mut message = Vec::with_capacity(32);
    message.extend([136, 0, 0, 0]); // type, code, checksum
    message.extend([flags, 0, 0, 0]);
    message.extend(address.octets());
    message.extend([2, 1]); // option: target link-layer address, one times eight bytes
    message.extend(mac);
    let [high, low] = icmpv6_checksum(address, ALL_NODES, &message).to_be_bytes();
    if let [_, _, first, second, ..] = message.as_mut_slice() {
        *first = high;
        *second = low;
    }

    let mut frame = Vec::with_capacity(86);
    frame.extend(ALL_NODES_MAC);
    frame.extend(mac);
    frame.extend(0x86dd_u16.to_be_bytes());
    frame.extend([0x60, 0, 0, 0]); // version, class, flow label
    frame.extend([0, 32]); // length of the message
    frame.extend([58, 255]); // ICMPv6; the hop limit proves that no router was passed
    frame.extend(address.octets());
    frame.extend(ALL_NODES.octets());
    frame.extend(message);
    frame
}

/// The checksum of an ICMPv6 message whose checksum field is zero (RFC 8200 section 8.1).
fn icmpv6_checksum(source: Ipv6Addr, destination: Ipv6Addr, message: &[u8]) -> u16 {
    let words = |bytes: &[u8]| -> u64 {
        bytes
            .chunks(2)
            .map(|pair| u64::from(pair[0]) << 8 | pair.get(1).copied().map_or(0, u64::from))
            .sum()
    };
    let pseudo = words(&source.octets()) + words(&destination.octets()) + message.len() as u64 + 58;
    let mut sum = pseudo + words(message);
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    !(sum as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: [u8; 6] = [0x02, 0x11, 0x22, 0x33, 0x44, 0x55];

    #[test]
    fn an_arp_announcement_to_the_byte() {
        let table = [
            (ArpForm::Request, "01", "000000000000"),
            (ArpForm::Reply, "02", "021122334455"),
        ];
        for (form, operation, target) in table {
            let expected = format!(
                "ffffffffffff 021122334455 0806 0001 0800 06 04 00{operation} \
                 021122334455 c0a80064 {target} c0a80064"
            );
            let frame = gratuitous_arp(form, MAC, Ipv4Addr::new(192, 168, 0, 100));
            assert_eq!(hex(&frame), expected.replace(' ', ""), "{form:?}");
        }
    }

    #[test]
    fn a_neighbour_advertisement_to_the_byte() {
        // The checksums come from another program, from the words of pseudo header and message.
        for (forwards, flags, checksum) in
            [(Forwards::No, "20", "91cc"), (Forwards::Yes, "a0", "11cc")]
        {
            let expected = format!(
                "333300000001 021122334455 86dd \
                 60000000 0020 3a ff 20010db8000000000000000000000064 \
                 ff020000000000000000000000000001 \
                 88 00 {checksum} {flags}000000 20010db8000000000000000000000064 \
                 0201 021122334455"
            );
            let address = "2001:db8::64".parse().unwrap();
            let frame = neighbour_advertisement(MAC, address, forwards);
            assert_eq!(hex(&frame), expected.replace(' ', ""), "{forwards:?}");
        }
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}
