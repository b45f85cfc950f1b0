//! The language of the kernel's balancer (`ip_vs_sync.c`), for a pair of which one is not ours: multicasts without
//! acknowledgement, key or full transfer. It promises as much as IPVS does.

pub mod daemon;
pub mod mapping;
pub mod message;
pub mod outbox;
pub mod talker;

use std::net::{IpAddr, Ipv4Addr};

/// The group that the kernel's balancers talk in unless they are told otherwise.
pub const GROUP: IpAddr = IpAddr::V4(Ipv4Addr::new(224, 0, 0, 81));

/// The port of the first of the kernel's threads; each further one (`sync_ports`) has the next.
pub const PORT: u16 = 8_848;
