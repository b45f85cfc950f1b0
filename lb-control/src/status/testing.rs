//! A status for tests.

use super::{
    FlowStatus, InterfaceStatus, MemoryStatus, ReasonCount, Role, ServerState, ServerStatus,
    ServiceStatus, StatusReport,
};
use crate::model::{Forwarding, Method, Scheduler, ServiceId};

/// A server that is up and has done nothing.
pub(crate) fn server(name: &str, socket: &str) -> ServerStatus {
    let socket: std::net::SocketAddr = socket.parse().unwrap();
    ServerStatus {
        name: name.to_owned(),
        address: socket.ip(),
        port: socket.port(),
        forwarding: Forwarding::Nat,
        weight: 1,
        effective_weight: 1,
        state: ServerState::Up,
        active: 0,
        inactive: 0,
        connections: 0,
        packets_in: 0,
        packets_out: 0,
        bytes_in: 0,
        bytes_out: 0,
        checks: 5,
        last_error: None,
        last_error_time: None,
        held_seconds: None,
        certificate_days: None,
        unreachable: None,
        local: false,
        overridden: None,
        open: None,
        seconds_left: None,
    }
}

/// A service that has done nothing.
pub(crate) fn service(name: &str, id: &str, servers: Vec<ServerStatus>) -> ServiceStatus {
    let service: ServiceId = id.parse().unwrap();
    let address = service.address();
    ServiceStatus {
        service,
        name: name.to_owned(),
        address: address.map(|address| address.address),
        port: address.map(|address| address.port),
        protocol: address.map(|address| address.protocol),
        scheduler: Scheduler::Wlc,
        method: Method::Nat,
        connections: 0,
        packets_in: 0,
        packets_out: 0,
        bytes_in: 0,
        bytes_out: 0,
        sorry: None,
        servers,
    }
}

/// Two services, one of IPv6; a server is up, one is down, one is draining.
pub(crate) fn report() -> StatusReport {
    let up = ServerStatus {
        active: 7,
        inactive: 9,
        connections: 12_345,
        packets_in: 1_234_567,
        packets_out: 999,
        bytes_in: 12_345_678,
        ..server("rs1", "10.0.0.11:80")
    };
    let down = ServerStatus {
        weight: 2,
        effective_weight: 2,
        state: ServerState::Down,
        last_error: Some("connect to 10.0.0.12:80: connection refused".to_owned()),
        ..server("rs2", "10.0.0.12:80")
    };
    let draining = ServerStatus {
        state: ServerState::Draining,
        active: 3,
        open: Some(3),
        seconds_left: Some(12),
        overridden: Some("drain".to_owned()),
        ..server("rs1", "[2001:db8::1111]:53")
    };
    let web = ServiceStatus {
        connections: 12_345,
        packets_in: 1_234_567,
        packets_out: 999,
        bytes_in: 12_345_678,
        ..service("web", "tcp 192.0.2.10:80", vec![up, down])
    };
    let dns = ServiceStatus {
        scheduler: Scheduler::Rr,
        ..service("dns", "udp [2001:db8::53]:53", vec![draining])
    };
    StatusReport {
        role: Role::Active,
        pair: None,
        sync: None,
        interfaces: vec![InterfaceStatus {
            name: "eth0".to_owned(),
            mode: "native".to_owned(),
            index: 2,
            packets: 1_500_000,
            bytes: 1_500_000_000,
            steered: 1_400_000,
            passed: 99_000,
            dropped: 1_000,
        }],
        services: vec![web, dns],
        failovers: Vec::new(),
        leaving: Vec::new(),
        flows: FlowStatus {
            ipv4: 1_200,
            ipv6: 0,
            capacity: 262_144,
        },
        memory: MemoryStatus { maps: 106 << 20 },
        unsteered: vec![ReasonCount {
            reason: "no-server".to_owned(),
            fate: "answer".to_owned(),
            packets: 12,
        }],
        events: Vec::new(),
        counted: Vec::new(),
    }
}
