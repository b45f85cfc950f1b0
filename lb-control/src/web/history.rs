//! How much there was during the last hour: of all services together, and of each.

use std::collections::{HashMap, VecDeque};

use crate::{model::ServiceId, status::StatusReport, watch::rates::Counts};

/// How often it is written down, in seconds.
pub(super) const STEP: u64 = 10;

/// How far back it goes.
pub(super) const STEPS: usize = 360;

/// So many services have a history of their own, 6 KiB each; of others there is only their part in the total.
const MOST: usize = 2_048;

/// What there was in one step. Not a number where nobody knows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Sample {
    /// Established connections.
    pub(super) active: f32,
    /// New connections in a second.
    pub(super) connections: f32,
    /// Bytes from clients in a second.
    pub(super) bytes_in: f32,
    /// Bytes to clients in a second.
    pub(super) bytes_out: f32,
}

impl Sample {
    const UNKNOWN: Self = Self {
        active: f32::NAN,
        connections: f32::NAN,
        bytes_in: f32::NAN,
        bytes_out: f32::NAN,
    };
}

/// The samples of one service, or of all; the last is the newest.
#[derive(Debug, Default)]
struct Series {
    samples: VecDeque<Sample>,
    counted: Option<Counts>,
}

impl Series {
    fn add(&mut self, active: u64, counted: Counts, seconds: f32) {
        let sample = match self.counted.replace(counted) {
            None => Sample::UNKNOWN,
            Some(before) => {
                let rate = |now: u64, before: u64| now.saturating_sub(before) as f32 / seconds;
                Sample {
                    active: active as f32,
                    connections: rate(counted.connections, before.connections),
                    bytes_in: rate(counted.bytes_in, before.bytes_in),
                    bytes_out: rate(counted.bytes_out, before.bytes_out),
                }
            }
        };
        self.push(sample);
    }

    fn push(&mut self, sample: Sample) {
        if self.samples.len() == STEPS {
            self.samples.pop_front();
        }
        self.samples.push_back(sample);
    }
}

/// The last hour.
#[derive(Debug, Default)]
pub(super) struct History {
    total: Series,
    services: HashMap<ServiceId, Series>,
}

impl History {
    /// Writes down how things are, so many seconds after the last time.
    pub(super) fn add(&mut self, report: &StatusReport, seconds: f32) {
        let mut total = (0, Counts::default());
        let before = std::mem::take(&mut self.services);
        let mut before = before;
        for service in &report.services {
            let servers = service.servers.iter();
            let active = servers.map(|server| u64::from(server.active)).sum::<u64>();
            let counted = Counts::of_service(service);
            total = (total.0 + active, total.1.plus(counted));
            if self.services.len() < MOST {
                let mut series = before.remove(&service.service).unwrap_or_default();
                series.add(active, counted, seconds);
                self.services.insert(service.service, series);
            }
        }
        self.total.add(total.0, total.1, seconds);
    }

    /// Nobody knows how things are.
    pub(super) fn skip(&mut self) {
        let all = self.services.values_mut().chain([&mut self.total]);
        for series in all {
            series.counted = None;
            series.push(Sample::UNKNOWN);
        }
    }

    /// What there was of a service, or of all; the last is the newest.
    pub(super) fn of(&self, service: Option<ServiceId>) -> Vec<Sample> {
        let series = match service {
            None => Some(&self.total),
            Some(service) => self.services.get(&service),
        };
        series.map_or_else(Vec::new, |series| series.samples.iter().copied().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::{ServiceStatus, testing};

    fn report(connections: u64) -> StatusReport {
        let mut report = testing::report();
        report.services[0].connections = connections;
        report.services[0].bytes_in = 10 * connections;
        report
    }

    #[test]
    fn rates_are_those_of_the_step() {
        let mut history = History::default();
        for connections in [100, 150, 150] {
            history.add(&report(connections), 10.0);
        }
        let key = testing::report().services[0].service;
        for series in [history.of(None), history.of(Some(key))] {
            assert_eq!(series.len(), 3);
            assert!(series[0].connections.is_nan(), "nothing to compare with");
            assert_eq!((series[1].connections, series[1].bytes_in), (5.0, 50.0));
            assert_eq!(series[2].connections, 0.0);
        }
        assert_eq!(history.of(None)[2].active, 10.0, "of both services");
        assert_eq!(history.of(Some(key))[2].active, 7.0);
        history.skip();
        history.add(&report(1_000_000), 10.0);
        let series = history.of(None);
        assert!(series[3].active.is_nan() && series[4].connections.is_nan());
    }

    #[test]
    fn it_is_bounded() {
        let mut history = History::default();
        let services = (0..MOST as u32 + 10).map(|mark| ServiceStatus {
            service: ServiceId::Mark {
                mark: mark + 1,
                family: crate::model::Family::Ipv4,
            },
            ..testing::report().services.remove(0)
        });
        let mut large = testing::report();
        large.services = services.collect();
        history.add(&large, 10.0);
        assert_eq!(history.services.len(), MOST);
        for _ in 0..STEPS + 5 {
            history.add(&report(1), 10.0);
        }
        assert_eq!(
            history.services.len(),
            2,
            "services that are gone are forgotten"
        );
        assert_eq!(history.of(None).len(), STEPS);
    }
}
