//! Our own metrics: what they are called, what they mean, which labels they have.

use std::{
    fmt::{self, Error},
    net::SocketAddr,
};

use prometheus_client::{
    collector::Collector,
    encoding::{
        DescriptorEncoder, EncodeGaugeValue, EncodeLabel as _, EncodeLabelSet, LabelSetEncoder,
        NoLabelSet,
    },
    metrics::MetricType,
};

use super::Measures;
use crate::{
    control::table::{Counts, ServerRow, ServiceRow},
    fos,
    journal::Kind,
    model::ServiceId,
    status::{Role, ServerState, connections::SyncStatus},
};

/// A family of counters.
pub(super) fn counters<L: EncodeLabelSet>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    samples: impl IntoIterator<Item = (L, u64)>,
) -> fmt::Result {
    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
    for (labels, value) in samples {
        let mut sample = family.encode_family(&labels)?;
        sample.encode_counter::<NoLabelSet, _, u64>(&value, None)?;
    }
    Ok(())
}

/// A family of gauges.
pub(super) fn gauges<L: EncodeLabelSet, V: EncodeGaugeValue>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    samples: impl IntoIterator<Item = (L, V)>,
) -> fmt::Result {
    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    for (labels, value) in samples {
        family.encode_family(&labels)?.encode_gauge(&value)?;
    }
    Ok(())
}

/// A counter without labels.
pub(super) fn counter(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    value: u64,
) -> fmt::Result {
    encoder
        .encode_descriptor(name, help, None, MetricType::Counter)?
        .encode_counter::<NoLabelSet, _, u64>(&value, None)
}

/// A gauge without labels.
fn gauge(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    value: impl EncodeGaugeValue,
) -> fmt::Result {
    encoder
        .encode_descriptor(name, help, None, MetricType::Gauge)?
        .encode_gauge(&value)
}

/// The labels of a service: its name, and its address, port and protocol or its mark.
#[derive(Debug, Clone, Copy)]
struct OfService<'a>(&'a ServiceRow);

impl EncodeLabelSet for OfService<'_> {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> Result<(), Error> {
        let Self(row) = self;
        ("service", &*row.name).encode(encoder.encode_label())?;
        match &row.service {
            ServiceId::Address(key) => {
                ("vip", key.address.to_string()).encode(encoder.encode_label())?;
                ("port", key.port).encode(encoder.encode_label())?;
                ("proto", key.protocol.to_string()).encode(encoder.encode_label())
            }
            mark @ ServiceId::Mark { .. } => {
                let text = mark.to_string();
                let mark = text.trim_start_matches("FWM ");
                ("mark", mark).encode(encoder.encode_label())?;
                ("proto", "FWM").encode(encoder.encode_label())
            }
        }
    }
}

/// The labels of a real server: those of its service, and its own address and port.
#[derive(Debug, Clone, Copy)]
struct OfServer<'a>(&'a ServiceRow, SocketAddr);

impl EncodeLabelSet for OfServer<'_> {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> Result<(), Error> {
        let Self(service, server) = self;
        OfService(service).encode(encoder)?;
        ("server", server.to_string()).encode(encoder.encode_label())
    }
}

/// No labels.
const NONE: [(&str, &str); 0] = [];

/// The labels of packets and bytes.
const DIRECTIONS: [[(&str, &str); 1]; 2] = [[("direction", "in")], [("direction", "out")]];

impl Collector for Measures {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        let encoder = &mut encoder;
        encoder
            .encode_descriptor("lb_build", "Which lb this is.", None, MetricType::Info)?
            .encode_info(&[("version", env!("CARGO_PKG_VERSION"))])?;
        self.services(encoder)?;
        self.servers(encoder)?;
        self.probes(encoder)?;
        self.data_plane(encoder)?;
        self.pair(encoder)?;
        self.failovers(encoder)?;
        self.sync(encoder)?;
        self.daemon(encoder)
    }
}

