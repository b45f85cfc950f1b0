//! What directors tell each other of one flow. Nothing in it is a number of one director: a service is known by
//! its address or mark, a real server by its service, its socket and its method.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
};

use lb_common::state::State;

use crate::{ids::Identity, model::ServiceId};

/// Which flow it is, or which client that stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Key {
    /// A flow, by the packets of its client.
    Flow {
        /// The number of its protocol.
        protocol: u8,
        /// The client.
        client: SocketAddr,
        /// What it talks to; of the client's family.
        address: SocketAddr,
    },
    /// A client that stays with its server.
    Template {
        /// The service with which it does.
        service: ServiceId,
        /// The client's network: its address, masked.
        client: IpAddr,
    },
}

/// A flow as it is at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Connection {
    /// Which one.
    pub key: Key,
    /// The real server that it got, and the service whose server that is.
    pub server: Identity,
    /// Its state; [`State::TEMPLATE`] of a client that stays.
    pub state: State,
    /// How long it may be silent in this state, in seconds.
    pub timeout: u32,
    /// Seconds until it is forgotten if nothing comes; no more than `timeout`.
    pub left: u32,
    /// The source that its server sees, if that is not the client: full NAT.
    pub translated: Option<SocketAddr>,
}

impl Connection {
    /// Whether it is worth telling. A flow that does not stand yet begins anew with the client's next try.
    #[must_use]
    pub const fn is_worth_telling(&self) -> bool {
        self.state.0 == State::TEMPLATE.0
            || (!self.state.is_half_open()
                && self.state.0 != State::REPLY.0
                && self.state.0 != State::RETIRED.0)
    }
}

/// One thing that is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Item {
    /// There is such a flow, and this is how it is.
    Has(Connection),
    /// There is no such flow, or none that stands.
    Gone(Key),
    /// From here on everything that there is will be told.
    Begin(u32),
    /// Everything was told since [`Item::Begin`] with the same number. What was not, there is not.
    Complete(u32),
}

/// Whose the numbers are that services and real servers have on this director.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Names {
    /// Which state of the reconciler's numbers this is.
    pub version: u64,
    identities: HashMap<u32, Identity>,
    servers: HashMap<Identity, u32>,
    services: HashMap<ServiceId, u32>,
    numbers: HashMap<u32, ServiceId>,
}

impl Names {
    /// These servers and services have these numbers.
    #[must_use]
    pub fn new(
        version: u64,
        servers: impl IntoIterator<Item = (Identity, u32)>,
        services: impl IntoIterator<Item = (ServiceId, u32)>,
    ) -> Self {
        let mut names = Self {
            version,
            ..Self::default()
        };
        for (identity, id) in servers {
            names.identities.insert(id, identity);
            names.servers.insert(identity, id);
        }
        for (service, id) in services {
            names.numbers.insert(id, service);
            names.services.insert(service, id);
        }
        names
    }

    /// Whose number this is.
    #[must_use]
    pub fn identity(&self, server: u32) -> Option<&Identity> {
        self.identities.get(&server)
    }

    /// The number of a real server.
    #[must_use]
    pub fn server(&self, identity: &Identity) -> Option<u32> {
        self.servers.get(identity).copied()
    }

    /// The number of a service.
    #[must_use]
    pub fn service(&self, service: &ServiceId) -> Option<u32> {
        self.services.get(service).copied()
    }

    /// Which service has this number.
    #[must_use]
    pub fn service_of(&self, number: u32) -> Option<&ServiceId> {
        self.numbers.get(&number)
    }

    /// All real servers.
    pub fn identities(&self) -> impl Iterator<Item = &Identity> {
        self.servers.keys()
    }
}

#[cfg(test)]
pub(super) mod testing {
    use lb_common::wire::protocol;

    use super::*;
    use crate::model::Method;

    /// A flow of TCP: the client has this number, and the state is that.
    pub(crate) fn flow(client: u16, state: State) -> Connection {
        let service: ServiceId = "TCP 192.0.2.10:80".parse().unwrap();
        Connection {
            key: key(client),
            server: (service, "10.0.0.1:8080".parse().unwrap(), Method::Nat),
            state,
            timeout: 900,
            left: 899,
            translated: None,
        }
    }

    /// Its key.
    pub(crate) fn key(client: u16) -> Key {
        Key::Flow {
            protocol: protocol::TCP,
            client: SocketAddr::new([198, 51, 100, 7].into(), client),
            address: "192.0.2.10:80".parse().unwrap(),
        }
    }

    /// One of each kind.
    pub(crate) fn all_kinds() -> Vec<Item> {
        let group: ServiceId = "FWM 7 IPv6".parse().unwrap();
        let stays = Key::Template {
            service: group,
            client: "2001:db8::".parse().unwrap(),
        };
        let v6 = Connection {
            key: Key::Flow {
                protocol: protocol::UDP,
                client: "[2001:db8::7]:4321".parse().unwrap(),
                address: "[2001:db8::10]:53".parse().unwrap(),
            },
            server: (group, "10.0.0.9:0".parse().unwrap(), Method::Tunnel),
            state: State::UDP,
            timeout: 300,
            left: 12,
            translated: None,
        };
        let full = Connection {
            translated: Some("10.0.0.254:2000".parse().unwrap()),
            ..flow(3, State::FIN_WAIT)
        };
        let range: ServiceId = "TCP 192.0.2.10:0".parse().unwrap();
        let ranged = Connection {
            server: (range, "10.0.0.1:0".parse().unwrap(), Method::Direct),
            ..flow(4, State::ESTABLISHED)
        };
        let template = Connection {
            key: stays,
            state: State::TEMPLATE,
            ..v6
        };
        vec![
            Item::Begin(7),
            Item::Has(flow(1, State::ESTABLISHED)),
            Item::Has(v6),
            Item::Has(full),
            Item::Has(ranged),
            Item::Has(template),
            Item::Gone(key(2)),
            Item::Gone(v6.key),
            Item::Gone(stays),
            Item::Complete(7),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::{testing::flow, *};

    #[test]
    fn what_does_not_stand_is_not_told() {
        let table = [
            (State::NONE, false),
            (State::SYN_RECV, false),
            (State::ESTABLISHED, true),
            (State::FIN_WAIT, true),
            (State::CLOSE, true),
            (State::UDP, true),
            (State::UDP_ONCE, false),
            (State::REPLY, false),
            (State::RETIRED, false),
            (State::TEMPLATE, true),
            (State::SCTP_COOKIE, false),
            (State::SCTP_ESTABLISHED, true),
        ];
        for (state, expected) in table {
            assert_eq!(flow(1, state).is_worth_telling(), expected, "{state:?}");
        }
    }

    #[test]
    fn a_name_is_found_by_its_number_and_the_other_way_round() {
        let identity = flow(1, State::ESTABLISHED).server;
        let names = Names::new(1, [(identity, 5)], [(identity.0, 3)]);
        assert_eq!(names.identity(5), Some(&identity));
        assert_eq!(names.server(&identity), Some(5));
        assert_eq!(names.service(&identity.0), Some(3));
        assert_eq!(names.service_of(3), Some(&identity.0));
        assert_eq!(names.identity(3), None);
        assert_eq!(
            names.server(&(identity.0, identity.1, crate::model::Method::Direct)),
            None
        );
    }
}
