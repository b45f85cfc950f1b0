//! What is different between the services of one site and those of the next.

use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
    sync::Arc,
};

use crate::model::{ServiceId, VirtualService};

/// The services that differ. One that has changed is gone as it was and has come as it is.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Turnover {
    /// Those that are no longer there, as they were.
    pub gone: Vec<Arc<VirtualService>>,
    /// Those that are new, as they are, in the order of the site.
    pub come: Vec<Arc<VirtualService>>,
}

/// Compares two sites. It looks into those services only that are not the very same in memory; those of
/// `after` that are equal to one before become the same, so that they are kept once and next time need not be
/// looked into.
pub fn turnover(before: &[Arc<VirtualService>], after: &mut [Arc<VirtualService>]) -> Turnover {
    let mut left = before;
    let mut right = after;
    // Mostly nothing has changed but one service, and all others are where they were.
    while let ([old, rest_of_old @ ..], [new, ..]) = (left, &mut *right)
        && unite(old, new)
    {
        left = rest_of_old;
        right = &mut right[1..];
    }
    while let ([rest_of_old @ .., old], [.., new]) = (left, &mut *right)
        && unite(old, new)
    {
        left = rest_of_old;
        let shorter = right.len() - 1;
        right = &mut right[..shorter];
    }
    let mut known: HashMap<ServiceId, &Arc<VirtualService>> =
        left.iter().map(|service| (service.key, service)).collect();
    let mut turnover = Turnover::default();
    for new in right {
        match known.remove(&new.key) {
            Some(old) if unite(old, new) => {}
            Some(old) => {
                turnover.gone.push(Arc::clone(old));
                turnover.come.push(Arc::clone(new));
            }
            None => turnover.come.push(Arc::clone(new)),
        }
    }
    let still_known = left
        .iter()
        .filter(|old| known.get(&old.key).is_some_and(|it| Arc::ptr_eq(it, old)));
    turnover.gone.extend(still_known.cloned());
    turnover
}

/// Whether both are equal; they are the same afterwards.
fn unite(old: &Arc<VirtualService>, new: &mut Arc<VirtualService>) -> bool {
    if Arc::ptr_eq(old, new) {
        return true;
    }
    let is_equal = **old == **new;
    if is_equal {
        *new = Arc::clone(old);
    }
    is_equal
}

impl Turnover {
    /// How many services more than before, or fewer, have each address as that of a real server.
    #[must_use]
    pub fn addresses(&self) -> BTreeMap<IpAddr, isize> {
        let mut changes = BTreeMap::new();
        for (services, step) in [(&self.gone, -1), (&self.come, 1)] {
            for address in services.iter().flat_map(|service| addresses(service)) {
                *changes.entry(address).or_default() += step;
            }
        }
        changes.retain(|_, change| *change != 0);
        changes
    }
}

/// The addresses whose ways have to be known for a service.
pub fn addresses(service: &VirtualService) -> impl Iterator<Item = IpAddr> {
    let servers = service.servers.iter().map(|server| server.socket.ip());
    servers.chain(service.sorry_server.map(|socket| socket.ip()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Check, Forwarding, Probe, Protocol, RealServer, Scheduler, ServiceAddress};
    use std::time::Duration;

    /// A service by its port, with a real server of this weight and address.
    fn service((port, weight, server): (u16, u16, u8)) -> Arc<VirtualService> {
        let key = ServiceAddress {
            address: [10, 0, 0, 1].into(),
            port,
            protocol: Protocol::Tcp,
        };
        let probe = Probe::new(
            Check::Talk {
                send: None,
                expect: None,
            },
            Duration::from_secs(1),
            Duration::from_secs(1),
        );
        let server = RealServer::new(
            "rs",
            ([10, 0, 1, server], 80).into(),
            Forwarding::Nat,
            weight,
        );
        Arc::new(VirtualService {
            servers: vec![server],
            ..VirtualService::new("web", key, Scheduler::Rr, probe)
        })
    }

    fn ports(services: &[Arc<VirtualService>]) -> Vec<u16> {
        services.iter().map(|service| service.port()).collect()
    }

    #[test]
    fn only_what_differs_is_told() {
        type Services<'a> = &'a [(u16, u16, u8)];
        // What there was, what there is, the ports of what is gone and has come.
        type Row<'a> = (&'a str, Services<'a>, Services<'a>, &'a [u16], &'a [u16]);
        let (a, b, c) = ((1, 1, 1), (2, 1, 1), (3, 1, 1));
        let table: [Row; 9] = [
            ("nothing at all", &[], &[], &[], &[]),
            ("nothing changed", &[a, b, c], &[a, b, c], &[], &[]),
            ("another order", &[a, b, c], &[c, a, b], &[], &[]),
            ("a weight", &[a, b, c], &[a, (2, 5, 1), c], &[2], &[2]),
            ("one more", &[a, c], &[a, b, c], &[], &[2]),
            ("one fewer", &[a, b, c], &[a, c], &[2], &[]),
            ("the first", &[a, b], &[(1, 7, 1), b], &[1], &[1]),
            ("the last", &[a, b], &[a, (2, 7, 1)], &[2], &[2]),
            ("all of them", &[a, b], &[c], &[1, 2], &[3]),
        ];
        for (what, before, after, gone, come) in table {
            let before: Vec<_> = before.iter().copied().map(service).collect();
            let mut after: Vec<_> = after.iter().copied().map(service).collect();
            let told = turnover(&before, &mut after);
            assert_eq!(
                (&ports(&told.gone)[..], &ports(&told.come)[..]),
                (gone, come),
                "{what}"
            );
            for service in after {
                let is_old = before.iter().any(|old| Arc::ptr_eq(old, &service));
                assert_eq!(is_old, !come.contains(&service.port()), "{what}");
            }
        }
    }

    #[test]
    fn addresses_are_counted() {
        let before = [service((1, 1, 1)), service((2, 1, 1)), service((3, 1, 9))];
        let mut after = [service((1, 1, 2)), service((2, 2, 1)), service((3, 2, 9))];
        let changes = turnover(&before, &mut after).addresses();
        let address = |last| IpAddr::from([10, 0, 1, last]);
        assert_eq!(changes, BTreeMap::from([(address(1), -1), (address(2), 1)]));
    }
}