impl Measures {
    fn services(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let services = || self.services.iter();
        let rows = || services().map(|one| (OfService(&one.row), &one.row));
        counters(
            encoder,
            "lb_service_connections",
            "Connections that were scheduled to the servers of a service.",
            rows().map(|(labels, row)| (labels, row.counts.connections)),
        )?;
        counters(
            encoder,
            "lb_service_packets",
            "Packets from clients (in) and to them (out); none out where servers answer by themselves.",
            rows().flat_map(|(labels, row)| both_ways(labels, packets(&row.counts))),
        )?;
        counters(
            encoder,
            "lb_service_bytes",
            "Bytes from clients (in) and to them (out), from the IP header on.",
            rows().flat_map(|(labels, row)| both_ways(labels, bytes(&row.counts))),
        )?;
        gauges(
            encoder,
            "lb_service_backends",
            "Real servers of a service.",
            rows().map(|(labels, row)| (labels, row.servers.len())),
        )?;
        gauges(
            encoder,
            "lb_service_backends_up",
            "Real servers of a service that are up.",
            services().map(|one| {
                let up = one.states.iter().filter(|state| **state == ServerState::Up);
                (OfService(&one.row), up.count())
            }),
        )?;
        gauges(
            encoder,
            "lb_service_sorry",
            "Whether the sorry server stands in; of services that have one.",
            services().filter_map(|one| Some((OfService(&one.row), u32::from(one.sorry?)))),
        )
    }

    fn servers(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        self.of_servers(
            encoder,
            "lb_backend_up",
            "Whether a real server is in the table, can be reached and gets connections.",
            |_, state| u32::from(state == ServerState::Up),
        )?;
        self.of_servers(
            encoder,
            "lb_backend_weight",
            "Its share of connections now: 0 while it is quiesced or drained.",
            |row, _| u32::from(row.weight),
        )?;
        self.of_servers(
            encoder,
            "lb_backend_connections_active",
            "Established connections.",
            |row, _| row.active,
        )?;
        self.of_servers(
            encoder,
            "lb_backend_connections_inactive",
            "All other connections.",
            |row, _| row.inactive,
        )?;
        self.of_servers(
            encoder,
            "lb_backend_clients_persistent",
            "Clients that stay with it.",
            |row, _| row.persistent,
        )?;
        counters(
            encoder,
            "lb_backend_connections",
            "Connections that were scheduled to a real server.",
            self.rows()
                .map(|(labels, row)| (labels, row.counts.connections)),
        )?;
        counters(
            encoder,
            "lb_backend_packets",
            "Packets to a real server (in) and from it (out).",
            self.rows()
                .flat_map(|(labels, row)| both_ways(labels, packets(&row.counts))),
        )?;
        counters(
            encoder,
            "lb_backend_bytes",
            "Bytes to a real server (in) and from it (out), from the IP header on.",
            self.rows()
                .flat_map(|(labels, row)| both_ways(labels, bytes(&row.counts))),
        )
    }

    fn rows(&self) -> impl Iterator<Item = (OfServer<'_>, &ServerRow)> {
        self.services.iter().flat_map(|one| {
            let servers = one.row.servers.iter();
            servers.map(|row| (OfServer(&one.row, row.server), row))
        })
    }

    /// A gauge of each real server.
    fn of_servers(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
        name: &str,
        help: &str,
        value: impl Fn(&ServerRow, ServerState) -> u32,
    ) -> fmt::Result {
        let states = self.services.iter().flat_map(|one| &one.states);
        let both = self.rows().zip(states);
        gauges(
            encoder,
            name,
            help,
            both.map(|((labels, row), state)| (labels, value(row, *state))),
        )
    }

