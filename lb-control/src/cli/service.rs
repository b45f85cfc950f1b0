//! `lb service`.

use std::{fmt, path::PathBuf, process::ExitCode};

use clap::{Args, Subcommand};
use serde::Serialize;

use super::{
    changing::How,
    named, output, runtime,
    terms::{NewServer, NewService, ServiceArgs, usual_port, wrong_usage},
};
use crate::{
    control::{
        self,
        change::{Change, ServiceTerms},
        client,
        table::ServiceRow,
    },
    difference::by,
    model::Origin,
    status::columns::{Columns, Side},
};

#[derive(Debug, Args)]
pub(super) struct Service {
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
    /// Lists the virtual services, and where they come from.
    List {
        /// Only this one.
        #[arg(value_name = "SERVICE")]
        service: Option<String>,
    },
    /// Adds a virtual service, with its real servers if they are said. It is served at once.
    Add {
        /// PROTOCOL:ADDRESS:PORT with protocol tcp, udp or sctp; ADDRESS:PORT for tcp; or fwm:MARK, fwm6:MARK.
        #[arg(value_name = "SERVICE")]
        service: NewService,
        #[command(flatten)]
        terms: Box<ServiceArgs>,
        /// A real server of it, repeatable: ADDRESS[:PORT][,weight=N][,upper=N][,lower=N][,name=NAME].
        #[arg(long = "server", value_name = "SERVER")]
        servers: Vec<NewServer>,
        #[command(flatten)]
        how: How,
    },
    /// Changes what is said of a virtual service; what is not said stays. Connections go on.
    Edit {
        /// Its name, PROTOCOL:ADDRESS:PORT, ADDRESS:PORT, or fwm:MARK.
        #[arg(value_name = "SERVICE")]
        service: String,
        #[command(flatten)]
        terms: Box<ServiceArgs>,
        #[command(flatten)]
        how: How,
    },
    /// Removes virtual services. Their real servers may finish what they have.
    Remove {
        /// As for edit; several are removed together or not at all.
        #[arg(value_name = "SERVICE", required = true)]
        services: Vec<String>,
        #[command(flatten)]
        how: How,
    },
}

impl Service {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let Self { verb, socket, json } = self;
        runtime()?.block_on(async {
            match verb {
                Verb::List { service } => {
                    let rows = match service {
                        Some(wanted) => vec![named::service(&socket, &wanted).await?],
                        None => client::table(&socket, None).await?.services,
                    };
                    output::print(&Listed(rows), json)
                }
                Verb::Add {
                    service: NewService(service),
                    terms,
                    servers,
                    how,
                } => {
                    let terms = terms.terms(service.family());
                    let terms = terms.unwrap_or_else(|wrong| wrong_usage(&wrong));
                    let mut changes = vec![Change::AddService { service, terms }];
                    changes.extend(servers.into_iter().map(|server| Change::AddServer {
                        service,
                        server: server.address.socket(usual_port(service)),
                        terms: server.terms,
                    }));
                    let what = service.to_string();
                    how.make(&socket, changes, (&what, "added"), json).await
                }
                Verb::Edit {
                    service,
                    terms,
                    how,
                } => {
                    let service = named::service(&socket, &service).await?.service;
                    let terms = terms.terms(service.family());
                    let terms = terms.unwrap_or_else(|wrong| wrong_usage(&wrong));
                    if terms == ServiceTerms::default() {
                        wrong_usage("it is not said what is to be different");
                    }
                    let changes = vec![Change::EditService { service, terms }];
                    let what = service.to_string();
                    how.make(&socket, changes, (&what, "edited"), json).await
                }
                Verb::Remove { services, how } => {
                    let mut changes = Vec::new();
                    let mut what = Vec::new();
                    for wanted in services {
                        let service = named::service(&socket, &wanted).await?.service;
                        what.push(service.to_string());
                        changes.push(Change::RemoveService { service });
                    }
                    let what = what.join(", ");
                    how.make(&socket, changes, (&what, "removed"), json).await
                }
            }
        })?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Where something comes from, for people.
pub(super) const fn from(origin: Origin) -> &'static str {
    match origin {
        Origin::File => "lvs.cf",
        Origin::Edited => "lvs.cf, edited",
        Origin::Command => "command",
    }
}

/// Services of the table.
#[derive(Debug, Serialize)]
#[serde(transparent)]
struct Listed(Vec<ServiceRow>);

impl fmt::Display for Listed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut columns = Columns::new([
            ("service", Side::Left),
            ("name", Side::Left),
            ("scheduler", Side::Left),
            ("persistent", Side::Right),
            ("method", Side::Left),
            ("servers", Side::Right),
            ("from", Side::Left),
        ]);
        for row in &self.0 {
            let persistent = row.persistence.as_ref();
            columns.add([
                row.service.to_string().into(),
                row.name.as_str().into(),
                row.scheduler.name().into(),
                persistent.map_or_else(|| "-".into(), |it| format!("{} s", it.timeout).into()),
                by(row.forwarding).into(),
                row.servers.len().to_string().into(),
                from(row.origin).into(),
            ]);
        }
        columns.fmt(f)
    }
}
