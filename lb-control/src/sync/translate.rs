//! From the data plane's records to what directors tell each other, and back: numbers of this director become names
//! that both know, ticks become seconds.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use bytemuck::Zeroable as _;
use lb_common::{
    address::Address6,
    record::Record,
    state::{State, TICK_SHIFT, ticks},
    wire::Be16,
};

use super::connection::{Connection, Key, Names};
use crate::model::{Family, ServiceId};

/// Which flow a record is about; nothing if the service of a client that stays has no name.
#[must_use]
pub fn key(record: &Record, names: &Names) -> Option<Key> {
    let client = IpAddr::from(record.client);
    if record.protocol == 0 {
        let service = *names.service_of(record.service)?;
        return Some(Key::Template { service, client });
    }
    Some(Key::Flow {
        protocol: record.protocol,
        client: SocketAddr::new(client, record.client_port.get()),
        address: SocketAddr::new(record.address.into(), record.port.get()),
    })
}

/// What a record says; nothing if its real server has no name.
#[must_use]
pub fn connection(record: &Record, names: &Names) -> Option<Connection> {
    let key = key(record, names)?;
    let server = *names.identity(record.server)?;
    let translated = match key {
        Key::Flow { client, .. } => {
            let source = SocketAddr::new(record.source.into(), record.source_port.get());
            (source != client).then_some(source)
        }
        Key::Template { .. } => None,
    };
    let left = record.timeout.saturating_sub(record.silent);
    Some(Connection {
        key,
        server,
        state: record.state,
        timeout: seconds(record.timeout),
        left: seconds(left),
        translated,
    })
}

/// The record of a flow as far as its key says: to find its entry by.
#[must_use]
pub fn place(key: &Key, names: &Names) -> Option<Record> {
    let mut record = Record::zeroed();
    match key {
        Key::Flow {
            protocol,
            client,
            address,
        } => {
            record.protocol = *protocol;
            record.client = client.ip().into();
            record.client_port = Be16::new(client.port());
            record.address = address.ip().into();
            record.port = Be16::new(address.port());
            record.flags = family(client.ip());
        }
        Key::Template { service, client } => {
            record.service = names.service(service)?;
            record.client = (*client).into();
            let (address, port) = match service {
                ServiceId::Address(key) => (key.address, key.port),
                ServiceId::Mark {
                    family: Family::Ipv4,
                    ..
                } => (Ipv4Addr::UNSPECIFIED.into(), 0),
                ServiceId::Mark {
                    family: Family::Ipv6,
                    ..
                } => (Ipv6Addr::UNSPECIFIED.into(), 0),
            };
            record.address = address.into();
            record.port = Be16::new(port);
            record.flags = family(*client);
        }
    }
    record.source = record.client;
    record.source_port = record.client_port;
    Some(record)
}

/// The record of a flow; nothing if its service or its real server has no number here.
#[must_use]
pub fn record(connection: &Connection, names: &Names) -> Option<Record> {
    let mut record = place(&connection.key, names)?;
    record.server = names.server(&connection.server)?;
    record.state = connection.state;
    // A year is longer than any flow is silent, and fits the clock of flows many times.
    let timeout = ticks(connection.timeout.min(LONGEST));
    record.timeout = timeout.max(1);
    record.silent = timeout.saturating_sub(ticks(connection.left.min(LONGEST)));
    if let Some(source) = connection.translated {
        record.source = Address6::from(source.ip());
        record.source_port = Be16::new(source.port());
    }
    debug_assert!((record.state == State::TEMPLATE) == (record.protocol == 0));
    Some(record)
}

/// The longest time that is taken over, in seconds: the clock of flows wraps after 52 days, and tells the past from the
/// future by half of that.
const LONGEST: u32 = 25 * 24 * 3_600;

const fn family(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => 0,
        IpAddr::V6(_) => Record::IPV6,
    }
}

/// Rounded up, so that nothing is over before its time.
const fn seconds(ticks: u32) -> u32 {
    let nanoseconds = (ticks as u64) << TICK_SHIFT;
    nanoseconds.div_ceil(1_000_000_000) as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::connection::{Item, testing::all_kinds};

    #[test]
    fn what_is_told_becomes_a_record_and_the_same_again() {
        let kinds = all_kinds();
        let connections = kinds.iter().filter_map(|item| match item {
            Item::Has(connection) => Some(connection),
            Item::Gone(_) | Item::Begin(_) | Item::Complete(_) => None,
        });
        // On two directors the numbers are others.
        for (first, step) in [(1, 1), (900, 7)] {
            let names = Names::new(
                1,
                connections
                    .clone()
                    .map(|it| it.server)
                    .zip((first..).step_by(step)),
                connections
                    .clone()
                    .map(|it| it.server.0)
                    .zip((first..).step_by(step)),
            );
            for told in connections.clone() {
                let record = record(told, &names).unwrap();
                assert_eq!(connection(&record, &names), Some(*told));
                assert_eq!(key(&record, &names), Some(told.key));
                let place = place(&told.key, &names).unwrap();
                assert_eq!(
                    (
                        place.client,
                        place.client_port,
                        place.protocol,
                        place.service,
                        place.flags
                    ),
                    (
                        record.client,
                        record.client_port,
                        record.protocol,
                        record.service,
                        record.flags
                    )
                );
            }
        }
    }

    #[test]
    fn what_has_no_name_here_is_nothing() {
        let Item::Has(told) = all_kinds()[1] else {
            panic!("a flow")
        };
        let nobody = Names::default();
        assert_eq!(record(&told, &nobody), None);
        let names = Names::new(1, [(told.server, 5)], []);
        let record = record(&told, &names).unwrap();
        assert_eq!(connection(&record, &nobody), None);
    }
}
