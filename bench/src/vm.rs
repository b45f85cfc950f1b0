//! `vm`: instructions per packet, beside IPVS.
//!
//! In an emulated machine whose clock ticks once with each instruction (`cargo xtask vm --icount`), what a
//! packet takes in nanoseconds is the number of its instructions. The generator and the sink are measured
//! first, alone; what is told of IPVS and of the balancer is what comes on top of them.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};
use clap::Args;
use lb_common::recipe::Recipe;
use lb_control::model::Protocol;
use lb_tests::{Family, Lab};
use serde::Serialize;

use crate::{
    bed,
    case::{Case, Method, Traffic},
    frame::{Numbers, Packet},
    generator::Generator,
    ipvs,
    machine::{Build, Machine},
    softirq,
    through::{CLIENTS, Cables, INSIDE, OUTSIDE, SERVERS, Through},
};

/// Where to.
#[derive(Args)]
pub(crate) struct Options {
    /// The folder for the figures: vm.json and vm.txt
    #[arg(long)]
    out: PathBuf,
    /// Every case that there is, not only those that tell most
    #[arg(long)]
    all: bool,
    /// Only the cases whose names have all of these words in them
    #[arg(value_name = "CASE")]
    words: Vec<String>,
}

/// How many flows are established. IPVS has 4,096 buckets for its connections and we have 65,536 entries, so
/// that both mostly find a flow where they look first, as on a director whose tables were made large enough.
/// More of them would only be seen in caches, which are not counted.
const FLOWS: u32 = 1_024;
/// Where it does not matter what packets are.
const ANY: Case = Case::new(
    Method::Direct,
    Family::V4,
    Protocol::Udp,
    Traffic::Established(FLOWS),
);
/// How many packets are counted together. Where each begins a flow, so many flows come on top of [`WARM`]:
/// the chains of IPVS are then four to five connections long in the end, half of it on the average.
const PACKETS: u32 = 16_384;
/// How many packets of the same kind go before them: what is done once, at the first packet, is not counted.
const WARM: u32 = 1_024;
/// Entries of the balancer's flow table: it never gets crowded, though a masqueraded flow takes two.
const ENTRIES: u32 = 1 << 16;

/// All that was measured.
#[derive(Serialize)]
struct Report {
    kernel: String,
    commit: String,
    packets: u32,
    /// Instructions per packet of generator and sink.
    generator: u64,
    /// Of a program that only redirects from one cable to the other, generator and sink not counted: what is
    /// below it is the kernel's.
    redirect: u64,
    cases: Vec<Outcome>,
}

/// Instructions per packet, generator and sink not counted.
#[derive(Serialize)]
struct Outcome {
    case: String,
    ipvs: u64,
    lvs_xdp: u64,
    ratio: f64,
    /// What the ratio is to be at least.
    mark: f64,
}

/// Measures.
pub(crate) fn run(options: &Options, build: &Build) -> Result<()> {
    let lab = Lab::new()?;
    let generator = alone(&lab, build)?;
    let mut report = Report {
        kernel: Machine::find().kernel,
        commit: build.commit.clone(),
        packets: PACKETS,
        generator,
        redirect: onward(&lab, build)?.saturating_sub(generator),
        cases: Vec::new(),
    };
    let cases = cases()
        .into_iter()
        .filter(|case| options.all || is_important(case));
    for case in cases.filter(|case| case.is_meant_by(&options.words)) {
        let above = |what: Result<u64>| Ok::<_, anyhow::Error>(what?.saturating_sub(generator));
        let ipvs = above(with_ipvs(&lab, &case, build)).with_context(|| format!("IPVS, {case}"))?;
        let lvs_xdp = above(with_ours(&lab, &case, build)).with_context(|| case.to_string())?;
        report.cases.push(Outcome {
            case: case.to_string(),
            ipvs,
            lvs_xdp,
            ratio: (ipvs as f64 / lvs_xdp.max(1) as f64 * 100.0).round() / 100.0,
            mark: if case.flows().is_some() { 7.0 } else { 5.0 },
        });
    }
    ensure!(
        !report.cases.is_empty(),
        "no case has all of these words; there are more with --all"
    );
    fs::write(
        options.out.join("vm.json"),
        serde_json::to_string_pretty(&report)? + "\n",
    )?;
    Ok(fs::write(options.out.join("vm.txt"), report.table()?)?)
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for family in [Family::V4, Family::V6] {
        for method in [Method::Nat, Method::Reply, Method::Direct, Method::Tunnel] {
            for protocol in [Protocol::Udp, Protocol::Tcp] {
                for traffic in [Traffic::Established(FLOWS), Traffic::New] {
                    // A real server's packets belong to flows that are there.
                    if method != Method::Reply || traffic != Traffic::New {
                        cases.push(Case::new(method, family, protocol, traffic));
                    }
                }
            }
        }
    }
    cases
}

/// Whether a case tells more than others: UDP differs from TCP in the same way in both families.
fn is_important(case: &Case) -> bool {
    case.family == Family::V4 || case.protocol == Protocol::Tcp
}