    fn probes(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let checks = || {
            self.services.iter().flat_map(|one| {
                one.row.servers.iter().filter_map(|server| {
                    let checks = self.checks.get(&(one.row.service, server.server))?;
                    Some((OfServer(&one.row, server.server), checks))
                })
            })
        };
        counters(
            encoder,
            "lb_probe_checks",
            "Checks of a real server that have ended.",
            checks().map(|(labels, checks)| (labels, checks.done)),
        )?;
        counters(
            encoder,
            "lb_probe_failures",
            "Checks that a real server failed.",
            checks().map(|(labels, checks)| (labels, checks.failed)),
        )?;
        gauges(
            encoder,
            "lb_probe_certificate_days",
            "For how many days the certificate of a real server is still good.",
            checks().filter_map(|(labels, checks)| Some((labels, checks.certificate_days?))),
        )
    }

    fn data_plane(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let report = &self.overall;
        let interfaces = || report.interfaces.iter();
        counters(
            encoder,
            "lb_xdp_packets",
            "Packets that came in by an interface, by what became of them.",
            interfaces().flat_map(|one| {
                let labels = |verdict| [("interface", &*one.name), ("verdict", verdict)];
                [
                    (labels("steered"), one.steered),
                    (labels("pass"), one.passed),
                    (labels("drop"), one.dropped),
                ]
            }),
        )?;
        counters(
            encoder,
            "lb_xdp_bytes",
            "Bytes that came in by an interface, with the link header.",
            interfaces().map(|one| ([("interface", &*one.name)], one.bytes)),
        )?;
        counters(
            encoder,
            "lb_xdp_verdict",
            "Packets that were not steered, by what became of them and why; what never happened is left out.",
            report.unsteered.iter().map(|one| {
                let labels = [("verdict", &*one.fate), ("reason", &*one.reason)];
                (labels, one.packets)
            }),
        )?;
        counters(
            encoder,
            "lb_xdp_events",
            "What else happened to packets and flows; what never happened is left out.",
            report
                .events
                .iter()
                .map(|one| ([("event", &*one.event)], one.count)),
        )?;
        let families = |ipv4, ipv6| [([("family", "ipv4")], ipv4), ([("family", "ipv6")], ipv6)];
        let flows = report.flows;
        gauges(
            encoder,
            "lb_flow_table_entries",
            "Flows that are remembered.",
            families(flows.ipv4, flows.ipv6),
        )?;
        gauges(
            encoder,
            "lb_flow_table_capacity",
            "Entries of a flow table; a masqueraded flow takes two.",
            families(flows.capacity, flows.capacity),
        )?;
        gauge(
            encoder,
            "lb_maps_bytes",
            "How much memory the maps take.",
            report.memory.maps,
        )
    }

    /// As they are on this node: on the one on standby none runs.
    fn failovers(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let failovers = || self.overall.failovers.iter();
        gauges(
            encoder,
            "lb_failover_running",
            "Whether a failover service runs on this node and answers.",
            failovers().map(|one| {
                let is_running = one.state == fos::State::Running;
                ([("failover", &*one.name)], u32::from(is_running))
            }),
        )?;
        counters(
            encoder,
            "lb_failover_starts",
            "How often a failover service was started here.",
            failovers().map(|one| ([("failover", &*one.name)], one.starts)),
        )
    }

    /// Of one alone there is only whether it is active.
    fn pair(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let pair = || self.overall.pair.iter();
        let paths = || pair().flat_map(|pair| &pair.paths);
        gauge(
            encoder,
            "lb_active",
            "Whether this node is the active one.",
            u32::from(self.overall.role == Role::Active),
        )?;
        gauges(
            encoder,
            "lb_partner_up",
            "Whether the partner is heard.",
            pair().map(|pair| (NONE, u32::from(pair.partner.is_some()))),
        )?;
        gauges(
            encoder,
            "lb_partner_able",
            "Whether the partner is heard, hears this node and may take over.",
            pair().map(|pair| {
                let able = pair.partner.as_ref().is_some_and(|it| it.fit && it.hears);
                (NONE, u32::from(able))
            }),
        )?;
        gauges(
            encoder,
            "lb_partner_same_config",
            "Whether the partner's lvs.cf is the same.",
            pair().filter_map(|pair| Some((NONE, u32::from(pair.same_config?)))),
        )?;
        gauges(
            encoder,
            "lb_lease_seconds",
            "For how long the data plane of the active node may steer, if nothing is heard of the daemon.",
            pair().map(|pair| (NONE, pair.lease_ms.unwrap_or(0) as f64 / 1_000.)),
        )?;
        gauges(
            encoder,
            "lb_heartbeat_path_up",
            "Whether the partner is heard by a network.",
            paths().map(|path| ([("path", &*path.name)], u32::from(path.up))),
        )?;
        counters(
            encoder,
            "lb_heartbeat_received",
            "Heartbeats of the partner.",
            paths().map(|path| ([("path", &*path.name)], path.received)),
        )?;
        counters(
            encoder,
            "lb_heartbeat_rejected",
            "Datagrams from the partner's address that were not heeded.",
            paths().map(|path| ([("path", &*path.name)], path.rejected)),
        )
    }

