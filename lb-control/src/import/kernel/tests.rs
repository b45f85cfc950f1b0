use super::*;
use crate::import::report::LeftOut;

fn attributes(list: &[(u16, &[u8])]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (kind, value) in list {
        put(&mut bytes, *kind, value);
    }
    bytes
}

fn v4(a: u8, b: u8, c: u8, d: u8) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..4].copy_from_slice(&[a, b, c, d]);
    bytes
}

#[test]
fn a_table_as_the_kernel_tells_it() {
    let web = attributes(&[
        (svc::AF, &AF_INET.to_ne_bytes()),
        (svc::PROTOCOL, &6_u16.to_ne_bytes()),
        (svc::ADDR, &v4(192, 0, 2, 10)),
        (svc::PORT, &80_u16.to_be_bytes()),
        (svc::SCHED_NAME, b"mh\0"),
        (svc::FLAGS, &[25_u32.to_ne_bytes(), [0xff; 4]].concat()),
        (svc::TIMEOUT, &300_u32.to_ne_bytes()),
        (svc::NETMASK, &[255, 255, 255, 0]),
        (svc::PE_NAME, b"sip\0"),
    ]);
    let first = attributes(&[
        (dest::ADDR, &v4(10, 0, 0, 12)),
        (dest::PORT, &8080_u16.to_be_bytes()),
        (dest::FWD_METHOD, &0_u32.to_ne_bytes()),
        (dest::WEIGHT, &5_u32.to_ne_bytes()),
        (dest::U_THRESH, &1000_u32.to_ne_bytes()),
        (dest::L_THRESH, &750_u32.to_ne_bytes()),
    ]);
    let mut six = [0; 16];
    six[15] = 1;
    let second = attributes(&[
        (dest::ADDR, &six),
        (dest::ADDR_FAMILY, &AF_INET6.to_ne_bytes()),
        (dest::PORT, &80_u16.to_be_bytes()),
        (dest::FWD_METHOD, &2_u32.to_ne_bytes()),
        (dest::TUN_TYPE, &[1]),
        (dest::TUN_PORT, &6080_u16.to_be_bytes()),
        (dest::TUN_FLAGS, &1_u16.to_ne_bytes()),
        (dest::WEIGHT, &0_u32.to_ne_bytes()),
    ]);
    let heavy = attributes(&[
        (dest::ADDR, &v4(10, 0, 0, 99)),
        (dest::WEIGHT, &70_000_u32.to_ne_bytes()),
    ]);
    let mark = attributes(&[
        (svc::AF, &AF_INET6.to_ne_bytes()),
        (svc::FWMARK, &7_u32.to_ne_bytes()),
        (svc::SCHED_NAME, b"wlc\0"),
    ]);
    let table = Table {
        services: vec![
            (mark, Vec::new()),
            (web, vec![second, heavy, first]),
            (attributes(&[(svc::AF, &AF_INET.to_ne_bytes())]), Vec::new()),
        ],
        daemons: vec![attributes(&[
            (sync::INTERFACE, b"eth1\0"),
            (sync::ID, &51_u32.to_ne_bytes()),
        ])],
        timeouts: attributes(&[
            (about::TIMEOUT_TCP, &900_u32.to_ne_bytes()),
            (about::TIMEOUT_TCP_FIN, &30_u32.to_ne_bytes()),
            (about::TIMEOUT_UDP, &300_u32.to_ne_bytes()),
        ]),
    };
    let mut report = Report::default();
    let found = found(&table, &mut report);
    let globals: Vec<_> = found
        .globals
        .iter()
        .map(|one| format!("{} = {}", one.name, one.value))
        .collect();
    assert_eq!(
        globals,
        [
            "tcpfin_timeout = 30",
            "syncdaemon = 1",
            "syncd_iface = eth1",
            "syncd_id = 51"
        ]
    );
    let [web, mark] = found.services.as_slice() else {
        panic!("{:?}", found.services)
    };
    assert_eq!(mark.what, What::Mark(7, Family::Ipv6));
    let socket = "192.0.2.10:80".parse().unwrap();
    assert_eq!(web.what, What::Address(Protocol::Tcp, socket));
    let flags = SchedulerFlags {
        fallback: true,
        port: true,
        compat: false,
    };
    assert_eq!(web.terms.flags, Some(flags));
    assert_eq!(web.terms.persistent, Some(300));
    assert_eq!(web.terms.mask, Some([255, 255, 255, 0].into()));
    let servers: Vec<_> = web
        .servers
        .iter()
        .map(|server| {
            (
                server.address.to_string(),
                server.port,
                server.terms.clone(),
            )
        })
        .collect();
    let gue = Tunnel::Gue {
        port: 6080,
        checksum: true,
    };
    assert_eq!(
        servers,
        [
            (
                "10.0.0.12".to_owned(),
                Some(8080),
                ServerTerms {
                    name: None,
                    forwarding: Some(Forwarding::Nat),
                    weight: Some(5),
                    upper: Some(1000),
                    lower: Some(750),
                }
            ),
            (
                "::1".to_owned(),
                Some(80),
                ServerTerms {
                    forwarding: Some(Forwarding::Tunnel { tunnel: gue }),
                    weight: Some(0),
                    ..ServerTerms::default()
                }
            ),
        ]
    );
    let told: Vec<_> = report.finish().iter().map(LeftOut::to_string).collect();
    assert_eq!(
        told,
        [
            "IPVS, TCP 192.0.2.10:80: left out: the persistence engine `sip`: clients are told apart by their \
             addresses",
            "IPVS, TCP 192.0.2.10:80: left out: 10.0.0.99 has weight 70000: weights end at 65535",
            "IPVS: left out: a service of protocol 0",
        ]
    );
}
