//! Services and real servers by what they are called, as the daemon's table has them.

use std::path::Path;

use crate::control::{
    client,
    name::{self, Unknown, Written},
    table::{ServerRow, ServiceRow, Table},
};

/// The service that is called like this.
///
/// # Errors
/// If there is none, or no daemon.
pub(super) async fn service(socket: &Path, wanted: &str) -> anyhow::Result<ServiceRow> {
    // Where it is known which, the daemon need not tell of all.
    if let Some(Written::Id(id)) = Written::parse(wanted) {
        let mut table = client::table(socket, Some(id)).await?;
        if let Some(row) = table.services.pop() {
            return Ok(row);
        }
    }
    let table = client::table(socket, None).await?;
    Ok(in_table(&table, wanted)?.clone())
}

/// The service of a table that is called like this.
pub(super) fn in_table<'a>(table: &'a Table, wanted: &str) -> Result<&'a ServiceRow, Unknown> {
    name::service(wanted, &table.services, |row| name::Service {
        name: &row.name,
        id: row.service,
        first: row
            .matches
            .first()
            .map(|first| (first.address, first.first).into()),
    })
}

/// The real server of a service that is called like this.
pub(super) fn server<'a>(service: &'a ServiceRow, wanted: &str) -> Result<&'a ServerRow, Unknown> {
    name::server(wanted, &service.servers, |row| name::Server {
        name: &row.name,
        socket: row.server,
    })
}
