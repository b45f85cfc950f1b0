//! A router that is another machine: packets go out by an interface, and come back by one, or do not.

use std::{fs, net::SocketAddr, path::PathBuf, thread};

use anyhow::{Context as _, Result, bail};
use clap::Args;
use lb_tests::Family;
use nix::{
    net::if_::if_nametoindex,
    sys::signal::{SigSet, Signal},
};
use serde::Serialize;

use super::{
    load::{Size, requests},
    module,
    source::{Kind, Order, Out, Source, Stream},
    window::{Window, all_that_came},
};
use crate::{
    case::has_words,
    frame::{Ends, Packet},
    generator::Generator,
    machine::{Build, Machine},
    printer::Printer,
    samples::Samples,
    site,
};

/// Where the router is.
#[derive(Args)]
pub(crate) struct Elsewhere {
    /// Send by this interface to another machine, instead of making a router here: see --help
    #[arg(long, value_name = "NAME", requires_all = ["router", "service"])]
    interface: Option<String>,
    /// The MAC address of that machine
    #[arg(long, value_name = "MAC", value_parser = mac, requires = "interface")]
    router: Option<Mac>,
    /// Its virtual service, of UDP
    #[arg(long, value_name = "ADDRESS:PORT", requires = "interface")]
    service: Option<SocketAddr>,
    /// The interface by which packets come back; all that comes by it is counted and dropped
    #[arg(long, value_name = "NAME", requires = "interface")]
    sink: Option<String>,
}

/// An address of Ethernet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Mac([u8; 6]);

/// The same, all of it.
pub(super) struct Given<'a> {
    interface: &'a str,
    router: [u8; 6],
    service: SocketAddr,
    sink: Option<&'a str>,
}

/// All that was measured.
#[derive(Serialize)]
struct Report {
    machine: Machine,
    commit: String,
    generator: Kind,
    interface: String,
    service: String,
    sink: Option<String>,
    rows: Vec<Row>,
}

#[derive(Serialize)]
struct Row {
    bytes: usize,
    cpus: usize,
    /// Packets per second, the median of all rounds.
    sent_per_second: u64,
    came_per_second: Option<u64>,
    lost_percent: Option<f64>,
    sent: u64,
    came: Option<u64>,
    sent_rounds: Samples,
    came_rounds: Samples,
}

impl Elsewhere {
    /// If an interface is given.
    pub(super) fn given(&self) -> Option<Given<'_>> {
        Some(Given {
            interface: self.interface.as_deref()?,
            router: self.router?.0,
            service: self.service?,
            sink: self.sink.as_deref(),
        })
    }
}

/// Measures. Nothing is made here but pktgen's devices, and those are taken away also when we are told to end.
pub(super) fn run(
    given: &Given<'_>,
    options: &super::Options,
    (kind, cpus): (Kind, usize),
    machine: Machine,
    build: &Build,
) -> Result<()> {
    let mut sizes = Size::all(cpus);
    sizes.retain(|size| has_words(&size.to_string(), &options.words));
    if sizes.is_empty() {
        bail!("no row has all of these words: --list names them");
    }
    if options.list {
        return sizes.iter().try_for_each(|size| Printer::Table.line(size));
    }
    let mut sinks = Generator::load(&build.driver)?;
    if let Some(sink) = given.sink {
        sinks.end_at(sink)?;
    }
    if kind == Kind::Pktgen {
        release_at_the_end(cpus)?;
    }
    let printer = Printer::new(options.json);
    let mut report = Report {
        machine,
        commit: build.commit.clone(),
        generator: kind,
        interface: given.interface.to_owned(),
        service: given.service.to_string(),
        sink: given.sink.map(str::to_owned),
        rows: Vec::new(),
    };
    printer.line(format_args!(
        "{}, by {kind} through {}, commit {}",
        report.machine, report.interface, report.commit
    ))?;
    printer.line("millions of packets per second")?;
    printer.line(Row::HEADER)?;
    for size in sizes {
        let stream = given.stream(kind, size, options)?;
        let mut source = Source::open(kind, size.cpus, &build.driver)?;
        let row = measure(&mut source, &sinks, stream, given, options)?;
        printer.line(row.line())?;
        report.rows.push(row);
    }
    printer.end(&report)
}

