//! What was changed by command, besides what lvs.cf says.
//!
//! The table is always `changes.apply(file)`: lvs.cf with the changes on top. So a reload keeps them, a change
//! that the file says too is none any more, and what was changed can be told from what is written. A list of
//! changes is made on a copy, which takes the place of the original if all of them could be made.

mod rules;

use std::{
    collections::{BTreeMap, HashMap},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use serde::{Deserialize, Serialize};

use crate::{
    control::change::{Change, Refused, ServerTerms, ServiceTerms, Why},
    model::{
        Forwarding, Origin, Persistence, RealServer, Scheduler, SchedulerFlags, Selector,
        ServiceId, Site, Timeouts, VirtualService,
    },
    sync::ipvs::daemon::{SyncDaemon, SyncDaemons, SyncRole},
};

/// What was changed by command.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct RuntimeChanges {
    services: BTreeMap<ServiceId, ServiceChange>,
    #[serde(default)]
    timeouts: TimeoutsChange,
    #[serde(default)]
    sync_daemons: SyncDaemons,
    /// How many servers and services were added: the order in which they stand in the table.
    #[serde(default)]
    added: u64,
}

/// What was changed of a virtual service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum ServiceChange {
    /// It is in lvs.cf, and is not to be.
    Removed,
    /// It is in lvs.cf, and is to be different.
    Edited {
        terms: ServiceTerms,
        servers: BTreeMap<SocketAddr, ServerChange>,
    },
    /// It is not in lvs.cf.
    Own {
        order: u64,
        terms: ServiceTerms,
        servers: BTreeMap<SocketAddr, ServerChange>,
    },
}

/// What was changed of a real server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum ServerChange {
    /// It is in lvs.cf, and is not to be.
    Removed,
    /// It is in lvs.cf, and is to be different.
    Edited(ServerTerms),
    /// It is not in lvs.cf.
    Own { order: u64, terms: ServerTerms },
}

/// Timeouts in seconds, where they were changed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
struct TimeoutsChange {
    tcp: Option<u32>,
    tcp_fin: Option<u32>,
    udp: Option<u32>,
}

impl RuntimeChanges {
    /// Whether the table is what lvs.cf says.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.services.is_empty()
            && self.timeouts == TimeoutsChange::default()
            && self.sync_daemons.is_empty()
    }

    /// The table: what lvs.cf says, with the changes on top.
    #[must_use]
    pub fn apply(&self, file: &Site) -> Site {
        let mut services = Vec::with_capacity(file.services.len());
        for service in &file.services {
            match self.services.get(&service.key) {
                None | Some(ServiceChange::Own { .. }) => services.push(Arc::clone(service)),
                Some(ServiceChange::Removed) => {}
                Some(ServiceChange::Edited { terms, servers }) => {
                    services.push(edited(service, terms, servers));
                }
            }
        }
        let mut own: Vec<_> = self
            .services
            .iter()
            .filter_map(|(key, change)| match change {
                ServiceChange::Own {
                    order,
                    terms,
                    servers,
                } => Some((order, own(*key, terms, servers))),
                ServiceChange::Removed | ServiceChange::Edited { .. } => None,
            })
            .collect();
        own.sort_by_key(|(order, _)| **order);
        services.extend(own.into_iter().map(|(_, service)| service));
        Site {
            services,
            failovers: file.failovers.clone(),
            timeouts: self.timeouts.apply(file.timeouts),
            addresses: file.addresses.clone(),
            settings: file.settings.clone(),
            sync_daemons: self.sync_daemons.clone(),
        }
    }

    /// Makes all of the changes, or none.
    ///
    /// # Errors
    /// [`Refused`] names the first that cannot be made.
    pub fn make(&mut self, file: &Site, changes: &[Change]) -> Result<(), Refused> {
        let known = file.services.iter();
        let mut making = Making {
            file: known.map(|service| (service.key, &**service)).collect(),
            file_syncs: file.settings.sync,
            is_cleared: false,
            changes: self.clone(),
        };
        for (index, change) in changes.iter().enumerate() {
            making.make(change).map_err(|(why, text)| Refused {
                index: Some(index),
                why,
                text,
            })?;
        }
        let mut made = making.changes;
        made.settle(file);
        rules::claims(&made.apply(file)).map_err(|text| Refused {
            index: None,
            why: Why::Invalid,
            text,
        })?;
        *self = made;
        Ok(())
    }

    /// lvs.cf is another one now: changes of what is no longer in it, and those that it says itself, are
    /// none any more.
    pub fn settle(&mut self, file: &Site) {
        let known: HashMap<_, _> = file
            .services
            .iter()
            .map(|service| (service.key, service))
            .collect();
        let mut adopted = Vec::new();
        self.services
            .retain(|key, change| match (known.get(key), &mut *change) {
                (None, ServiceChange::Own { .. }) => true,
                (None, ServiceChange::Removed | ServiceChange::Edited { .. }) => false,
                (Some(_), ServiceChange::Removed) => true,
                (Some(service), ServiceChange::Edited { terms, servers }) => {
                    servers.retain(|socket, change| is_change(service, socket, change));
                    !Arc::ptr_eq(&edited(service, terms, servers), service)
                }
                // It has come into the file meanwhile. What was said of it holds.
                (Some(service), ServiceChange::Own { terms, servers, .. }) => {
                    adopted.push((*key, adopt(service, terms, servers)));
                    false
                }
            });
        for (key, change) in adopted {
            self.services.insert(key, change);
        }
        self.timeouts.settle(&file.timeouts);
        if file.settings.sync {
            self.sync_daemons.clear();
        }
    }
}

