//! The flows of this director: what is told is read here, and what is heard is learned.

use std::{
    collections::HashMap,
    ops::ControlFlow,
    sync::{Arc, Mutex, PoisonError},
};

use lb_common::{record::Record, state::State};
use tracing::warn;

use super::clients::Clients;
use crate::{
    control::table::SyncDaemonRow,
    dataplane::{
        connections::{Entry, FlowTables},
        learn::{Learned, Outcome},
    },
    model::{Method, Origin},
    sync::{
        connection::{Connection, Key, Names},
        ipvs::daemon::Wanted,
        machine::{Sink, Source, Told},
        translate,
    },
};

/// How many records are learned at a time.
const BATCH: usize = 64;

/// How many flows of servers that are not known yet are kept until they are. Those beyond come with the next round.
const EARLY: usize = 4_096;

/// The data plane as far as it is needed here.
pub(super) trait Tables: Send {
    /// The entry that a record is about.
    fn find(&self, wanted: &Record) -> anyhow::Result<Option<Record>>;

    /// Learns records.
    fn learn(&mut self, records: &mut [Record]) -> anyhow::Result<Learned>;

    /// How many changes nobody was told of because the ring was full.
    fn untold(&self) -> anyhow::Result<u64>;
}

/// What became of what was heard.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Outcomes {
    /// Flows that are new here, or have another state or time now, or ended.
    pub learned: u64,
    /// Flows whose service or real server is not known here.
    pub strange: u64,
    /// Flows for which there was no room, or whose place another has.
    pub refused: u64,
}

/// The flows of this director.
pub(super) struct Local {
    tables: Box<dyn Tables>,
    walker: Arc<dyn FlowTables>,
    names: Arc<Names>,
    pending: Vec<Record>,
    /// What was told of servers that this director does not know: it may be about to, for both read the same file and
    /// check the same servers, one a moment after the other.
    early: HashMap<Key, Connection>,
    clients: Clients,
    outcomes: Outcomes,
    /// It was told that the data plane does not do what it is asked for.
    has_complained: bool,
}

impl Local {
    pub(super) fn new(
        tables: Box<dyn Tables>,
        walker: Arc<dyn FlowTables>,
        clients: Clients,
    ) -> Self {
        Self {
            tables,
            walker,
            names: Arc::default(),
            pending: Vec::new(),
            early: HashMap::new(),
            clients,
            outcomes: Outcomes::default(),
            has_complained: false,
        }
    }

    pub(super) const fn clients(&mut self) -> &mut Clients {
        &mut self.clients
    }

    pub(super) fn names(&self) -> Arc<Names> {
        Arc::clone(&self.names)
    }

    pub(super) fn set_names(&mut self, names: Names) {
        self.names = Arc::new(names);
        for (key, connection) in std::mem::take(&mut self.early) {
            match translate::record(&connection, &self.names) {
                Some(record) => self.put(record),
                None => drop(self.early.insert(key, connection)),
            }
        }
    }

    pub(super) const fn outcomes(&self) -> Outcomes {
        self.outcomes
    }

    pub(super) fn untold(&mut self) -> Option<u64> {
        let untold = self.tables.untold();
        self.complain(untold)
    }

    pub(super) fn walker(&self) -> Arc<dyn FlowTables> {
        Arc::clone(&self.walker)
    }

    /// Learns what waits.
    pub(super) fn flush(&mut self) {
        if self.pending.is_empty() {
            return;
        }
        let mut records = std::mem::take(&mut self.pending);
        let learned = self.tables.learn(&mut records);
        if let Some(learned) = self.complain(learned) {
            let sum = |all: &[Outcome]| all.iter().map(|one| learned.of(*one)).sum::<u64>();
            let outcomes = &mut self.outcomes;
            outcomes.learned += sum(&[Outcome::LEARNED, Outcome::RENEWED, Outcome::ENDED]);
            outcomes.strange += sum(&[Outcome::STRANGE]);
            outcomes.refused += sum(&[
                Outcome::FULL,
                Outcome::TAKEN,
                Outcome::BUSY,
                Outcome::MALFORMED,
            ]);
        }
        records.clear();
        self.pending = records;
    }

    fn put(&mut self, record: Record) {
        self.pending.push(record);
        if self.pending.len() >= BATCH {
            self.flush();
        }
    }

