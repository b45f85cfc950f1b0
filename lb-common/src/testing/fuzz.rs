//! What has to be true whatever comes in.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::LazyLock,
};

use super::{
    BACK, CLOSED, Case, FRONT, HostFlows, HostPacket, HostTables, Scenario, Site, Step, balance,
    checksums, seeds,
};
use crate::{
    count::Class,
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
        let class = Class::of(Some(flow.state));
        let count = |kind| class.count(kind) as u32;
        let load = loads.entry(flow.server).or_default();
        load.active += count(Class::ACTIVE);
        load.inactive += count(Class::INACTIVE);
        load.closing += count(Class::CLOSING);
        load.persistent += count(Class::PERSISTENT);
        let server = tables.servers[flow.server as usize];
        let has_way_back = flow.state != State::TEMPLATE && server.is_masqueraded();
        let entries = if has_way_back { 2 } else { 1 };
        census.half_open += count(Class::HALF_OPEN) * entries;
        census.standing += count(Class::STANDING) * entries;
    }
    assert_eq!(family.census, census, "the census");
    // A flow that has ended may have lost its way back to another, and is counted with it until it goes.
    let entries = family.flows.len();
    let counted = (census.half_open + census.standing) as usize;
    assert!(entries <= counted, "{entries} entries, {census:?}");
}

/// What a fuzzer calls: plays the story of these bytes on the host.
///
/// # Panics
/// If something is not as it has to be.
pub fn fuzz(data: &[u8]) {
    let Some((site, steps)) = story(data) else {
        return;
    };
    let mut tables = site.tables();
    tables.capacity = 64;
    for step in &steps {
        match step {
            Step::Packet(interface, frame) => {
                let _ = balanced(&tables, *interface, frame);
            }
            Step::Time(ticks) => tables.advance(*ticks),
            Step::Sweep(steps) => tables.sweep_on(*steps),
            Step::Write(write) => write.apply(&mut tables),
            Step::Learn(record) => {
                tables.learn(&mut record.clone());
            }
        }
    }
    audit(&tables);
}

/// What bytes of any content mean: a site, and what happens there. The first two are the number of the
/// site: that of a packet of [`seeds`] with what comes before it, or of a [`Scenario`]. The rest are
/// frames: an interface, a length in the lower eleven of sixteen bits, and the bytes. The bits above the
/// length are the time that passes before and whether the sweeper comes by.
#[must_use]
pub fn story(data: &[u8]) -> Option<(Site, Vec<Step>)> {
    let (number, mut rest) = data.split_first_chunk()?;
    let number = u16::from_be_bytes(*number);
    let mut steps = Vec::new();
    let site = match sites().get(usize::from(number)) {
        Some(case) => {
            let before = case.before.iter();
            steps.extend(before.map(|(interface, frame)| Step::Packet(*interface, frame.clone())));
            case.site.clone()
        }
        None => Scenario::new(number.into()).site,
    };
    while let [interface, high, low, behind @ ..] = rest {
        let word = u16::from_be_bytes([*high, *low]);
        let length = usize::from(word & LENGTH).min(behind.len());
        let (frame, behind) = behind.split_at(length);
        rest = behind;
        let time = word >> LENGTH.count_ones() & 0xf;
        if time != 0 {
            steps.push(Step::Time(1 << (time + 6)));
        }
        if word & SWEEPS != 0 {
            steps.push(Step::Sweep(64));
        }
        if frame.len() >= LEAST {
            let interface = INTERFACES[usize::from(*interface) % INTERFACES.len()];
            steps.push(Step::Packet(interface, frame.to_vec()));
        }
    }
    Some((site, steps))
}

/// What a fuzzer begins with: the packets of [`seeds`], each as the bytes of a story.
#[must_use]
pub fn beginnings() -> Vec<Vec<u8>> {
    (0_u16..)
        .zip(sites())
        .filter_map(|(number, case)| {
            let interface = INTERFACES.iter().position(|it| *it == case.interface)?;
            let length = (case.input.len() as u16) & LENGTH;
            let mut story = number.to_be_bytes().to_vec();
            story.push(interface as u8);
            story.extend(length.to_be_bytes());
            story.extend(&case.input);
            Some(story)
        })
        .collect()
}

/// What a fuzzer begins with, and what fuzzers have found before, in `fuzz/corpus/balance`.
#[must_use]
pub fn stories() -> Vec<Vec<u8>> {
    let mut stories = beginnings();
    let Ok(found) = std::fs::read_dir(corpus_folder()) else {
        // Not where it was built.
        return stories;
    };
    let mut files: Vec<_> = found.flatten().map(|entry| entry.path()).collect();
    files.sort();
    stories.extend(files.iter().filter_map(|file| std::fs::read(file).ok()));
    stories
}

/// Where fuzzers keep what they have found.
#[must_use]
pub fn corpus_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/balance")
}

const LENGTH: u16 = 0x7ff;
const SWEEPS: u16 = 0x8000;
const INTERFACES: [u32; 3] = [FRONT, BACK, CLOSED];

fn sites() -> &'static [Case] {
    static SITES: LazyLock<Vec<Case>> = LazyLock::new(seeds);
    &SITES
}
