//! The packet table on the host.

use std::collections::BTreeSet;

use lb_common::{
    testing::{HostPacket, balance, checksums, table},
    verdict::{Fate, Verdict},
};

#[test]
fn every_packet_ends_as_the_table_says() {
    let mut wrong = Vec::new();
    let cases = table();
    for case in &cases {
        let tables = case.site.tables();
        for (interface, bytes) in &case.before {
            let verdict = balance(&mut HostPacket::new(bytes, *interface), &tables);
            if verdict.is_err() {
                wrong.push(format!("{}: what comes first: {verdict:?}", case.name));
            }
        }
        tables.lease.set(case.lease);
        let mut packet = HostPacket::new(&case.input, case.interface);
        let verdict = balance(&mut packet, &tables);
        if verdict != case.verdict {
            wrong.push(format!(
                "{}: {verdict:?} instead of {:?}",
                case.name, case.verdict
            ));
        } else if !is_dropped(verdict) && packet.bytes() != case.output {
            wrong.push(format!(
                "{}:\n  {:02x?} instead of\n  {:02x?}",
                case.name,
                packet.bytes(),
                case.output
            ));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {}:\n{}",
        wrong.len(),
        cases.len(),
        wrong.join("\n")
    );
}

#[test]
fn every_expected_frame_has_right_checksums() {
    let mut count = 0;
    for case in table() {
        if matches!(case.verdict, Ok(Verdict::Transmit | Verdict::Redirect(_))) {
            checksums(&case.output).unwrap_or_else(|wrong| panic!("{}: {wrong}", case.name));
            count += 1;
        }
    }
    assert!(count > 100, "only {count}");
}

#[test]
fn names_tell_cases_apart() {
    let mut names = BTreeSet::new();
    for case in table() {
        assert!(names.insert(case.name.clone()), "{}", case.name);
    }
}

fn is_dropped(verdict: Result<Verdict, lb_common::verdict::Reason>) -> bool {
    verdict.is_err_and(|reason| reason.fate() == Fate::Drop)
}
