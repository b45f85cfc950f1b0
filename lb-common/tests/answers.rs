//! The table of answers on the host.

use std::collections::BTreeSet;

use lb_common::{
    answer::{Answer, answer},
    family::{Family, V4, V6},
    link::Link,
    testing::{Asked, FRONT, HostPacket, answers, checksums, tcp, udp},
    verdict::{Reason, Verdict},
};

#[test]
fn every_packet_is_answered_as_the_table_says() {
    let cases = answers();
    let wrong: Vec<_> = cases
        .iter()
        .filter_map(|case| {
            let mut packet = HostPacket::new(&case.input, FRONT);
            let verdict = answered(case, &mut packet);
            let (expected, bytes) = match &case.outcome {
                Ok(bytes) => (Ok(Verdict::Transmit), bytes),
                Err(reason) => (Err(*reason), &case.input),
            };
            let name = &case.name;
            if verdict != expected {
                return Some(format!("{name}: {verdict:?} instead of {expected:?}"));
            }
            (packet.bytes() != bytes).then(|| {
                let left = packet.bytes();
                format!("{name}:\n  {left:02x?} instead of\n  {bytes:02x?}")
            })
        })
        .collect();
    let (count, of) = (wrong.len(), cases.len());
    assert!(wrong.is_empty(), "{count} of {of}:\n{}", wrong.join("\n"));
}

#[test]
fn every_expected_answer_has_right_checksums() {
    for case in answers() {
        if let Ok(bytes) = &case.outcome {
            let is_right = checksums(bytes).is_ok();
            let is_meant = !case.name.ends_with("a wrong checksum");
            assert_eq!(is_right, is_meant, "{}", case.name);
        }
    }
}

#[test]
fn names_tell_cases_apart() {
    let mut names = BTreeSet::new();
    for case in answers() {
        assert!(names.insert(case.name.clone()), "{}", case.name);
    }
}

/// The frame is not changed then. Only errors grow.
#[test]
fn an_answer_that_does_not_fit_is_none() {
    for (input, room) in [
        (udp("198.51.100.7:1", "192.0.2.10:2"), 28),
        (udp("[2001:db8::7]:1", "[2001:db8:a::10]:2"), 48),
    ] {
        let bytes = input.build();
        let (protocol, transport) = input.transport_at();
        let case = Asked {
            name: String::new(),
            input: bytes.clone(),
            protocol,
            transport,
            answer: Answer::Unreachable,
            outcome: Err(Reason::NoHeadroom),
        };
        let mut packet = HostPacket::with_headroom(&bytes, FRONT, room - 2);
        assert_eq!(answered(&case, &mut packet), Err(Reason::NoHeadroom));
        assert_eq!(packet.bytes(), bytes);
        let mut packet = HostPacket::with_headroom(&bytes, FRONT, room);
        assert_eq!(answered(&case, &mut packet), Ok(Verdict::Transmit));
    }
}

#[test]
fn a_header_that_is_out_of_reach_gets_no_answer() {
    for (options, outcome) in [(57, Ok(Verdict::Transmit)), (58, Err(Reason::Malformed))] {
        let body = vec![0; options * 8 - 2];
        let input = tcp("[2001:db8::7]:1", "[2001:db8:a::10]:2").extensions(&[(60, body)]);
        let (protocol, transport) = input.transport_at();
        let case = Asked {
            name: String::new(),
            input: input.build(),
            protocol,
            transport,
            answer: Answer::Reset,
            outcome: Err(Reason::Malformed),
        };
        let mut packet = HostPacket::new(&case.input, FRONT);
        assert_eq!(answered(&case, &mut packet), outcome, "{transport}");
    }
}

#[test]
fn an_answer_is_the_same_after_it_was_a_word() {
    for answer in [
        Answer::Reset,
        Answer::Unreachable,
        Answer::TooBig { mtu: 0 },
        Answer::TooBig { mtu: 1400 },
        Answer::TooBig { mtu: 0xffff },
        Answer::TimeExceeded,
        Answer::Echo,
    ] {
        assert_eq!(Answer::from_word(answer.to_word()), answer);
    }
}

fn answered(case: &Asked, packet: &mut HostPacket) -> Result<Verdict, Reason> {
    let link = Link::parse(packet)?;
    let question = case.question(link);
    if link.ethertype == V4::ETHERTYPE {
        answer::<V4, _>(packet, &question, case.answer)
    } else {
        answer::<V6, _>(packet, &question, case.answer)
    }
}
