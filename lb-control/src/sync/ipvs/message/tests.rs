//! Messages of the kernel, and broken ones.

use super::*;

/// What Linux 6.1 sent, with `ipvsadm --start-daemon master --syncid 21` and `sync_threshold = 1 2`: connections of TCP
/// by masquerading from their beginning to their end (over IPv4, over IPv6, with a client that stays), one of UDP, and
/// one by direct routing.
const RECORDED: &[&str] = &[
    "\
     0015007403010000000600240000000000019c4100501f9000000000000003840a010001c000020a0a020002\
     000600240000000000019c4100501f9000000000000003840a010001c000020a0a0200020006002400000000\
     00019c4100501f9000000000000003840a010001c000020a0a020002",
    "\
     001501940b01000000060024000011000000000000510051000000000000012c0a010001c000020a0a020002\
     00060024000011000001000000510051000000000000012c0a010001c000020a0a0200020006002400000000\
     00019c420051005100000000000003840a010001c000020a0a02000200060024000011000001000000510051\
     000000000000012c0a010001c000020a0a02000200060024000011000001000000510051000000000000012c\
     0a010001c000020a0a020002000600240000000000019c420051005100000000000003840a010001c000020a\
     0a02000200060024000011000001000000510051000000000000012c0a010001c000020a0a02000200060024\
     000011000001000000510051000000000000012c0a010001c000020a0a020002000600240000000000019c42\
     0051005100000000000003840a010001c000020a0a0200020006002400001100000100000051005100000000\
     0000012c0a010001c000020a0a02000200060024000011000001000000510051000000000000012c0a010001\
     c000020a0a020002",
    "\
     0015009804010000001100240000010000009c4300350035000000000000012c0a010001c000020a0a020002\
     001100240000010000009c4300350035000000000000012c0a010001c000020a0a0200020006002400000100\
     00079c4100501f90000000000000003c0a010001c000020a0a020002000600240000010000059c4100501f90\
     00000000000000780a010001c000020a0a020002",
    "\
     001501b808010000010600480000000000019c4400501f900000000000000384fd0100000000000000000000\
     0000000120010db8000000000000000000000010fd0200000000000000000000000000020106004800000000\
     00019c4400501f900000000000000384fd01000000000000000000000000000120010db80000000000000000\
     00000010fd020000000000000000000000000002010600480000000000019c4400501f900000000000000384\
     fd01000000000000000000000000000120010db8000000000000000000000010fd0200000000000000000000\
     00000002010600480000000000019c4400501f900000000000000384fd010000000000000000000000000001\
     20010db8000000000000000000000010fd020000000000000000000000000002000600240000010000079c42\
     00510051000000000000003c0a010001c000020a0a0200020006002400001100000100000051005100000000\
     0000012c0a010001c000020a0a020002000600240000010000059c420051005100000000000000780a010001\
     c000020a0a02000200060024000011000001000000510051000000000000012c0a010001c000020a0a020002",
    "\
     0015009804010000000600240000008300019c450052005200000000000003840a010001c000020a0a020002\
     000600240000008300019c450052005200000000000003840a010001c000020a0a0200020006002400000083\
     00019c450052005200000000000003840a010001c000020a0a020002000600240000008300019c4500520052\
     00000000000003840a010001c000020a0a020002",
    "\
     0015009802010000010600480000010000079c4400501f90000000000000003cfd0100000000000000000000\
     0000000120010db8000000000000000000000010fd0200000000000000000000000000020106004800000100\
     00059c4400501f900000000000000078fd01000000000000000000000000000120010db80000000000000000\
     00000010fd020000000000000000000000000002",
];

pub(in super::super) fn golden() -> Vec<Vec<u8>> {
    let bytes = |text: &str| {
        let (pairs, _) = text.as_bytes().as_chunks::<2>();
        let byte = |pair: &[u8; 2]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16);
        pairs.iter().map(|pair| byte(pair).unwrap()).collect()
    };
    RECORDED.iter().copied().map(bytes).collect()
}

#[test]
fn the_kernels_messages_are_read_and_written_to_the_byte() {
    let mut all = 0;
    for bytes in golden() {
        let (entries, end) = decode(21, &bytes).unwrap();
        assert_eq!(end, Ok(()));
        assert_eq!(encode(21, &entries), bytes);
        assert_eq!(decode(0, &bytes).unwrap().0, entries);
        assert_eq!(decode(22, &bytes), Err(Malformed::Pair(21)));
        all += entries.len();
    }
    assert_eq!(all, 32);
}

