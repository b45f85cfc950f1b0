//! `lb server`.

use std::{fmt, path::PathBuf, process::ExitCode};

use clap::{Args, Subcommand};
use serde::Serialize;

use super::{
    changing::How,
    named, output, runtime,
    service::from,
    terms::{Address, ServerArgs, usual_port, wrong_usage},
};
use crate::{
    control::{
        self,
        change::{Change, ServerTerms},
        client,
        order::{self, Answer, Order},
        table::{ServerRow, ServiceRow},
    },
    difference::by,
    model::ServiceId,
    status::columns::{Columns, Side},
};

#[derive(Debug, Args)]
pub(super) struct Server {
    #[command(subcommand)]
    verb: Verb,
    /// The daemon's socket.
    #[arg(long, value_name = "PATH", default_value = control::SOCKET, global = true)]
    socket: PathBuf,
    /// The answer as JSON.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Lists the real servers, and where they come from.
    List {
        /// Only those of this service.
        #[arg(value_name = "SERVICE")]
        service: Option<String>,
    },
    /// Adds a real server to a service.
    Add {
        /// The service: its name, PROTOCOL:ADDRESS:PORT, ADDRESS:PORT, or fwm:MARK.
        #[arg(value_name = "SERVICE")]
        service: String,
        /// Where the server listens; without a port, on that of the service.
        #[arg(value_name = "ADDRESS[:PORT]")]
        server: Address,
        #[command(flatten)]
        terms: ServerArgs,
        #[command(flatten)]
        how: How,
    },
    /// Changes what is said of a real server; what is not said stays. Its connections go on.
    Edit {
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        terms: ServerArgs,
        #[command(flatten)]
        how: How,
    },
    /// Removes a real server from its service. It may finish what it has.
    Remove {
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        how: How,
    },
    /// It gets nothing new, and leaves the table when it has finished.
    Drain {
        #[command(flatten)]
        which: Which,
        /// For how long it may finish; else as long as lvs.cf says. What is left then ends.
        #[arg(long, value_name = "SECONDS")]
        deadline: Option<u32>,
    },
    /// It gets connections, whatever its checks say.
    Up(Which),
    /// It leaves the table at once, whatever its checks say.
    Down(Which),
    /// Its checks decide again.
    Auto(Which),
}

#[derive(Debug, Args)]
struct Which {
    /// The service: its name, PROTOCOL:ADDRESS:PORT, ADDRESS:PORT, or fwm:MARK.
    #[arg(value_name = "SERVICE")]
    service: String,
    /// The real server: its name, or ADDRESS[:PORT].
    #[arg(value_name = "SERVER")]
    server: String,
}

impl Which {
    fn order(self, verb: order::Verb, deadline: Option<u32>) -> Order {
        let Self { service, server } = self;
        Order {
            verb,
            service,
            server,
            deadline,
        }
    }
}

impl Server {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let waiting = runtime()?;
        waiting.block_on(self.done())?;
        Ok(ExitCode::SUCCESS)
    }

    async fn done(self) -> anyhow::Result<()> {
        let Self { verb, socket, json } = self;
        let order = match verb {
            Verb::List { service } => {
                let rows = match service {
                    Some(wanted) => vec![named::service(&socket, &wanted).await?],
                    None => client::table(&socket, None).await?.services,
                };
                return output::print(&Listed::of(rows), json);
            }
            Verb::Add {
                service,
                server,
                terms,
                how,
            } => {
                let service = named::service(&socket, &service).await?.service;
                let terms = terms.terms().unwrap_or_else(|wrong| wrong_usage(&wrong));
                let server = server.socket(usual_port(service));
                let what = format!("{server} of {service}");
                let change = Change::AddServer {
                    service,
                    server,
                    terms,
                };
                return how
                    .make(&socket, vec![change], (&what, "added"), json)
                    .await;
            }
            Verb::Edit { which, terms, how } => {
                let terms = terms.terms().unwrap_or_else(|wrong| wrong_usage(&wrong));
                if terms == ServerTerms::default() {
                    wrong_usage("it is not said what is to be different");
                }
                let row = named::service(&socket, &which.service).await?;
                let (service, server) = (row.service, named::server(&row, &which.server)?.server);
                let what = format!("{server} of {service}");
                let change = Change::EditServer {
                    service,
                    server,
                    terms,
                };
                return how
                    .make(&socket, vec![change], (&what, "edited"), json)
                    .await;
            }
            Verb::Remove { which, how } => {
                let row = named::service(&socket, &which.service).await?;
                let (service, server) = (row.service, named::server(&row, &which.server)?.server);
                let what = format!("{server} of {service}");
                let change = Change::RemoveServer { service, server };
                return how
                    .make(&socket, vec![change], (&what, "removed"), json)
                    .await;
            }
            Verb::Drain { which, deadline } => which.order(order::Verb::Drain, deadline),
            Verb::Up(which) => which.order(order::Verb::Up, None),
            Verb::Down(which) => which.order(order::Verb::Down, None),
            Verb::Auto(which) => which.order(order::Verb::Auto, None),
        };
        let text = client::order(&socket, &order).await?;
        output::print(&Answer { text }, json)
    }
}

/// Real servers of the table.
#[derive(Debug, Serialize)]
#[serde(transparent)]
struct Listed(Vec<Line>);

/// A real server, and whose it is.
#[derive(Debug, Serialize)]
struct Line {
    service: ServiceId,
    service_name: String,
    #[serde(flatten)]
    row: ServerRow,
}

impl Listed {
    fn of(services: Vec<ServiceRow>) -> Self {
        let lines = services.into_iter().flat_map(|service| {
            let ServiceRow {
                service,
                name,
                servers,
                ..
            } = service;
            servers.into_iter().map(move |row| Line {
                service,
                service_name: name.clone(),
                row,
            })
        });
        Self(lines.collect())
    }
}

impl fmt::Display for Listed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut columns = Columns::new([
            ("service", Side::Left),
            ("server", Side::Left),
            ("name", Side::Left),
            ("method", Side::Left),
            ("weight", Side::Right),
            ("active", Side::Right),
            ("inactive", Side::Right),
            ("from", Side::Left),
        ]);
        for line in &self.0 {
            let row = &line.row;
            columns.add([
                line.service_name.as_str().into(),
                row.server.to_string().into(),
                row.name.as_str().into(),
                by(row.forwarding).into(),
                weight(row).into(),
                row.active.to_string().into(),
                row.inactive.to_string().into(),
                from(row.origin).into(),
            ]);
        }
        columns.fmt(f)
    }
}

/// Its share now, and in brackets what was said if that is another.
fn weight(row: &ServerRow) -> String {
    match (row.present, row.weight, row.configured_weight) {
        (false, _, said) => format!("out ({said})"),
        (true, now, said) if now == said => now.to_string(),
        (true, now, said) => format!("{now} ({said})"),
    }
}