fn measure(
    source: &mut Source,
    sinks: &Generator,
    mut stream: Stream,
    given: &Given<'_>,
    options: &super::Options,
) -> Result<Row> {
    let mut row = Row {
        bytes: stream.length(),
        cpus: stream.size.cpus,
        sent_per_second: 0,
        came_per_second: None,
        lost_percent: None,
        sent: 0,
        came: None,
        sent_rounds: Samples::default(),
        came_rounds: Samples::default(),
    };
    let length = options.length_of_round();
    let before = sinks.sunk()?;
    for round in 0..options.rounds {
        stream.round = round;
        let (sent, window) = source.run(&stream, None, |over| {
            if given.sink.is_some() {
                return Ok(Some(Window::open(sinks, over, length, false)?));
            }
            // Only an error ends a generator before.
            let _ = over.recv_timeout(length);
            Ok(None)
        })?;
        row.sent += sent.packets;
        row.sent_rounds.add(sent.per_second as u64);
        if let Some(window) = window {
            row.came_rounds.add(window.per_second());
        }
    }
    row.sent_per_second = row.sent_rounds.percentile(50);
    if given.sink.is_some() {
        let came = all_that_came(sinks)? - before;
        row.came = Some(came);
        row.came_per_second = Some(row.came_rounds.percentile(50));
        let lost = row.sent.saturating_sub(came);
        row.lost_percent = Some(lost as f64 * 100.0 / row.sent.max(1) as f64);
    }
    Ok(row)
}

impl Given<'_> {
    fn stream(&self, kind: Kind, size: Size, options: &super::Options) -> Result<Stream> {
        let family = if self.service.is_ipv6() {
            Family::V6
        } else {
            Family::V4
        };
        let name = self.interface;
        let folder = PathBuf::from("/sys/class/net").join(name);
        let address = fs::read_to_string(folder.join("address"))
            .with_context(|| format!("there is no interface {name}"))?;
        let Mac(own) = mac(address.trim()).map_err(anyhow::Error::msg)?;
        let queues = fs::read_dir(folder.join("queues"))?
            .filter_map(Result::ok)
            .filter(|queue| queue.file_name().to_string_lossy().starts_with("tx-"))
            .count();
        Ok(Stream {
            kind,
            case: requests(family),
            size,
            packet: Packet::Request,
            ends: Ends {
                macs: (own, self.router),
                client: site::clients(family),
                other: self.service,
            },
            out: Out {
                name: name.to_owned(),
                index: if_nametoindex(name)?,
                queues,
            },
            order: Order::ByLot,
            round: 0,
            rounds: options.rounds,
            time: Window::needs(options.length_of_round()),
        })
    }
}

/// Has pktgen's devices taken away if a signal ends us.
fn release_at_the_end(cpus: usize) -> Result<()> {
    let mut signals = SigSet::empty();
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        signals.add(signal);
    }
    // Threads that are made from now on block them too.
    signals.thread_block()?;
    thread::spawn(move || {
        if let Ok(signal) = signals.wait() {
            module::release(cpus);
            std::process::exit(128 + signal as i32);
        }
    });
    Ok(())
}

/// Six bytes in hexadecimal, with colons between them.
fn mac(text: &str) -> Result<Mac, String> {
    let byte = |text: &str| {
        // A sign would be read as part of the number.
        let is_byte = text.len() <= 2 && text.bytes().all(|digit| digit.is_ascii_hexdigit());
        u8::from_str_radix(text, 16).ok().filter(|_| is_byte)
    };
    let bytes: Option<Vec<_>> = text.split(':').map(byte).collect();
    let bytes = bytes.and_then(|bytes| bytes.try_into().ok());
    bytes
        .map(Mac)
        .ok_or_else(|| format!("{text} is no MAC address"))
}

impl Row {
    const HEADER: &str = "bytes  cpus      sent   per CPU    came    lost";

    fn line(&self) -> String {
        let millions = |packets: u64| packets as f64 / 1e6;
        let sent = millions(self.sent_per_second);
        let mut line = format!(
            "{:>5} {:>5} {sent:>9.3} {:>9.3}",
            self.bytes,
            self.cpus,
            sent / self.cpus as f64
        );
        match (self.came_per_second, self.lost_percent) {
            (Some(came), Some(lost)) => {
                line.push_str(&format!(" {:>7.3} {lost:>6.2}%", millions(came)));
            }
            (Some(_) | None, _) => line.push_str("       -       -"),
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mac_address_has_six_bytes() {
        let table = [
            ("02:00:00:00:00:c1", Some([2, 0, 0, 0, 0, 0xc1])),
            ("2:0:0:0:0:C1", Some([2, 0, 0, 0, 0, 0xc1])),
            ("02:00:00:00:00", None),
            ("02:00:00:00:00:c1:00", None),
            ("02:00:00:00:00:+1", None),
            ("02:00:00:00:00:100", None),
            ("", None),
        ];
        for (text, expected) in table {
            assert_eq!(mac(text).ok(), expected.map(Mac), "{text}");
        }
    }
}
