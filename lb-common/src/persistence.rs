//! Persistence: a client stays with the real server that it got. What is remembered is a template, an
//! entry of the flow table as in IPVS, whose key no packet has.
//!
//! A template lives while flows of its client do, and for the service's time after that: the
//! sweeper touches it whenever it finds one of them alive.

use crate::{
    address::Address6,
    family::Family,
    flow::{Flow, FlowKey},
    maps::{NextHop, Persistence, Server, Service, Settings},
    parse::Frame,
    record,
    room::NewFlow,
    state::State,
    tables::{FlowEntry, FlowTable, Inserted, Queue, Tables},
    wire::Be16,
};

/// The real server that the client of `frame` stays with. The key of its template is left in
/// `room.other`.
#[inline(always)]
pub fn remembered<F: Family, T: Tables + FlowTable<F>>(
    tables: &T,
    service: &Service,
    frame: &Frame<'_, F>,
    room: &mut NewFlow<F::Address>,
    now: u32,
) -> Option<u32> {
    let persistence = tables.persistence(service.id)?;
    room.other = template_key::<F>(service.id, &frame.key.source, persistence);
    let entry = tables.find(&room.other)?;
    let template = entry.get();
    if template.state != State::TEMPLATE || template.is_expired(now) {
        return None;
    }
    let server = tables.server(template.server)?;
    let may_stay = server.weight > 0 || tables.is_set(Settings::KEEP_TEMPLATES);
    if !server.is_present() || server.service != service.id || !may_stay {
        return None;
    }
    entry.touch(now);
    Some(template.server)
}

/// Lets the client of `frame` stay with the real server `id`. Without room it does not: that is no
/// reason to refuse it.
#[inline(always)]
pub fn remember<F: Family, T: Tables + FlowTable<F>>(
    tables: &T,
    service: &Service,
    frame: &Frame<'_, F>,
    id: u32,
    room: &mut NewFlow<F::Address>,
    now: u32,
) {
    let Some(persistence) = tables.persistence(service.id) else {
        return;
    };
    let NewFlow { flow, other, .. } = room;
    *other = template_key::<F>(service.id, &frame.key.source, persistence);
    *flow = Flow {
        state: State::TEMPLATE,
        seen: now,
        timeout: persistence.timeout,
        server: id,
        way_back: NextHop::NONE,
        virtual_port: frame.key.destination_port,
        client_port: Be16::new(0),
        virtual_address: frame.key.destination,
        client_address: other.source,
    };
    put(tables, other, flow);
}

/// Puts a template into the table, if need be in the place of another. Whether it is there now.
#[inline(always)]
pub(crate) fn put<F: Family, T: Tables + FlowTable<F>>(
    tables: &T,
    key: &FlowKey<F::Address>,
    template: &Flow<F::Address>,
) -> bool {
    let is_there = if let Some(entry) = tables.find(key) {
        // It has ended, or its server may not be had any more. It keeps its place in the queue.
        let old = entry.get();
        if !entry.advance(State::TEMPLATE, State::RETIRED, 0) {
            return false;
        }
        FlowTable::<F>::changed(tables, old.server, Some(State::TEMPLATE), None);
        tables.replace(key, template) == Inserted::Yes
    } else if tables.insert(key, template) == Inserted::Yes {
        tables.enqueue(Queue::Standing, key) == Inserted::Yes
    } else {
        return false;
    };
    if is_there {
        FlowTable::<F>::changed(tables, template.server, None, Some(State::TEMPLATE));
        record::tell(tables, key, None, Some(State::TEMPLATE));
    } else {
        tables.remove(key);
    }
    is_there
}

/// Keeps the template alive that the flow `key` of `server` belongs to. `other` is room for its
/// key.
#[inline(always)]
pub fn keep_alive<F: Family, T: Tables + FlowTable<F>>(
    tables: &T,
    server: &Server,
    id: u32,
    key: &FlowKey<F::Address>,
    other: &mut FlowKey<F::Address>,
    now: u32,
) {
    let Some(persistence) = tables.persistence(server.service) else {
        return;
    };
    if persistence.timeout == 0 {
        return;
    }
    *other = template_key::<F>(server.service, &key.source, persistence);
    if let Some(entry) = tables.find(other) {
        let template = entry.get();
        if template.state == State::TEMPLATE && template.server == id {
            entry.touch(now);
        }
    }
}

/// The key of the template of a client.
#[inline(always)]
fn template_key<F: Family>(
    service: u32,
    client: &F::Address,
    persistence: &Persistence,
) -> FlowKey<F::Address> {
    key_of::<F>(service, F::masked(client, &persistence.mask))
}

/// The key of a template: the client's network and the service's id, in a protocol that there is not.
#[must_use]
#[inline(always)]
pub fn key_of<F: Family>(service: u32, network: F::Address) -> FlowKey<F::Address> {
    FlowKey::new(
        network,
        F::narrow(&Address6::default()),
        Be16::new((service >> 16) as u16),
        Be16::new(service as u16),
        0,
    )
}

/// The service's id in such a key.
#[must_use]
#[inline(always)]
pub const fn service_of<A>(key: &FlowKey<A>) -> u32 {
    (key.source_port.get() as u32) << 16 | key.destination_port.get() as u32
}