/// Whether something is said of a server that lvs.cf does not say.
fn is_change(service: &VirtualService, socket: &SocketAddr, change: &mut ServerChange) -> bool {
    let in_file = service.servers.iter().find(|one| one.socket == *socket);
    match (in_file, &*change) {
        (None, ServerChange::Own { .. }) | (Some(_), ServerChange::Removed) => true,
        (None, ServerChange::Removed | ServerChange::Edited(_)) => false,
        (Some(server), ServerChange::Edited(terms) | ServerChange::Own { terms, .. }) => {
            let is_change = with_terms(server, terms) != *server;
            *change = ServerChange::Edited(terms.clone());
            is_change
        }
    }
}

/// A service that was added by command is in lvs.cf now: its terms become an edit.
fn adopt(
    service: &VirtualService,
    terms: &ServiceTerms,
    servers: &BTreeMap<SocketAddr, ServerChange>,
) -> ServiceChange {
    let mut servers = servers.clone();
    servers.retain(|socket, change| is_change(service, socket, change));
    ServiceChange::Edited {
        terms: complete(terms),
        servers,
    }
}

/// A list of changes that is being made.
struct Making<'a> {
    file: HashMap<ServiceId, &'a VirtualService>,
    /// Connections are synchronised as lvs.cf says.
    file_syncs: bool,
    /// The list has taken everything away: what it says after that is what there is to be.
    is_cleared: bool,
    changes: RuntimeChanges,
}

type Outcome = Result<(), (Why, String)>;