#[test]
fn a_connection_says_what_it_did() {
    let (entries, _) = decode(21, &golden()[4]).unwrap();
    let expected = Entry {
        protocol: 6,
        client: "10.1.0.1:40005".parse().unwrap(),
        address: "192.0.2.10:82".parse().unwrap(),
        server: "10.2.0.2:82".parse().unwrap(),
        flags: forward::ROUTE | flag::NO_OUTPUT,
        state: 1,
        mark: 0,
        timeout: 900,
    };
    assert_eq!(entries.first(), Some(&expected));
}

#[test]
fn version_0_is_read() {
    let mut bytes = vec![2, 21, 0, 0];
    for sequences in [false, true] {
        bytes.extend([0, 6, 0x9c, 0x41, 0, 80, 0x1f, 0x90]);
        bytes.extend([10, 1, 0, 1, 192, 0, 2, 10, 10, 2, 0, 2]);
        bytes.extend([if sequences { 2 } else { 0 }, 0, 0, 1]);
        if sequences {
            bytes.extend([9; 24]);
        }
    }
    bytes[3] = bytes.len() as u8;
    let (entries, end) = decode(21, &bytes).unwrap();
    assert_eq!(end, Ok(()));
    assert_eq!(entries.len(), 2);
    assert_eq!(entries[0].client, "10.1.0.1:40001".parse().unwrap());
    assert_eq!(entries[0].server, "10.2.0.2:8080".parse().unwrap());
    assert_eq!(
        (entries[0].flags, entries[0].state, entries[0].timeout),
        (0, 1, 0)
    );
    assert_eq!(entries[1].flags, 0x200);
}

#[test]
fn parameters_are_skipped_or_refuse_their_connection() {
    let (entries, _) = decode(21, &golden()[0]).unwrap();
    let with = |parameters: &[u8]| {
        let mut bytes = encode(21, &entries[..1]);
        bytes.extend(parameters);
        let length = bytes.len() - HEADER;
        bytes[HEADER + 2..HEADER + 4].copy_from_slice(&(length as u16).to_be_bytes());
        // The last one is filled up to a multiple of four only if another follows.
        let size = bytes.len() as u16;
        bytes[2..4].copy_from_slice(&size.to_be_bytes());
        decode(21, &bytes).unwrap()
    };
    let sequences: Vec<u8> = [1, 24].into_iter().chain([7; 24]).collect();
    let table: &[(&str, &[u8], usize, bool)] = &[
        ("sequence numbers", &sequences, 1, true),
        (
            "data and name of an engine",
            b"\x02\x03abc\x03\x03sip",
            1,
            true,
        ),
        ("one that may be skipped", b"\x47\x01x", 1, true),
        ("one that may not", b"\x07\x01x", 0, true),
        ("without content", b"\x02\x00", 0, false),
        ("too long", b"\x02\x05abc", 0, false),
        ("a name too long", b"\x03\x11aaaaaaaaaaaaaaaaa", 0, false),
        ("twice", b"\x02\x01a\x02\x01a", 0, false),
        (
            "sequence numbers that are too short",
            b"\x01\x01a",
            0,
            false,
        ),
    ];
    for (what, parameters, count, is_whole) in table {
        let (found, end) = with(parameters);
        assert_eq!((found.len(), end.is_ok()), (*count, *is_whole), "{what}");
    }
}

#[test]
fn no_datagram_is_more_than_refused() {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 8) as usize
    };
    let seeds = golden();
    let mut read = 0;
    for round in 0..60_000 {
        let mut bytes = seeds[round % seeds.len()].clone();
        for _ in 0..=random() % 4 {
            let at = random() % bytes.len();
            match random() % 3 {
                0 => bytes[at] = random() as u8,
                1 => bytes[at] ^= 1 << (random() % 8),
                _ => bytes.truncate(at.max(4)),
            }
        }
        if random() % 2 == 0 {
            let size = bytes.len() as u16;
            bytes[2..4].copy_from_slice(&size.to_be_bytes());
        }
        if let Ok((entries, _)) = decode(0, &bytes) {
            read += entries.len();
            assert!(entries.len() * 24 <= bytes.len());
        }
    }
    assert!(read > 10_000, "{read}");
}
