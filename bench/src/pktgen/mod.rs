//! `pktgen`: packets per second through a router, from a generator to a sink.
//!
//! The balancer on a router, and beside it a program that only redirects, and IPVS if that is wanted: each has
//! a router of its own, and all of them are measured in turn, for what disturbs one disturbs the others. A
//! [`Load`] is one row; a [`source`](source::Source) sends it, be it the kernel's pktgen ([`module`]) or test
//! runs of our own driver; an [`Arrangement`](arrangement::Arrangement) is a router with its generator and its
//! sink. With `--interface` the router is another machine ([`far`]).

mod arrangement;
mod far;
mod load;
mod module;
mod source;
mod window;

use std::time::Duration;

use anyhow::{Result, bail};
use clap::Args;
use lb_tests::Lab;
use serde::Serialize;

use self::{
    arrangement::{Arrangement, Figure, Forwarder},
    load::Load,
    source::{Kind, Stream},
};
use crate::{
    case::has_words,
    ipvs,
    machine::{Build, Machine},
    printer::Printer,
};

/// What to send, and where.
#[derive(Args)]
#[command(
    long_about = "Packets per second through a router, from a generator to a sink.\n\n\
    Without --interface all of it is made here: a router between two cables (veth) in a network \
    namespace, the generator at the one, the sink at the other. On the router is the balancer, and \
    beside it, for comparison, a program that only redirects, and with --ipvs the kernel's IPVS.\n\n\
    With --interface this machine only sends, and counts: the router is another machine, on which `lb run` \
    (or IPVS, or anything else) is set up by hand. --router is that machine's MAC address, --service its \
    virtual service, of UDP. Clients have addresses of 198.18.0.0/15 or 2001:2::/48. If the real servers are \
    MAC addresses of this machine, as with direct routing to a network card of it, --sink names the \
    interface at which packets come back: there they are counted and dropped. That interface is then of no \
    use for anything else."
)]
pub(crate) struct Options {
    /// Only the rows whose names have all of these words in them
    #[arg(value_name = "WORD")]
    words: Vec<String>,
    /// Every row that there is, not only those that tell most
    #[arg(long)]
    all: bool,
    /// Only name the rows
    #[arg(long)]
    list: bool,
    /// Print everything that was measured as JSON
    #[arg(long)]
    json: bool,
    /// Who sends; pktgen if the kernel has it
    #[arg(long)]
    generator: Option<Kind>,
    /// Measure the kernel's IPVS too
    #[arg(long, conflicts_with = "interface")]
    ipvs: bool,
    /// How many CPUs are all of them
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    cpus: Option<u16>,
    /// How often each is measured; the figure is the median
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    rounds: u32,
    /// How long a round takes, in milliseconds
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u64).range(10..))]
    round: u64,
    /// How many entries the balancer's flow table has; twice as many with masquerading
    #[arg(long, default_value_t = 1 << 20)]
    flows: u32,
    #[command(flatten)]
    far: far::Elsewhere,
}

/// All that was measured.
#[derive(Serialize)]
struct Report {
    machine: Machine,
    commit: String,
    generator: Kind,
    milliseconds_per_round: u64,
    rows: Vec<Row>,
}

/// What became of a load.
#[derive(Serialize)]
struct Row {
    load: String,
    /// Of each frame, really.
    bytes: usize,
    cpus: usize,
    redirect: Figure,
    lvs_xdp: Figure,
    #[serde(skip_serializing_if = "Option::is_none")]
    ipvs: Option<Figure>,
    /// Of the packets that a mere redirect brings to the sink, how many the balancer does: 1 is all.
    of_redirect: f64,
    /// How many times as many packets as by IPVS.
    #[serde(skip_serializing_if = "Option::is_none")]
    of_ipvs: Option<f64>,
    /// What was not as it ought to be.
    #[serde(skip_serializing_if = "Option::is_none")]
    complaint: Option<String>,
}