impl Making<'_> {
    fn make(&mut self, change: &Change) -> Outcome {
        match change {
            Change::AddService { service, terms } => self.add_service(*service, terms),
            Change::EditService { service, terms } => self.edit_service(*service, terms),
            Change::RemoveService { service } => self.remove_service(*service),
            Change::AddServer {
                service,
                server,
                terms,
            } => self.add_server(*service, *server, terms),
            Change::EditServer {
                service,
                server,
                terms,
            } => self.edit_server(*service, *server, terms),
            Change::RemoveServer { service, server } => self.remove_server(*service, *server),
            Change::Clear => {
                self.clear();
                Ok(())
            }
            Change::SetTimeouts { tcp, tcp_fin, udp } => {
                self.changes.timeouts.set(*tcp, *tcp_fin, *udp);
                Ok(())
            }
            // Counters are none of ours; that there is such a service is.
            Change::Zero { service } => match service {
                Some(service) if !self.has(*service) => Err(no_service(*service)),
                Some(_) | None => Ok(()),
            },
            Change::StartSyncDaemon { role, daemon } => self.start_daemon(*role, daemon),
            Change::StopSyncDaemon { role } => match self.changes.sync_daemons.remove(role) {
                Some(_) => Ok(()),
                None if self.file_syncs => {
                    let text = "connections are synchronized as lvs.cf says (`syncdaemon = 1`)";
                    Err((Why::Failed, text.to_owned()))
                }
                None => {
                    let text = format!("there is no {} sync daemon", role.name());
                    Err((Why::NoDaemon, text))
                }
            },
            Change::Revert => {
                let added = self.changes.added;
                self.changes = RuntimeChanges {
                    added,
                    ..RuntimeChanges::default()
                };
                Ok(())
            }
        }
    }

    fn start_daemon(&mut self, role: SyncRole, daemon: &SyncDaemon) -> Outcome {
        if self.file_syncs {
            let text = "connections are synchronized as lvs.cf says (`syncdaemon = 1`)";
            return Err((Why::DaemonRuns, text.to_owned()));
        }
        if let Some(running) = self.changes.sync_daemons.get(&role)
            && !(self.is_cleared && running == daemon)
        {
            let text = format!("there is a {} sync daemon: {running}", role.name());
            return Err((Why::DaemonRuns, text));
        }
        rules::sync_daemon(daemon)?;
        self.changes.sync_daemons.insert(role, daemon.clone());
        Ok(())
    }

    fn has(&self, service: ServiceId) -> bool {
        match self.changes.services.get(&service) {
            Some(ServiceChange::Removed) => false,
            Some(ServiceChange::Edited { .. } | ServiceChange::Own { .. }) => true,
            None => self.file.contains_key(&service),
        }
    }

    fn add_service(&mut self, service: ServiceId, terms: &ServiceTerms) -> Outcome {
        if self.has(service) {
            let text = format!("there is a service {service} already");
            return Err((Why::ServiceExists, text));
        }
        rules::service(service, terms)?;
        let change = match self.file.get(&service) {
            // It was removed and comes back. What ipvsadm does not know of stays as lvs.cf has it.
            Some(base) => ServiceChange::Edited {
                terms: complete(terms),
                servers: base
                    .servers
                    .iter()
                    .map(|server| (server.socket, ServerChange::Removed))
                    .collect(),
            },
            None => ServiceChange::Own {
                order: self.next(),
                terms: terms.clone(),
                servers: BTreeMap::new(),
            },
        };
        self.changes.services.insert(service, change);
        Ok(())
    }

    fn edit_service(&mut self, service: ServiceId, terms: &ServiceTerms) -> Outcome {
        let (said, _) = self.service(service).ok_or_else(|| no_service(service))?;
        let merged = merge(said, terms);
        rules::service(service, &merged)?;
        *said = merged;
        Ok(())
    }

    fn remove_service(&mut self, service: ServiceId) -> Outcome {
        if !self.has(service) {
            return Err(no_service(service));
        }
        if self.file.contains_key(&service) {
            let changes = &mut self.changes.services;
            changes.insert(service, ServiceChange::Removed);
        } else {
            self.changes.services.remove(&service);
        }
        Ok(())
    }

    fn clear(&mut self) {
        let removed = self.file.keys().map(|key| (*key, ServiceChange::Removed));
        self.changes.services = removed.collect();
        self.is_cleared = true;
    }

    fn add_server(
        &mut self,
        service: ServiceId,
        server: SocketAddr,
        terms: &ServerTerms,
    ) -> Outcome {
        let base = self.in_file(service, server);
        let order = self.next();
        let forwarding = self.forwarding(service);
        let (_, servers) = self.service(service).ok_or_else(|| no_service(service))?;
        let is_there = match servers.get(&server) {
            Some(ServerChange::Removed) => false,
            Some(ServerChange::Edited(_) | ServerChange::Own { .. }) => true,
            None => base,
        };
        if is_there {
            let text = format!("{service} has a server {server} already");
            return Err((Why::ServerExists, text));
        }
        rules::server(service, server, terms, forwarding)?;
        let change = if base {
            ServerChange::Edited(complete_server(terms, forwarding))
        } else {
            let terms = terms.clone();
            ServerChange::Own { order, terms }
        };
        servers.insert(server, change);
        Ok(())
    }

    fn edit_server(
        &mut self,
        service: ServiceId,
        server: SocketAddr,
        terms: &ServerTerms,
    ) -> Outcome {
        let base = self.in_file(service, server);
        let forwarding = self.forwarding(service);
        let (_, servers) = self.service(service).ok_or_else(|| no_service(service))?;
        let missing = || no_server(service, server);
        match servers.get_mut(&server) {
            Some(ServerChange::Edited(said) | ServerChange::Own { terms: said, .. }) => {
                let merged = merge_server(said, terms);
                rules::server(service, server, &merged, forwarding)?;
                *said = merged;
            }
            None if base => {
                rules::server(service, server, terms, forwarding)?;
                servers.insert(server, ServerChange::Edited(terms.clone()));
            }
            Some(ServerChange::Removed) | None => return Err(missing()),
        }
        Ok(())
    }

    fn remove_server(&mut self, service: ServiceId, server: SocketAddr) -> Outcome {
        let base = self.in_file(service, server);
        let (_, servers) = self.service(service).ok_or_else(|| no_service(service))?;
        match servers.get(&server) {
            Some(ServerChange::Edited(_)) => {
                servers.insert(server, ServerChange::Removed);
            }
            Some(ServerChange::Own { .. }) => {
                servers.remove(&server);
            }
            None if base => {
                servers.insert(server, ServerChange::Removed);
            }
            Some(ServerChange::Removed) | None => return Err(no_server(service, server)),
        }
        Ok(())
    }

    /// What is said of a service; `None` if there is none.
    fn service(
        &mut self,
        service: ServiceId,
    ) -> Option<(&mut ServiceTerms, &mut BTreeMap<SocketAddr, ServerChange>)> {
        if !self.has(service) {
            return None;
        }
        let change = self.changes.services.entry(service);
        let change = change.or_insert_with(|| ServiceChange::Edited {
            terms: ServiceTerms::default(),
            servers: BTreeMap::new(),
        });
        match change {
            ServiceChange::Edited { terms, servers }
            | ServiceChange::Own { terms, servers, .. } => Some((terms, servers)),
            ServiceChange::Removed => None,
        }
    }

    /// Whether lvs.cf has this server.
    fn in_file(&self, service: ServiceId, server: SocketAddr) -> bool {
        let base = self.file.get(&service);
        base.is_some_and(|base| base.servers.iter().any(|one| one.socket == server))
    }

    /// How packets reach servers of which nothing else is said.
    fn forwarding(&self, service: ServiceId) -> Forwarding {
        let said = match self.changes.services.get(&service) {
            Some(ServiceChange::Edited { terms, .. } | ServiceChange::Own { terms, .. }) => {
                terms.forwarding
            }
            Some(ServiceChange::Removed) | None => None,
        };
        let base = self.file.get(&service).map(|base| base.forwarding);
        said.or(base).unwrap_or(DEFAULT_FORWARDING)
    }

    const fn next(&mut self) -> u64 {
        self.changes.added += 1;
        self.changes.added
    }
}