    /// What a refused call gave, which is told once.
    fn complain<T>(&mut self, result: anyhow::Result<T>) -> Option<T> {
        match result {
            Ok(value) => {
                self.has_complained = false;
                Some(value)
            }
            Err(error) => {
                if !std::mem::replace(&mut self.has_complained, true) {
                    warn!("connection synchronisation: {error:#}");
                }
                None
            }
        }
    }
}

impl Source for Local {
    fn current(&mut self, key: &Key) -> Option<Connection> {
        let place = translate::place(key, &self.names)?;
        let found = self.tables.find(&place);
        let record = self.complain(found)??;
        translate::connection(&record, &self.names).filter(Connection::is_worth_telling)
    }
}

impl Sink for Local {
    fn learn(&mut self, told: Told<'_>) {
        match told {
            Told::Has(connection) => match translate::record(connection, &self.names) {
                Some(record) => {
                    self.early.remove(&connection.key);
                    if let Key::Flow { client, .. } = connection.key
                        && is_masqueraded(connection)
                    {
                        self.clients.note(client.ip());
                    }
                    self.put(record);
                }
                None => {
                    self.outcomes.strange += 1;
                    if self.early.len() < EARLY || self.early.contains_key(&connection.key) {
                        self.early.insert(connection.key, *connection);
                    }
                }
            },
            Told::Gone(key) => {
                self.early.remove(key);
                let Some(place) = translate::place(key, &self.names) else {
                    return;
                };
                // It may be among those that wait.
                self.flush();
                let found = self.tables.find(&place);
                if let Some(Some(mut record)) = self.complain(found) {
                    record.flags |= Record::ENDED;
                    self.put(record);
                }
            }
        }
    }

    fn retain(&mut self, keeps: &dyn Fn(&Key) -> bool) {
        self.flush();
        self.early.retain(|key, _| keeps(key));
        let names = self.names();
        let mut stale = Vec::new();
        let walked = self.walker().walk(&mut |entry| {
            if let Some(key) = key_of(&entry, &names)
                && !keeps(&key)
            {
                stale.push(key);
            }
            ControlFlow::Continue(())
        });
        self.complain(walked);
        for key in stale {
            self.learn(Told::Gone(&key));
        }
        self.flush();
    }
}

/// Whether the server's replies come by the director.
const fn is_masqueraded(connection: &Connection) -> bool {
    let (.., method) = connection.server;
    matches!(method, Method::Nat)
}

/// Which flow an entry of the table is.
pub(super) fn key_of(entry: &Entry, names: &Names) -> Option<Key> {
    if entry.state == State::TEMPLATE {
        let (service, ..) = names.identity(entry.server)?;
        return Some(Key::Template {
            service: *service,
            client: entry.client.ip(),
        });
    }
    Some(Key::Flow {
        protocol: entry.protocol,
        client: entry.client,
        address: entry.address,
    })
}

/// Where others see how it goes.
#[derive(Debug, Clone, Default)]
pub struct Shown {
    status: Arc<Mutex<super::Status>>,
    daemons: Arc<Mutex<Option<Wanted>>>,
}

impl Shown {
    /// How it goes.
    #[must_use]
    pub fn get(&self) -> super::Status {
        *self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// It does not run.
    pub fn clear(&self) {
        self.set(super::Status::default());
    }

    pub(super) fn set(&self, status: super::Status) {
        *self.status.lock().unwrap_or_else(PoisonError::into_inner) = status;
    }

    /// These daemons are to speak the language of IPVS.
    pub fn want(&self, daemons: Option<Wanted>) {
        *self.daemons.lock().unwrap_or_else(PoisonError::into_inner) = daemons;
    }

    /// Those that do.
    #[must_use]
    pub fn daemons(&self, is_active: bool) -> Vec<SyncDaemonRow> {
        let daemons = self.daemons.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(wanted) = &*daemons else {
            return Vec::new();
        };
        let origin = match wanted {
            Wanted::ByRole(_) => Origin::File,
            Wanted::Said(_) => Origin::Command,
        };
        let row = |(role, daemon)| SyncDaemonRow {
            role,
            origin,
            daemon,
        };
        wanted.running(is_active).into_iter().map(row).collect()
    }
}