/// What generator and sink cost alone: the sink is at the other end of the first cable.
fn alone(lab: &Lab, build: &Build) -> Result<u64> {
    let through = Through::new(lab, Cables::PLAIN)?;
    let mut generator = Generator::load(&build.driver)?;
    through.router.inside(|| generator.end_at(INSIDE[0]))?;
    through.outside.inside(|| count(&mut generator, &ANY))
}

/// With a program that only redirects.
fn onward(lab: &Lab, build: &Build) -> Result<u64> {
    let through = Through::new(lab, Cables::PLAIN)?;
    let _onward = through.redirect(Packet::Request, &ANY, &build.driver)?;
    through.outside.inside(|| {
        let mut generator = Generator::load(&build.driver)?;
        generator.end_at(OUTSIDE[1])?;
        count(&mut generator, &ANY)
    })
}

/// Those of a case's family.
fn cables(case: &Case) -> Cables {
    Cables {
        family: case.family,
        ..Cables::PLAIN
    }
}

/// With IPVS. Its hosts are new ones each time: its connections outlive the services that they belong to.
fn with_ipvs(lab: &Lab, case: &Case, build: &Build) -> Result<u64> {
    let through = Through::new(lab, cables(case))?;
    through.receive_in_turns()?;
    through.router.inside(|| ipvs::set_up(case))?;
    let counted = send(&through, case, &build.driver)?;
    let known = through.router.inside(ipvs::connections)?;
    check(case, known)?;
    Ok(counted)
}

/// Whether as many flows are known as were begun.
fn check(case: &Case, known: u32) -> Result<()> {
    let begun = case.flows().unwrap_or(WARM + PACKETS);
    ensure!(known == begun, "{known} flows are known of {begun}");
    Ok(())
}

/// With the balancer.
fn with_ours(lab: &Lab, case: &Case, build: &Build) -> Result<u64> {
    let through = Through::new(lab, cables(case))?;
    let pins = through.balance(case, ENTRIES)?;
    let counted = send(&through, case, &build.driver)?;
    let known = through.router.inside(|| bed::known_flows(&pins))?;
    check(case, known)?;
    Ok(counted)
}

/// Begins the flows of a case and counts what its packets take on their way through.
fn send(through: &Through, case: &Case, driver: &Path) -> Result<u64> {
    through.outside.inside(|| {
        let mut generator = Generator::load(driver)?;
        for interface in OUTSIDE {
            generator.end_at(interface)?;
        }
        if let Some(count) = case.flows() {
            for packet in bed::beginning(case.method) {
                generator.send(
                    &recipe(*packet, case, Numbers::InOrder { first: 0, count }),
                    count,
                )?;
            }
        }
        count(&mut generator, case)
    })
}

/// Counts instructions per packet.
fn count(generator: &mut Generator, case: &Case) -> Result<u64> {
    let numbers = match case.flows() {
        None => bed::NEW,
        Some(count) => Numbers::ByLot { count },
    };
    let recipe = recipe(case.packet(), case, numbers);
    generator.send(&recipe, WARM)?;
    let before = softirq::time()?;
    let counted = generator.send(&recipe, PACKETS)?;
    // The generator's clock stands still while another thread has its packets.
    Ok(counted + (softirq::time()? - before) / u64::from(PACKETS))
}

/// Such packets, by the cable that they come from.
fn recipe(packet: Packet, case: &Case, numbers: Numbers) -> Recipe {
    Recipe {
        target: if packet.is_from_server() {
            SERVERS
        } else {
            CLIENTS
        },
        ..packet.recipe(case, numbers)
    }
}

impl Report {
    fn table(&self) -> Result<String> {
        let mut table = String::new();
        writeln!(table, "Linux {}, commit {}", self.kernel, self.commit)?;
        writeln!(
            table,
            "instructions per packet above those of generator and sink, which are {}; nothing but a \
             redirect has {}",
            self.generator, self.redirect
        )?;
        writeln!(
            table,
            "{:<34} {:>6} {:>8} {:>6} {:>6}",
            "case", "IPVS", "lvs-xdp", "ratio", "mark"
        )?;
        for outcome in &self.cases {
            let Outcome {
                case,
                ipvs,
                lvs_xdp,
                ratio,
                mark,
            } = outcome;
            writeln!(
                table,
                "{case:<34} {ipvs:>6} {lvs_xdp:>8} {ratio:>6.2} {mark:>6}"
            )?;
        }
        Ok(table)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_families_have_the_same_cases_but_for_udp() {
        let cases = cases();
        let of = |family: Family, important: bool| {
            cases
                .iter()
                .filter(|case| case.family == family && (!important || is_important(case)))
                .count()
        };
        assert_eq!(of(Family::V4, false), 14);
        assert_eq!(of(Family::V6, false), 14);
        assert_eq!(of(Family::V4, true), 14);
        assert_eq!(of(Family::V6, true), 7);
    }
}