/// As with ipvsadm.
const DEFAULT_FORWARDING: Forwarding = Forwarding::Direct;

fn no_service(service: ServiceId) -> (Why, String) {
    (Why::NoService, format!("there is no service {service}"))
}

fn no_server(service: ServiceId, server: SocketAddr) -> (Why, String) {
    let text = format!("{service} has no server {server}");
    (Why::NoServer, text)
}

/// What is said now, with what is said later on top.
fn merge(now: &ServiceTerms, later: &ServiceTerms) -> ServiceTerms {
    let ServiceTerms {
        name,
        scheduler,
        flags,
        persistent,
        mask,
        engine,
        one_packet,
        matches,
        forwarding,
        refuse,
        drain,
        sorry_server,
    } = later.clone();
    let now = now.clone();
    ServiceTerms {
        name: name.or(now.name),
        // Flags are those of a scheduler.
        flags: flags.or(match (scheduler, now.scheduler) {
            (Some(other), Some(before)) if other != before => Some(SchedulerFlags::default()),
            (Some(_) | None, _) => now.flags,
        }),
        scheduler: scheduler.or(now.scheduler),
        persistent: persistent.or(now.persistent),
        mask: mask.or(now.mask),
        engine: engine.or(now.engine),
        one_packet: one_packet.or(now.one_packet),
        matches: matches.or(now.matches),
        forwarding: forwarding.or(now.forwarding),
        refuse: refuse.or(now.refuse),
        drain: drain.or(now.drain),
        sorry_server: sorry_server.or(now.sorry_server),
    }
}

