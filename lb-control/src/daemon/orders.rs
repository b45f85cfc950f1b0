//! What operators said of real servers (`lb server drain|up|down`), as it outlives the daemon.
//!
//! Times are those of the machine since it started, so that a server which drains has no more time because
//! the daemon was away meanwhile.

use std::{net::SocketAddr, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{
    control::order::{Order, Verb},
    model::{ServiceId, Site},
    state::ServerKey,
};

/// What operators said of real servers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Orders(Vec<Standing>);

/// What was said of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Standing {
    service: ServiceId,
    server: SocketAddr,
    said: Said,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Said {
    Up,
    Down,
    Drain {
        /// Milliseconds since the machine started.
        until: u64,
    },
}

impl Orders {
    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// An order was obeyed, about a server of the site. It says what [`crate::reconciler`] makes of it: a
    /// second drain without a deadline does not begin anew.
    pub(super) fn note(&mut self, site: &Site, key: ServerKey, order: &Order, now: Duration) {
        let place = self
            .0
            .iter()
            .position(|one| (one.service, one.server) == key);
        let before = place.map(|place| self.0.remove(place).said);
        let said = match order.verb {
            Verb::Auto => return,
            Verb::Up => Said::Up,
            Verb::Down => Said::Down,
            Verb::Drain => match (before, order.deadline) {
                (Some(before @ Said::Drain { .. }), None) => before,
                (_, deadline) => {
                    let time = deadline.map_or_else(
                        || drain_of(site, key.0),
                        |seconds| Duration::from_secs(seconds.into()),
                    );
                    Said::Drain {
                        until: millis(now.saturating_add(time)),
                    }
                }
            },
        };
        let (service, server) = key;
        self.0.push(Standing {
            service,
            server,
            said,
        });
    }

    /// What was said of servers that are gone is forgotten.
    pub(super) fn forget_gone(&mut self, site: &Site) {
        self.0.retain(|one| {
            let mut services = site.services.iter();
            let service = services.find(|service| service.key == one.service);
            service.is_some_and(|it| it.servers.iter().any(|server| server.socket == one.server))
        });
    }

    /// The same orders for a daemon that starts now.
    pub(super) fn again(&self, now: Duration) -> Vec<Order> {
        let order = |one: &Standing| {
            let (verb, deadline) = match one.said {
                Said::Up => (Verb::Up, None),
                Said::Down => (Verb::Down, None),
                Said::Drain { until } => {
                    let left = until.saturating_sub(millis(now)).div_ceil(1000);
                    let left = u32::try_from(left).unwrap_or(u32::MAX);
                    (Verb::Drain, Some(left))
                }
            };
            Order {
                verb,
                service: one.service.to_string(),
                server: one.server.to_string(),
                deadline,
            }
        };
        self.0.iter().map(order).collect()
    }
}

fn drain_of(site: &Site, service: ServiceId) -> Duration {
    let mut services = site.services.iter();
    let found = services.find(|known| known.key == service);
    found.map_or(Duration::ZERO, |service| service.drain)
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::model::{Forwarding, RealServer, ServiceAddress, VirtualService};

    fn site(servers: &[&str]) -> Site {
        let key = ServiceAddress {
            address: [192, 0, 2, 10].into(),
            port: 80,
            protocol: crate::model::Protocol::Tcp,
        };
        let server =
            |socket: &&str| RealServer::new(socket, socket.parse().unwrap(), Forwarding::Nat, 1);
        Site {
            services: vec![Arc::new(VirtualService {
                servers: servers.iter().map(server).collect(),
                ..VirtualService::unwatched("web", key.into(), Vec::new())
            })],
            ..Site::default()
        }
    }

    fn order(verb: Verb, deadline: Option<u32>) -> Order {
        Order {
            verb,
            service: "web".to_owned(),
            server: "10.0.0.1".to_owned(),
            deadline,
        }
    }

    #[test]
    fn orders_hold_for_the_next_daemon() {
        use Verb::{Auto, Down, Drain, Up};
        // What is said at which second; what is said again at second 100.
        type Row<'a> = (&'a [(u64, Verb, Option<u32>)], Option<(Verb, Option<u32>)>);
        let table: [Row; 9] = [
            (&[(1, Up, None)], Some((Up, None))),
            (&[(1, Up, None), (2, Down, None)], Some((Down, None))),
            (&[(1, Down, None), (2, Auto, None)], None),
            (&[(90, Drain, None)], Some((Drain, Some(20)))),
            (&[(90, Drain, Some(600))], Some((Drain, Some(590)))),
            (&[(1, Drain, Some(60))], Some((Drain, Some(0)))),
            (
                &[(80, Drain, Some(60)), (90, Drain, None)],
                Some((Drain, Some(40))),
            ),
            (
                &[(80, Drain, Some(60)), (90, Drain, Some(60))],
                Some((Drain, Some(50))),
            ),
            (
                &[(80, Up, None), (90, Drain, None)],
                Some((Drain, Some(20))),
            ),
        ];
        let site = site(&["10.0.0.1:80"]);
        for (said, expected) in table {
            let mut orders = Orders::default();
            for (second, verb, deadline) in said {
                let order = order(*verb, *deadline);
                let key = order.find(&site).unwrap();
                orders.note(&site, key, &order, Duration::from_secs(*second));
            }
            let text = serde_json::to_string(&orders).unwrap();
            let read: Orders = serde_json::from_str(&text).unwrap();
            assert_eq!(read, orders, "{text}");
            let again = read.again(Duration::from_secs(100));
            let found: Vec<_> = again.iter().map(|one| (one.verb, one.deadline)).collect();
            assert_eq!(found, expected.into_iter().collect::<Vec<_>>(), "{said:?}");
            for order in again {
                assert!(order.find(&site).is_ok(), "{order:?}");
            }
        }
    }

    #[test]
    fn what_was_said_of_a_server_goes_with_it() {
        let before = site(&["10.0.0.1:80"]);
        let mut orders = Orders::default();
        let down = order(Verb::Down, None);
        let key = down.find(&before).unwrap();
        orders.note(&before, key, &down, Duration::ZERO);
        orders.forget_gone(&before);
        assert!(!orders.is_empty());
        orders.forget_gone(&site(&["10.0.0.2:80"]));
        assert!(orders.is_empty());
    }
}
