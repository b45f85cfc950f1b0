//! `-L`: services and servers, one line each.

use std::{
    collections::BTreeSet,
    io::{self, Write},
    net::IpAddr,
};

use super::{
    command::Columns,
    labels::{Labels, cut},
    names::Names,
    sort, title,
};
use crate::{
    control::table::{Counts, ServerRow, ServiceRow, Table, TimeoutsRow},
    model::{Family, Forwarding, Method, Scheduler, ServiceId, Tunnel},
};

/// How services and servers are listed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Form {
    pub(super) columns: Columns,
    pub(super) exact: bool,
    pub(super) sorted: bool,
    pub(super) numeric: bool,
}

/// Lists a table.
pub(super) fn all(
    table: &Table,
    form: Form,
    names: &dyn Names,
    out: &mut dyn Write,
) -> io::Result<()> {
    let services = ordered(table, form.sorted);
    let labels = labels(&services, form.numeric, names);
    writeln!(out, "{}", title::VERSION)?;
    title::table(form.columns, out)?;
    for row in services {
        service(row, form, &labels, out)?;
    }
    Ok(())
}

/// Lists one service.
pub(super) fn one(
    row: &ServiceRow,
    form: Form,
    names: &dyn Names,
    out: &mut dyn Write,
) -> io::Result<()> {
    let labels = labels(&[row], form.numeric, names);
    title::table(form.columns, out)?;
    service(row, form, &labels, out)
}

/// The services in their order.
pub(super) fn ordered(table: &Table, sorted: bool) -> Vec<&ServiceRow> {
    let mut services: Vec<&ServiceRow> = table.services.iter().collect();
    if sorted {
        sort::merge_sort(&mut services, &sort::services);
    }
    services
}

/// The servers of a service in their order.
pub(super) fn servers(service: &ServiceRow, sorted: bool) -> Vec<&ServerRow> {
    let mut servers: Vec<&ServerRow> = service.servers.iter().collect();
    if sorted {
        sort::merge_sort(&mut servers, &sort::servers);
    }
    servers
}

/// How the addresses of these services and of their servers are shown.
pub(super) fn labels<'a>(
    services: &[&ServiceRow],
    numeric: bool,
    names: &'a dyn Names,
) -> Labels<'a> {
    Labels::new(numeric, names, || {
        let mut addresses: BTreeSet<IpAddr> = BTreeSet::new();
        for service in services {
            addresses.extend(service.service.address().map(|key| key.address));
            addresses.extend(service.servers.iter().map(|server| server.server.ip()));
        }
        addresses
    })
}

fn service(
    row: &ServiceRow,
    form: Form,
    labels: &Labels<'_>,
    out: &mut dyn Write,
) -> io::Result<()> {
    let name = match &row.service {
        ServiceId::Address(key) => {
            let socket = labels.socket(key.address, key.port, Some(key.protocol));
            let protocol = key.protocol.to_string();
            let mut name = format!("{protocol:<4} {socket}");
            if key.address.is_ipv4() {
                cut(&mut name, 33);
            }
            name
        }
        ServiceId::Mark { mark, family } => {
            // As ipvsadm prints it: with a sign.
            let mark = mark.cast_signed();
            match family {
                Family::Ipv4 => format!("FWM  {mark}"),
                Family::Ipv6 => format!("FWM  {mark} IPv6"),
            }
        }
    };
    match form.columns {
        Columns::Stats => counted(&format!("{name:<33}"), &row.counts, form.exact, out)?,
        Columns::Rate => counted(&format!("{name:<33}"), &row.rates, form.exact, out)?,
        Columns::Plain | Columns::Thresholds | Columns::Persistent | Columns::Tunnels => {
            writeln!(out, "{name} {}", terms(row))?;
        }
    }
    for row_of in servers(row, form.sorted) {
        // IPVS has no server that is out of the table.
        if row_of.present {
            server(row, row_of, form, labels, out)?;
        }
    }
    Ok(())
}

/// Scheduler and flags.
fn terms(row: &ServiceRow) -> String {
    let mut text = row.scheduler.name().to_owned();
    if let Some(flags) = flags(row) {
        text += &format!(" ({flags})");
    }
    if let Some(persistence) = &row.persistence {
        text += &format!(" persistent {}", persistence.timeout);
        if let Some(mask) = mask(persistence.mask) {
            text += &format!(" mask {mask}");
        }
        if let Some(engine) = &persistence.engine {
            text += &format!(" pe {engine}");
        }
    }
    if row.one_packet {
        text += " ops";
    }
    text
}

/// A mask that is not all ones: that of IPv4 as an address, that of IPv6 as the length of the prefix.
pub(super) fn mask(mask: IpAddr) -> Option<String> {
    match mask {
        IpAddr::V4(mask) if mask.to_bits() == u32::MAX => None,
        IpAddr::V4(mask) => Some(mask.to_string()),
        IpAddr::V6(mask) if mask.to_bits() == u128::MAX => None,
        IpAddr::V6(mask) => Some(mask.to_bits().leading_ones().to_string()),
    }
}