fn merge_server(now: &ServerTerms, later: &ServerTerms) -> ServerTerms {
    let ServerTerms {
        name,
        forwarding,
        weight,
        upper,
        lower,
    } = later.clone();
    ServerTerms {
        name: name.or_else(|| now.name.clone()),
        forwarding: forwarding.or(now.forwarding),
        weight: weight.or(now.weight),
        upper: upper.or(now.upper),
        lower: lower.or(now.lower),
    }
}

/// Everything that ipvsadm says of a service, with its defaults for what is left out.
fn complete(terms: &ServiceTerms) -> ServiceTerms {
    ServiceTerms {
        scheduler: terms.scheduler.or(Some(Scheduler::Wlc)),
        flags: terms.flags.or(Some(SchedulerFlags::default())),
        persistent: terms.persistent.or(Some(0)),
        engine: terms.engine.clone().or(Some(String::new())),
        one_packet: terms.one_packet.or(Some(false)),
        ..terms.clone()
    }
}

/// The same of a real server.
fn complete_server(terms: &ServerTerms, forwarding: Forwarding) -> ServerTerms {
    ServerTerms {
        name: terms.name.clone(),
        forwarding: terms.forwarding.or(Some(forwarding)),
        weight: terms.weight.or(Some(1)),
        upper: terms.upper.or(Some(0)),
        lower: terms.lower.or(Some(0)),
    }
}

/// A service of lvs.cf as it is by command; the same if that is no difference.
fn edited(
    base: &Arc<VirtualService>,
    terms: &ServiceTerms,
    changes: &BTreeMap<SocketAddr, ServerChange>,
) -> Arc<VirtualService> {
    let mut service = say(VirtualService::clone(base), terms);
    let mut servers = Vec::with_capacity(base.servers.len());
    for server in &base.servers {
        match changes.get(&server.socket) {
            None => servers.push(server.clone()),
            Some(ServerChange::Removed) => {}
            Some(ServerChange::Edited(terms) | ServerChange::Own { terms, .. }) => {
                servers.push(with_terms(server, terms));
            }
        }
    }
    servers.extend(own_servers(&service, changes));
    service.servers = servers;
    if service == **base {
        return Arc::clone(base);
    }
    service.origin = Origin::Edited;
    Arc::new(service)
}

/// A service that lvs.cf does not have.
fn own(
    key: ServiceId,
    terms: &ServiceTerms,
    changes: &BTreeMap<SocketAddr, ServerChange>,
) -> Arc<VirtualService> {
    let selectors = match key {
        ServiceId::Address(address) => vec![Selector::single(address)],
        ServiceId::Mark { .. } => Vec::new(),
    };
    let new = VirtualService {
        origin: Origin::Command,
        forwarding: DEFAULT_FORWARDING,
        ..VirtualService::unwatched(&key.to_string(), key, selectors)
    };
    let mut service = say(new, terms);
    service.servers = own_servers(&service, changes);
    Arc::new(service)
}

/// The servers that lvs.cf does not have, in the order in which they were added.
fn own_servers(
    service: &VirtualService,
    changes: &BTreeMap<SocketAddr, ServerChange>,
) -> Vec<RealServer> {
    let mut own: Vec<_> = changes
        .iter()
        .filter_map(|(socket, change)| match change {
            ServerChange::Own { order, terms } => Some((order, socket, terms)),
            ServerChange::Removed | ServerChange::Edited(_) => None,
        })
        .collect();
    own.sort_by_key(|(order, ..)| **order);
    let server = |(_, socket, terms): (_, &SocketAddr, _)| {
        let port = match socket.port() {
            0 => service.port(),
            port => port,
        };
        let new = RealServer {
            check_port: port,
            origin: Origin::Command,
            ..RealServer::new(&socket.to_string(), *socket, service.forwarding, 1)
        };
        RealServer {
            origin: Origin::Command,
            ..with_terms(&new, terms)
        }
    };
    own.into_iter().map(server).collect()
}

