//! The head of each listing.

use std::io::{self, Write};

use super::command::Columns;

/// What the table is called: IPVS's version and, in IPVS, the size of its hash table. Programs that read
/// listings look for exactly this, so it stays what it is there by default, although nothing here has
/// that size.
pub(super) const VERSION: &str = "IP Virtual Server version 1.2.1 (size=4096)";

/// The two lines above services and servers.
pub(super) fn table(columns: Columns, out: &mut dyn Write) -> io::Result<()> {
    const SERVICE: &str = "Prot LocalAddress:Port";
    const SERVER: &str = "  -> RemoteAddress:Port";
    match columns {
        Columns::Plain => writeln!(
            out,
            "{SERVICE} Scheduler Flags\n{SERVER}           Forward Weight ActiveConn InActConn"
        ),
        Columns::Tunnels => writeln!(
            out,
            "{SERVICE} Scheduler Flags\n\
             {SERVER}           Forward TunnelInfo    Weight ActiveConn InActConn"
        ),
        Columns::Stats => writeln!(
            out,
            "{SERVICE:<33} {:>8} {:>8} {:>8} {:>8} {:>8}\n{SERVER}",
            "Conns", "InPkts", "OutPkts", "InBytes", "OutBytes"
        ),
        Columns::Rate => writeln!(
            out,
            "{SERVICE:<33} {:>8} {:>8} {:>8} {:>8} {:>8}\n{SERVER}",
            "CPS", "InPPS", "OutPPS", "InBPS", "OutBPS"
        ),
        Columns::Thresholds => writeln!(
            out,
            "{SERVICE:<33} {:<10} {:<10} {:<10} {:<10}\n{SERVER}",
            "Uthreshold", "Lthreshold", "ActiveConn", "InActConn"
        ),
        Columns::Persistent => writeln!(
            out,
            "{SERVICE:<33} {:<9} {:<11} {:<10} {:<10}\n{SERVER}",
            "Weight", "PersistConn", "ActiveConn", "InActConn"
        ),
    }
}

/// The lines above connections.
pub(super) fn connections(engines: bool, out: &mut dyn Write) -> io::Result<()> {
    write!(
        out,
        "IPVS connection entries\npro expire {:<11} {:<18} {:<18} ",
        "state", "source", "virtual"
    )?;
    match engines {
        true => writeln!(out, "{:<18} {:<16} pe_data", "destination", "pe name"),
        false => writeln!(out, "destination"),
    }
}