    /// Nothing where it is switched off.
    fn sync(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let sync = || self.overall.sync.iter();
        gauges(
            encoder,
            "lb_sync_complete",
            "Whether the standby node has every connection that was due.",
            sync().map(|sync| (NONE, u32::from(sync.in_sync))),
        )?;
        gauges(
            encoder,
            "lb_sync_lag_seconds",
            "How long ago the oldest change happened that the partner has not acknowledged.",
            sync().map(|sync| (NONE, sync.lag_ms as f64 / 1_000.)),
        )?;
        gauges(
            encoder,
            "lb_sync_unsynced",
            "Connections that are due or on their way to the partner.",
            sync().map(|sync| (NONE, sync.unsynced as f64)),
        )?;
        let directions = |sync: &SyncStatus| {
            [
                ("told", sync.told),
                ("heard", sync.heard),
                ("learned", sync.learned),
            ]
        };
        counters(
            encoder,
            "lb_sync_connections",
            "Connections that were told to the partner, heard of from it, and learned.",
            sync().flat_map(|sync| directions(sync).map(|(what, count)| ([("what", what)], count))),
        )?;
        let failures = |sync: &SyncStatus| {
            [
                ("strange", sync.strange),
                ("refused", sync.refused),
                ("overflowed", sync.overflowed),
                ("resent", sync.again),
                ("rejected", sync.rejected),
            ]
        };
        counters(
            encoder,
            "lb_sync_troubles",
            "Connections of servers that are not known here, without room, or too many at a time; messages sent again; \
             datagrams not heeded.",
            sync().flat_map(|sync| failures(sync).map(|(what, count)| ([("what", what)], count))),
        )
    }

    fn daemon(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let tally = |kind| self.tallies.get(&kind).copied().unwrap_or_default();
        let read = tally(Kind::Started).last.max(tally(Kind::Reloaded).last);
        let refused = tally(Kind::ReloadRefused).last;
        gauge(
            encoder,
            "lb_config_last_reload_success",
            "Whether lvs.cf was fit to be used when it was read last.",
            u32::from(read >= refused),
        )?;
        gauge(
            encoder,
            "lb_config_last_reload_timestamp_seconds",
            "When lvs.cf was read last, in seconds since 1970.",
            read.max(refused) as f64 / 1_000.,
        )?;
        counters(
            encoder,
            "lb_events",
            "What happened since the daemon started, as lb events tells it.",
            Kind::ALL.map(|kind| ([("kind", kind.name())], tally(kind).count)),
        )
    }
}

/// Labels with a direction.
type Directed<L> = (L, [(&'static str, &'static str); 1]);

fn both_ways<L: Copy>(labels: L, counts: [u64; 2]) -> [(Directed<L>, u64); 2] {
    let ([inward, outward], [sum_in, sum_out]) = (DIRECTIONS, counts);
    [((labels, inward), sum_in), ((labels, outward), sum_out)]
}

const fn packets(counts: &Counts) -> [u64; 2] {
    [counts.packets_in, counts.packets_out]
}

const fn bytes(counts: &Counts) -> [u64; 2] {
    [counts.bytes_in, counts.bytes_out]
}