/// The scheduler's flags by name; IPVS's third has no name of its own, and is `mh-compat` here.
pub(super) fn flags(row: &ServiceRow) -> Option<String> {
    let [fallback, port] = match row.scheduler {
        Scheduler::Sh => ["sh-fallback", "sh-port"],
        Scheduler::Mh => ["mh-fallback", "mh-port"],
        Scheduler::Rr
        | Scheduler::Wrr
        | Scheduler::Lc
        | Scheduler::Wlc
        | Scheduler::Lblc
        | Scheduler::Lblcr
        | Scheduler::Dh
        | Scheduler::Sed
        | Scheduler::Nq
        | Scheduler::Fo
        | Scheduler::Ovf
        | Scheduler::Twos => ["flag-1", "flag-2"],
    };
    let all = [
        (row.flags.fallback, fallback),
        (row.flags.port, port),
        (row.flags.compat, "flag-3"),
    ];
    let set: Vec<&str> = all
        .into_iter()
        .filter_map(|(is_set, name)| is_set.then_some(name))
        .collect();
    (!set.is_empty()).then(|| set.join(","))
}

fn server(
    service: &ServiceRow,
    row: &ServerRow,
    form: Form,
    labels: &Labels<'_>,
    out: &mut dyn Write,
) -> io::Result<()> {
    let protocol = service.service.address().map(|key| key.protocol);
    let mut name = labels.socket(row.server.ip(), row.server.port(), protocol);
    if row.server.is_ipv4() {
        cut(&mut name, 28);
    }
    let method = match row.local {
        true => "Local".to_owned(),
        false => row.forwarding.method().to_string(),
    };
    let ServerRow {
        weight,
        upper,
        lower,
        active,
        inactive,
        persistent,
        ..
    } = row;
    match form.columns {
        Columns::Plain => writeln!(
            out,
            "  -> {name:<28} {method:<7} {weight:<6} {active:<10} {inactive:<10}"
        ),
        Columns::Stats => counted(&format!("  -> {name:<28}"), &row.counts, form.exact, out),
        Columns::Rate => rates(&name, &row.rates, form.exact, out),
        Columns::Thresholds => writeln!(
            out,
            "  -> {name:<28} {upper:<10} {lower:<10} {active:<10} {inactive:<10}"
        ),
        Columns::Persistent => writeln!(
            out,
            "  -> {name:<28} {weight:<9} {persistent:<11} {active:<10} {inactive:<10}"
        ),
        Columns::Tunnels => {
            let tunnel = tunnel(row);
            writeln!(
                out,
                "  -> {name:<28} {method:<7} {tunnel:<13} {weight:<6} {active:<10} {inactive:<10}"
            )
        }
    }
}

/// Type, port and checksum of a tunnel.
fn tunnel(row: &ServerRow) -> String {
    let sign = |checksum| if checksum { "+c" } else { "-c" };
    match row.forwarding {
        _ if row.local => "n/a".to_owned(),
        Forwarding::Nat | Forwarding::FullNat | Forwarding::Direct => "n/a".to_owned(),
        Forwarding::Tunnel { tunnel } => match tunnel {
            Tunnel::Ipip => "ipip".to_owned(),
            Tunnel::Gre { checksum } => format!("gre:{}", sign(checksum)),
            Tunnel::Gue { port, checksum } => format!("gue:{port}:{}", sign(checksum)),
        },
    }
}

fn counted(name: &str, counts: &Counts, exact: bool, out: &mut dyn Write) -> io::Result<()> {
    out.write_all(name.as_bytes())?;
    let Counts {
        connections,
        packets_in,
        packets_out,
        bytes_in,
        bytes_out,
    } = *counts;
    for number in [connections, packets_in, packets_out, bytes_in, bytes_out] {
        large(number, exact, out)?;
    }
    writeln!(out)
}

/// The rates of a server, of which ipvsadm shortens only the bytes.
fn rates(name: &str, rates: &Counts, exact: bool, out: &mut dyn Write) -> io::Result<()> {
    write!(out, "  -> {name:<28}")?;
    for number in [rates.connections, rates.packets_in, rates.packets_out] {
        write!(out, " {number:>8}")?;
    }
    large(rates.bytes_in, exact, out)?;
    large(rates.bytes_out, exact, out)?;
    writeln!(out)
}

/// A number in nine columns, with at least one blank before it.
fn large(number: u64, exact: bool, out: &mut dyn Write) -> io::Result<()> {
    const SHORT: [(u64, u64, char); 3] = [
        (1_000_000_000, 1_000, 'K'),
        (100_000_000_000, 1_000_000, 'M'),
        (100_000_000_000_000, 1_000_000_000, 'G'),
    ];
    if exact {
        return match number {
            ..100_000_000 => write!(out, "{number:>9}"),
            _ => write!(out, " {number}"),
        };
    }
    if number < 100_000_000 {
        return write!(out, "{number:>9}");
    }
    let short = SHORT.iter().find(|(below, ..)| number < *below);
    let (_, by, unit) = short.unwrap_or(&(0, 1_000_000_000_000, 'T'));
    write!(out, "{:>8}{unit}", number / by)
}

/// `--timeout`
pub(super) fn timeouts(timeouts: TimeoutsRow, out: &mut dyn Write) -> io::Result<()> {
    let TimeoutsRow { tcp, tcp_fin, udp } = timeouts;
    writeln!(out, "Timeout (tcp tcpfin udp): {tcp} {tcp_fin} {udp}")
}

/// How a server is forwarded to, as an option.
pub(super) const fn forwarding_option(row: &ServerRow) -> &'static str {
    if row.local {
        return "-g";
    }
    match row.forwarding.method() {
        Method::Nat => "-m",
        Method::Direct => "-g",
        Method::Tunnel => "-i",
    }
}