/// Measures.
pub(crate) fn run(options: &Options, build: &Build) -> Result<()> {
    let machine = Machine::find();
    let cpus = options.cpus.map_or(machine.cpus, usize::from);
    if cpus > machine.cpus {
        bail!("there are {} CPUs", machine.cpus);
    }
    let kind = Kind::choose(options.generator)?;
    let printer = Printer::new(options.json);
    if let Some(far) = options.far.given() {
        return far::run(&far, options, (kind, cpus), machine, build);
    }
    let loads = options.loads(kind, cpus)?;
    if options.list {
        return loads.iter().try_for_each(|load| Printer::Table.line(load));
    }
    if options.ipvs {
        ipvs::provide();
    }
    let mut report = Report {
        machine,
        commit: build.commit.clone(),
        generator: kind,
        milliseconds_per_round: options.round,
        rows: Vec::new(),
    };
    printer.line(format_args!(
        "{}, by {kind}, commit {}",
        report.machine, report.commit
    ))?;
    printer.line("millions of packets per second")?;
    printer.line(Row::header(options.ipvs))?;
    let lab = Lab::new()?;
    for load in loads {
        let row = measure(&lab, &load, kind, options, build)?;
        printer.line(row.line())?;
        report.rows.push(row);
    }
    printer.end(&report)
}

impl Options {
    fn loads(&self, kind: Kind, cpus: usize) -> Result<Vec<Load>> {
        let mut loads = if self.all {
            Load::all(cpus)
        } else {
            Load::important(cpus)
        };
        loads.retain(|load| has_words(&load.to_string(), &self.words) && kind.can_send(&load.case));
        if loads.is_empty() {
            bail!("no row has all of these words: --list names them, --all --list names more");
        }
        Ok(loads)
    }

    fn length_of_round(&self) -> Duration {
        Duration::from_millis(self.round)
    }
}

/// One row: each arrangement in turn, in each round.
fn measure(lab: &Lab, load: &Load, kind: Kind, options: &Options, build: &Build) -> Result<Row> {
    let mut forwarders = vec![Forwarder::Redirect, Forwarder::Balancer];
    if options.ipvs {
        forwarders.push(Forwarder::Ipvs);
    }
    let stream = Stream::through(load, kind, options.rounds, options.length_of_round());
    let mut arrangements = Vec::new();
    for forwarder in forwarders {
        arrangements.push(Arrangement::new(
            lab,
            forwarder,
            stream.clone(),
            options.flows,
            &build.driver,
        )?);
    }
    for round in 0..options.rounds {
        for arrangement in &mut arrangements {
            arrangement.measure(round, options.length_of_round())?;
        }
    }
    let mut complaints = Vec::new();
    for arrangement in &arrangements {
        complaints.extend(arrangement.complaint()?);
    }
    let mut figures = arrangements
        .iter()
        .map(|arrangement| arrangement.figure(load.size.cpus));
    let (Some(redirect), Some(lvs_xdp), ipvs) = (figures.next(), figures.next(), figures.next())
    else {
        bail!("something was not measured");
    };
    Ok(Row {
        load: load.to_string(),
        bytes: stream.length(),
        cpus: load.size.cpus,
        of_redirect: lvs_xdp.ratio(&redirect),
        of_ipvs: ipvs.as_ref().map(|ipvs| lvs_xdp.ratio(ipvs)),
        redirect,
        lvs_xdp,
        ipvs,
        complaint: (!complaints.is_empty()).then(|| complaints.join("; ")),
    })
}

impl Row {
    fn header(with_ipvs: bool) -> String {
        let header = format!(
            "{:<48} {:>9} {:>8} {:>8} {:>6} {:>7}",
            "row", "redirect", "lvs-xdp", "per CPU", "share", "lost"
        );
        if with_ipvs {
            header + &format!(" {:>7} {:>6}", "IPVS", "times")
        } else {
            header
        }
    }

    fn line(&self) -> String {
        let mut line = format!(
            "{:<48} {:>9.3} {:>8.3} {:>8.3} {:>5.0}% {:>6.2}%",
            self.load,
            self.redirect.millions(),
            self.lvs_xdp.millions(),
            self.lvs_xdp.millions() / self.cpus as f64,
            self.of_redirect * 100.0,
            self.lvs_xdp.lost_percent,
        );
        if let (Some(ipvs), Some(times)) = (&self.ipvs, self.of_ipvs) {
            line.push_str(&format!(" {:>7.3} {times:>6.2}", ipvs.millions()));
        }
        if let Some(complaint) = &self.complaint {
            line.push_str("  ! ");
            line.push_str(complaint);
        }
        line
    }
}
