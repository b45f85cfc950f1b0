//! `-L -c`: the flows that are remembered.

use std::{
    collections::BTreeSet,
    io::{self, Write},
    net::IpAddr,
};

use super::{
    director::{Director, Fault},
    labels::Labels,
    names::Names,
    title,
};
use crate::{control::connection::Connection, model::Protocol};

/// What a persistence engine knows of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineData {
    /// Its name.
    pub name: String,
    /// What it tells clients apart by.
    pub data: String,
}

/// Lists the connections as the daemon tells them, in its order.
pub(super) fn list(
    director: &mut dyn Director,
    engines: bool,
    numeric: bool,
    names: &dyn Names,
    out: &mut dyn Write,
) -> Result<(), Fault> {
    if numeric {
        // The title is written by the first line, or at the end: if there is no answer, there is no list.
        let mut is_titled = false;
        director.connections(&mut |connection| {
            if !std::mem::replace(&mut is_titled, true) {
                title::connections(engines, out)?;
            }
            line(&connection, None, &Labels::Numeric, out)
        })?;
        if !is_titled {
            title::connections(engines, out)?;
        }
        return Ok(());
    }
    // Names are asked for once, for all together.
    let mut all = Vec::new();
    director.connections(&mut |connection| {
        all.push(connection);
        Ok(())
    })?;
    let labels = Labels::new(false, names, || {
        let mut addresses: BTreeSet<IpAddr> = BTreeSet::new();
        for connection in &all {
            addresses.extend([
                connection.client.ip(),
                connection.address.ip(),
                connection.server.ip(),
            ]);
        }
        addresses
    });
    title::connections(engines, out)?;
    for connection in &all {
        line(connection, None, &labels, out)?;
    }
    Ok(())
}

/// One connection; `engine` if those are shown and it has one.
pub(super) fn line(
    connection: &Connection,
    engine: Option<&EngineData>,
    labels: &Labels<'_>,
    out: &mut dyn Write,
) -> io::Result<()> {
    // Those of other protocols have no names of ports.
    let protocol = match connection.protocol.as_str() {
        "TCP" => Some(Protocol::Tcp),
        "UDP" => Some(Protocol::Udp),
        "SCTP" => Some(Protocol::Sctp),
        _ => None,
    };
    let [client, address, server] = [connection.client, connection.address, connection.server]
        .map(|socket| labels.socket(socket.ip(), socket.port(), protocol));
    let expire = format!(
        "{:02}:{:02}",
        connection.expires / 60,
        connection.expires % 60
    );
    write!(
        out,
        "{:<3} {expire:<6} {:<11} {client:<18} {address:<18} ",
        connection.protocol, connection.state
    )?;
    match engine {
        Some(EngineData { name, data }) => writeln!(out, "{server:<16} {name:<18} {data}"),
        None => writeln!(out, "{server}"),
    }
}
