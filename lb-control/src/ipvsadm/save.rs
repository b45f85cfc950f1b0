//! `-S`: the table as the commands that make it.

use std::io::{self, Write};

use super::{
    labels::Labels,
    listing::{flags, forwarding_option, labels, mask, ordered, servers},
    names::Names,
};
use crate::{
    control::table::{ServerRow, ServiceRow, SyncDaemonRow, Table, TimeoutsRow},
    model::{Family, Forwarding, Origin, Protocol, ServiceId, Timeouts, Tunnel},
};

/// Writes the table so that `-R` reads it, here and in ipvsadm. What ipvsadm leaves out, thresholds, timeouts and
/// sync daemons, is written if it is not as by default. Daemons that lvs.cf has run come with it by themselves.
pub(super) fn save(
    table: &Table,
    numeric: bool,
    names: &dyn Names,
    out: &mut dyn Write,
) -> io::Result<()> {
    let services = ordered(table, true);
    let labels = labels(&services, numeric, names);
    let TimeoutsRow { tcp, tcp_fin, udp } = table.timeouts;
    if table.timeouts != default_timeouts() {
        writeln!(out, "--set {tcp} {tcp_fin} {udp}")?;
    }
    let by_command = |row: &&SyncDaemonRow| row.origin == Origin::Command;
    for row in table.sync_daemons.iter().filter(by_command) {
        daemon(row, out)?;
    }
    for row in services {
        let name = service_option(&row.service, &labels);
        service(row, &name, out)?;
        for row_of in servers(row, true) {
            server(row, row_of, &name, &labels, out)?;
        }
    }
    Ok(())
}

fn daemon(row: &SyncDaemonRow, out: &mut dyn Write) -> io::Result<()> {
    let SyncDaemonRow { role, daemon, .. } = row;
    let (role, interface, syncid) = (role.name(), &daemon.interface, daemon.syncid);
    write!(
        out,
        "--start-daemon {role} --mcast-interface {interface} --syncid {syncid}"
    )?;
    for (option, value) in daemon.said() {
        write!(out, " {option} {value}")?;
    }
    writeln!(out)
}

/// Those of IPVS.
fn default_timeouts() -> TimeoutsRow {
    let Timeouts { tcp, tcp_fin, udp } = Timeouts::default();
    let seconds = |time: std::time::Duration| u32::try_from(time.as_secs()).unwrap_or(u32::MAX);
    TimeoutsRow {
        tcp: seconds(tcp),
        tcp_fin: seconds(tcp_fin),
        udp: seconds(udp),
    }
}

fn service_option(service: &ServiceId, labels: &Labels<'_>) -> String {
    match service {
        ServiceId::Address(key) => {
            let option = match key.protocol {
                Protocol::Udp => "-u",
                Protocol::Sctp => "--sctp-service",
                // The others are in groups only.
                Protocol::Tcp | Protocol::Ah | Protocol::Esp => "-t",
            };
            let socket = labels.readable(key.address, key.port, Some(key.protocol));
            format!("{option} {socket}")
        }
        ServiceId::Mark { mark, family } => match family {
            Family::Ipv4 => format!("-f {mark}"),
            Family::Ipv6 => format!("-f {mark} -6"),
        },
    }
}

fn service(row: &ServiceRow, name: &str, out: &mut dyn Write) -> io::Result<()> {
    write!(out, "-A {name} -s {}", row.scheduler)?;
    if let Some(persistence) = &row.persistence {
        write!(out, " -p {}", persistence.timeout)?;
        if let Some(mask) = mask(persistence.mask) {
            write!(out, " -M {mask}")?;
        }
        if let Some(engine) = &persistence.engine {
            write!(out, " --pe {engine}")?;
        }
    }
    if row.one_packet {
        write!(out, " -o")?;
    }
    if let Some(flags) = flags(row) {
        write!(out, " -b {flags}")?;
    }
    writeln!(out)
}

fn server(
    service: &ServiceRow,
    row: &ServerRow,
    name: &str,
    labels: &Labels<'_>,
    out: &mut dyn Write,
) -> io::Result<()> {
    let protocol = service.service.address().map(|key| key.protocol);
    let socket = labels.readable(row.server.ip(), row.server.port(), protocol);
    // As it was said: checks that fail just now, or a drain, are no part of what is restored.
    let weight = row.configured_weight;
    let forwarding = forwarding_option(row);
    write!(out, "-a {name} -r {socket} {forwarding} -w {weight}")?;
    if let (Forwarding::Tunnel { tunnel }, false) = (row.forwarding, row.local) {
        let checksum = |is_set| if is_set { "--tun-csum" } else { "--tun-nocsum" };
        match tunnel {
            Tunnel::Ipip => write!(out, " --tun-type ipip")?,
            Tunnel::Gre { checksum: is_set } => {
                write!(out, " --tun-type gre {}", checksum(is_set))?;
            }
            Tunnel::Gue {
                port,
                checksum: is_set,
            } => write!(
                out,
                " --tun-type gue --tun-port {port} {}",
                checksum(is_set)
            )?,
        }
    }
    for (option, limit) in [("-x", row.upper), ("-y", row.lower)] {
        if limit != 0 {
            write!(out, " {option} {limit}")?;
        }
    }
    writeln!(out)
}
