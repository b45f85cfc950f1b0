//! What has to be true whatever comes in.

use std::collections::BTreeMap;

use super::{BACK, CLOSED, FRONT, HostFlows, HostPacket, HostTables, Scenario, balance, checksums};
use crate::{
    count::class,
    flow::FlowKey,
    maps::{Census, Load},
    state::State,
    verdict::{Fate, Reason, Verdict},
};

/// Frames are never shorter: the kernel runs no program for less than a link header.
pub(super) const LEAST: usize = 14;

/// Balances a packet and looks at what came of it: one that passes is unchanged, one that is sent on
/// has right checksums if it came with right ones.
///
/// # Panics
/// If that is not so.
pub fn balanced(tables: &HostTables, interface: u32, frame: &[u8]) -> Result<Verdict, Reason> {
    let mut packet = HostPacket::new(frame, interface);
    let verdict = balance(&mut packet, tables);
    let passes = match verdict {
        Ok(Verdict::Pass) => true,
        Ok(Verdict::Hold) => false,
        Ok(Verdict::Transmit | Verdict::Redirect(_)) => {
            if checksums(frame).is_ok()
                && let Err(wrong) = checksums(packet.bytes())
            {
                panic!(
                    "{wrong}: {frame:02x?}\n  became {:02x?}, {verdict:?}",
                    packet.bytes()
                );
            }
            false
        }
        Err(reason) => reason.fate() == Fate::Pass,
    };
    assert!(
        !passes || packet.bytes() == frame,
        "{frame:02x?}\n  became {:02x?} and passes: {verdict:?}",
        packet.bytes()
    );
    verdict
}

/// Looks whether the books are right: what is counted is what is in the tables, and each flow waits
/// for the sweeper in one place.
///
/// # Panics
/// If they are not.
pub fn audit(tables: &HostTables) {
    let mut loads = BTreeMap::new();
    audit_family(tables, &tables.v4.borrow(), &mut loads);
    audit_family(tables, &tables.v6.borrow(), &mut loads);
    for (id, load) in &*tables.loads.borrow() {
        let counted: Load = loads.get(id).copied().unwrap_or_default();
        let overloaded = load.overloaded;
        let counted = Load {
            overloaded,
            ..counted
        };
        assert_eq!(*load, counted, "the load of server {id}");
    }
}

fn audit_family<A: Ord + Copy + std::fmt::Debug>(
    tables: &HostTables,
    family: &HostFlows<A>,
    loads: &mut BTreeMap<u32, Load>,
) {
    let mut census = Census::default();
    let mut places: BTreeMap<FlowKey<A>, usize> = BTreeMap::new();
    for key in family.half_open.iter().chain(&family.standing) {
        *places.entry(*key).or_default() += 1;
    }
    for (key, entry) in &family.flows {
        let flow = entry.flow();
        if flow.state == State::REPLY {
            let request = flow.request_key(key.protocol);
            assert!(
                family.flows.contains_key(&request),
                "a way back without its flow: {key:?} {flow:?}"
            );
            continue;
        }
        assert_ne!(flow.state, State::RETIRED, "{key:?}");
        let count = places.get(key).copied().unwrap_or_default();
        assert_eq!(count, 1, "places in the queues of {key:?} {flow:?}");
        let class = class(Some(flow.state));
        let load = loads.entry(flow.server).or_default();
        load.active = load.active.wrapping_add_signed(class.load.active);
        load.inactive = load.inactive.wrapping_add_signed(class.load.inactive);
        load.closing = load.closing.wrapping_add_signed(class.load.closing);
        load.persistent = load.persistent.wrapping_add_signed(class.load.persistent);
        let server = tables.servers[flow.server as usize];
        let has_way_back = flow.state != State::TEMPLATE && server.is_masqueraded();
        let entries = if has_way_back { 2 } else { 1 };
        census.half_open += class.half_open as u32 * entries;
        census.standing += class.standing as u32 * entries;
    }
    assert_eq!(family.census, census, "the census");
    // A flow that has ended may have lost its way back to another, and is counted with it until it goes.
    let entries = family.flows.len();
    let counted = (census.half_open + census.standing) as usize;
    assert!(entries <= counted, "{entries} entries, {census:?}");
}

/// What a fuzzer calls. The first byte is the site, the rest are frames: an interface, a length in two
/// bytes, and the bytes. Time passes between them.
pub fn fuzz(data: &[u8]) {
    let Some((site, mut rest)) = data.split_first() else {
        return;
    };
    let mut tables = Scenario::new(u64::from(*site)).site.tables();
    tables.capacity = 64;
    while let [interface, high, low, behind @ ..] = rest {
        let length = usize::from(u16::from_be_bytes([*high & 7, *low]));
        let (frame, behind) = behind.split_at(length.min(behind.len()));
        rest = behind;
        tables.advance(u32::from(*high) << 6);
        if *high & 0x80 != 0 {
            tables.sweep_all();
        }
        if frame.len() >= LEAST {
            let interface = [FRONT, BACK, CLOSED][usize::from(*interface) % 3];
            let _ = balanced(&tables, interface, frame);
        }
    }
    audit(&tables);
}
