//! The metrics that node_exporter makes of IPVS, by the same names, types and labels.

use std::{fmt::Error, sync::Arc};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabel as _, EncodeLabelSet, LabelSetEncoder},
};

use super::{
    Measures,
    families::{counter, gauges},
};
use crate::{
    control::table::{Counts, ServerRow},
    model::ServiceId,
};

/// The same measures, as node_exporter tells them.
#[derive(Debug)]
pub(super) struct Compatible(pub(super) Arc<Measures>);

/// The labels of a real server there. What there is none of is empty or 0.
#[derive(Debug, Clone, Copy)]
struct Backend<'a>(ServiceId, &'a ServerRow);

impl EncodeLabelSet for Backend<'_> {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> Result<(), Error> {
        let Self(service, server) = self;
        let (address, port, protocol, mark) = match service {
            ServiceId::Address(key) => (
                key.address.to_string(),
                key.port,
                key.protocol.to_string(),
                String::new(),
            ),
            ServiceId::Mark { mark, .. } => {
                (String::new(), 0, "FWM".to_owned(), format!("{mark:08X}"))
            }
        };
        ("local_address", address).encode(encoder.encode_label())?;
        ("local_port", port).encode(encoder.encode_label())?;
        let remote = server.server;
        ("remote_address", remote.ip().to_string()).encode(encoder.encode_label())?;
        ("remote_port", remote.port()).encode(encoder.encode_label())?;
        ("proto", protocol).encode(encoder.encode_label())?;
        ("local_mark", mark).encode(encoder.encode_label())
    }
}

impl Collector for Compatible {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        let Self(measures) = self;
        let services = &measures.services;
        let counts = services.iter().map(|one| &one.row.counts);
        let sum = counts.fold(Counts::default(), |sum, one| sum.and(one));
        let sums = [
            (
                "connections",
                "The total number of connections made.",
                sum.connections,
            ),
            (
                "incoming_packets",
                "The total number of incoming packets.",
                sum.packets_in,
            ),
            (
                "outgoing_packets",
                "The total number of outgoing packets.",
                sum.packets_out,
            ),
            (
                "incoming_bytes",
                "The total amount of incoming data.",
                sum.bytes_in,
            ),
            (
                "outgoing_bytes",
                "The total amount of outgoing data.",
                sum.bytes_out,
            ),
        ];
        for (name, help, sum) in sums {
            let name = format!("node_ipvs_{name}");
            counter(&mut encoder, &name, help, sum)?;
        }
        type Of = fn(&ServerRow) -> u32;
        let gauge_of: [(&str, &str, Of); 3] = [
            (
                "connections_active",
                "The current active connections by local and remote address.",
                |row| row.active,
            ),
            (
                "connections_inactive",
                "The current inactive connections by local and remote address.",
                |row| row.inactive,
            ),
            (
                "weight",
                "The current backend weight by local and remote address.",
                |row| u32::from(row.weight),
            ),
        ];
        for (name, help, value) in gauge_of {
            let backends = services.iter().flat_map(|one| {
                let listed = one.row.servers.iter().filter(|server| server.present);
                listed.map(move |server| (Backend(one.row.service, server), value(server)))
            });
            let name = format!("node_ipvs_backend_{name}");
            gauges(&mut encoder, &name, help, backends)?;
        }
        Ok(())
    }
}
