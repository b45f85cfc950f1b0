//! What anybody may send about connections: messages of ours, a conversation that somebody changes on its way, and
//! messages of IPVS's own protocol.
#![no_main]

use std::{collections::BTreeMap, time::Duration};

use lb_control::{
    heartbeat::wire::Authentication,
    sync::{
        connection::{Connection, Item, Key},
        ipvs::message,
        machine::{Machine, Settings, Sink, Source, Told},
        seal::Keys,
        wire::{Role, Writer, items},
    },
};

/// So many flows at most; more are no other story.
const FLOWS: u8 = 32;

#[derive(Default)]
struct Flows(BTreeMap<Key, Connection>);

impl Source for Flows {
    fn current(&mut self, key: &Key) -> Option<Connection> {
        self.0.get(key).copied()
    }
}

impl Sink for Flows {
    fn learn(&mut self, told: Told<'_>) {
        match told {
            Told::Has(connection) => drop(self.0.insert(connection.key, *connection)),
            Told::Gone(key) => drop(self.0.remove(key)),
        }
    }

    fn retain(&mut self, keeps: &dyn Fn(&Key) -> bool) {
        self.0.retain(|key, _| keeps(key));
    }
}

struct Node {
    machine: Machine,
    flows: Flows,
}

impl Node {
    fn new(number: u64) -> Self {
        let keys = Keys {
            keys: Vec::new(),
            authentication: Authentication::Receive,
        };
        let mut next = number;
        let nonces = move || {
            next += 2;
            next
        };
        let settings = Settings::default();
        Self {
            machine: Machine::new(Duration::ZERO, settings, Box::new(keys), Box::new(nonces)),
            flows: Flows::default(),
        }
    }

    /// Everything that it has to say now.
    fn says(&mut self, now: Duration) -> Vec<Vec<u8>> {
        if let Some(_round) = self.machine.walking() {
            for key in self.flows.0.keys().take(self.machine.room(now)) {
                self.machine.walked(now, *key);
            }
            self.machine.walk_ended();
        }
        let mut said = Vec::new();
        while let Some(datagram) = self.machine.poll(now, &mut self.flows) {
            assert!(datagram.bytes.len() <= Settings::default().longest);
            said.push(datagram.bytes);
            assert!(said.len() < 10_000, "it never ends");
        }
        said
    }
}

/// Steps of four bytes: what happens, to whom, where, and what is changed there.
fn conversation(steps: &[u8]) {
    let mut nodes = [Node::new(1), Node::new(2)];
    let mut now = Duration::ZERO;
    let (steps, _) = steps.as_chunks::<4>();
    for [what, who, place, change] in steps {
        let who = usize::from(who & 1);
        match what % 4 {
            0 => {
                for mut datagram in nodes[who].says(now) {
                    let place = usize::from(*place) % datagram.len().max(1);
                    if let Some(byte) = datagram.get_mut(place) {
                        *byte ^= change;
                    }
                    let Node { machine, flows } = &mut nodes[1 - who];
                    let _ = machine.heard(now, &datagram, flows);
                    // What somebody makes up is of any size; what is kept is as much as was told.
                    flows.0.retain(|_, flow| flow.is_worth_telling());
                }
            }
            1 => now += Duration::from_millis(u64::from(*place) * 8),
            2 => {
                let role = if change & 1 == 0 { Role::Standby } else { Role::Active };
                nodes[who].machine.set_role(now, role);
            }
            _ => {
                let Some(connection) = flow(place % FLOWS, *change) else {
                    continue;
                };
                let Node { machine, flows } = &mut nodes[who];
                flows.0.insert(connection.key, connection);
                machine.changed(now, connection.key);
            }
        }
        for Node { machine, .. } in &nodes {
            let _ = (machine.deadline(), machine.figures(now));
        }
    }
}

/// A flow, as it is read from the wire.
fn flow(port: u8, state: u8) -> Option<Connection> {
    let entry = message::Entry {
        protocol: 6,
        client: ([198, 51, 100, 7], 40_000 + u16::from(port)).into(),
        address: ([192, 0, 2, 10], 80).into(),
        server: ([10, 0, 0, 1], 80).into(),
        flags: 0,
        state: 1,
        mark: 0,
        timeout: 900,
    };
    Some(Connection {
        key: Key::Flow {
            protocol: entry.protocol,
            client: entry.client,
            address: entry.address,
        },
        server: (
            "TCP 192.0.2.10:80".parse().ok()?,
            entry.server,
            lb_control::model::Method::Direct,
        ),
        state: match state & 1 {
            0 => lb_common::state::State::ESTABLISHED,
            _ => lb_common::state::State::TIME_WAIT,
        },
        timeout: entry.timeout,
        left: entry.timeout,
        translated: None,
    })
}

/// What is read of items is written and read as the same.
fn listed(bytes: &[u8]) {
    let Ok(read) = items(bytes) else { return };
    let mut writer = Writer::default();
    read.iter().for_each(|item: &Item| writer.item(item));
    assert_eq!(items(&writer.finish()).as_ref(), Ok(&read));
}

/// The same of the connections of IPVS.
fn of_ipvs(bytes: &[u8]) {
    for syncid in [0, 21] {
        let Ok((entries, _)) = message::decode(syncid, bytes) else {
            continue;
        };
        let written = message::encode(syncid, &entries);
        if let Ok((again, Ok(()))) = message::decode(syncid, &written) {
            assert_eq!(again.len(), entries.len().min(message::MOST));
        }
    }
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Some((kind, rest)) = data.split_first() else {
        return;
    };
    match kind % 4 {
        0 => conversation(rest),
        1 => {
            let mut node = Node::new(1);
            let sealed = [rest, &[0]].concat();
            let _ = node.machine.heard(Duration::ZERO, &sealed, &mut node.flows);
        }
        2 => of_ipvs(rest),
        _ => listed(rest),
    }
});