/// A service with other terms.
fn say(mut service: VirtualService, terms: &ServiceTerms) -> VirtualService {
    let ServiceTerms {
        name,
        scheduler,
        flags,
        persistent,
        mask,
        engine,
        one_packet,
        matches,
        forwarding,
        refuse,
        drain,
        sorry_server,
    } = terms.clone();
    service.name = name.unwrap_or(service.name);
    let scheduler = scheduler.unwrap_or(service.scheduler);
    service.flags = flags.unwrap_or(match scheduler == service.scheduler {
        true => service.flags,
        false => SchedulerFlags::default(),
    });
    service.scheduler = scheduler;
    service.one_packet = one_packet.unwrap_or(service.one_packet);
    service.forwarding = forwarding.unwrap_or(service.forwarding);
    service.refusal = refuse.unwrap_or(service.refusal);
    service.sorry_server = sorry_server.or(service.sorry_server);
    if let Some(engine) = engine {
        service.engine = Some(engine).filter(|engine| !engine.is_empty());
    }
    if let Some(seconds) = drain {
        service.drain = Duration::from_secs(seconds.into());
    }
    if let (Some(matches), ServiceId::Mark { .. }) = (matches, service.key) {
        service.selectors = matches;
        service.selectors.sort_unstable();
    }
    let before = service.persistence;
    let timeout = match persistent {
        Some(seconds) => Duration::from_secs(seconds.into()),
        None => before.map_or(Duration::ZERO, |before| before.timeout),
    };
    let all_ones = rules::all_ones(service.key.family());
    // Who says how long and not which mask, means all ones, as with ipvsadm.
    let kept = before.filter(|_| persistent.is_none());
    let mask = mask.unwrap_or(kept.map_or(all_ones, |before| before.mask));
    service.persistence = (!timeout.is_zero()).then_some(Persistence { timeout, mask });
    service
}

/// A server with other terms.
fn with_terms(server: &RealServer, terms: &ServerTerms) -> RealServer {
    let changed = RealServer {
        name: terms.name.clone().unwrap_or_else(|| server.name.clone()),
        forwarding: terms.forwarding.unwrap_or(server.forwarding),
        weight: terms.weight.unwrap_or(server.weight),
        upper: terms.upper.unwrap_or(server.upper),
        lower: terms.lower.unwrap_or(server.lower),
        ..server.clone()
    };
    if changed == *server {
        return changed;
    }
    RealServer {
        origin: Origin::Edited,
        ..changed
    }
}

impl TimeoutsChange {
    /// 0 leaves one as it is.
    fn set(&mut self, tcp: u32, tcp_fin: u32, udp: u32) {
        let said = |seconds: u32| Some(seconds).filter(|seconds| *seconds != 0);
        self.tcp = said(tcp).or(self.tcp);
        self.tcp_fin = said(tcp_fin).or(self.tcp_fin);
        self.udp = said(udp).or(self.udp);
    }

    fn apply(&self, file: Timeouts) -> Timeouts {
        let seconds = |seconds: u32| Duration::from_secs(seconds.into());
        Timeouts {
            tcp: self.tcp.map_or(file.tcp, seconds),
            tcp_fin: self.tcp_fin.map_or(file.tcp_fin, seconds),
            udp: self.udp.map_or(file.udp, seconds),
        }
    }

    fn settle(&mut self, file: &Timeouts) {
        let differs =
            |seconds: &u32, time: Duration| Duration::from_secs((*seconds).into()) != time;
        self.tcp = self.tcp.filter(|seconds| differs(seconds, file.tcp));
        self.tcp_fin = self
            .tcp_fin
            .filter(|seconds| differs(seconds, file.tcp_fin));
        self.udp = self.udp.filter(|seconds| differs(seconds, file.udp));
    }
}

#[cfg(test)]
mod tests;
