//! Rows of the packet table: SCTP.

use super::{
    BACK, FRONT, PacketBuilder, Site, sctp, server,
    table::{Case, Ends, FAMILIES, FROM_SERVER, TO_CLIENT, TO_SERVER, forwarded, unchanged},
};
use crate::{
    maps::{MethodKind, SchedulerKind, Settings},
    verdict::{Reason, Verdict},
    wire::{
        protocol::SCTP,
        sctp::chunk::{ABORT, COOKIE_ACK, COOKIE_ECHO, DATA, INIT_ACK, SHUTDOWN_ACK},
    },
};

pub(super) fn rows() -> Vec<Case> {
    let mut cases = Vec::new();
    for ends in FAMILIES {
        cases.extend(masqueraded(&ends));
        cases.extend(routed(&ends));
        cases.extend(without_a_flow(&ends));
    }
    cases
}

fn site(ends: &Ends, method: MethodKind, real_server: &str) -> Site {
    Site::default().service(
        SCTP,
        ends.virtual_server,
        SchedulerKind::TURNS,
        &[server(method, real_server, 0x51)],
    )
}

/// The service's port on the real server.
fn same_port(ends: &Ends) -> String {
    ends.real_server.replace(":8080", ":80")
}

fn masqueraded(ends: &Ends) -> Vec<Case> {
    let mut cases = Vec::new();
    for (real_server, ports) in [
        (ends.real_server.to_owned(), "another port"),
        (same_port(ends), "the same port"),
    ] {
        let name = |what: &str| format!("NAT, {}, SCTP, {ports}: {what}", ends.family);
        let site = site(ends, MethodKind::NAT, &real_server);
        let init = sctp(ends.client, ends.virtual_server);
        let request = |input: PacketBuilder, what: &str| {
            let output = input.clone().to(&real_server).macs(TO_SERVER).hops(63);
            forwarded(name(what), site.clone(), &input, &output)
        };
        let reply = |input: PacketBuilder, what: &str| {
            let input = input.macs(FROM_SERVER);
            let output = input.clone().from(ends.virtual_server);
            forwarded(
                name(what),
                site.clone(),
                &input,
                &output.macs(TO_CLIENT).hops(63),
            )
            .after(&[(FRONT, &init)])
            .by(BACK, Ok(Verdict::Redirect(FRONT)))
        };
        cases.push(request(init.clone(), "INIT"));
        let answer = sctp(&real_server, ends.client);
        cases.push(reply(answer.clone().chunk(INIT_ACK), "INIT ACK"));
        let echo = init
            .clone()
            .chunks(&[COOKIE_ECHO, DATA])
            .payload(b"a cookie, ");
        cases.push(request(echo, "COOKIE ECHO with data").after(&[(FRONT, &init)]));
        cases.push(reply(
            answer.clone().chunks(&[COOKIE_ACK, SHUTDOWN_ACK]),
            "COOKIE ACK",
        ));
        // The checksum is brought up to date by how many bytes follow the ports.
        for length in [0, 1, 235, 236, 237, 1000, 1400] {
            let data = vec![0x5a; length];
            let data = init.clone().chunk(DATA).payload(&data);
            let what = format!("{length} bytes of data");
            cases.push(request(data, &what).after(&[(FRONT, &init)]));
        }
        cases.push(reply(
            answer.chunk(DATA).payload(&[0xa5; 1401]),
            "a reply of 1401 bytes",
        ));
    }
    cases
}

fn routed(ends: &Ends) -> Vec<Case> {
    let init = sctp(ends.client, ends.virtual_server);
    let site = site(ends, MethodKind::DIRECT, ends.twin);
    let row = |input: &PacketBuilder, what: &str| {
        forwarded(
            format!("direct routing, {}, SCTP: {what}", ends.family),
            site.clone(),
            input,
            &input.clone().macs(TO_SERVER).hops(63),
        )
    };
    vec![
        row(&init, "INIT"),
        row(&init.clone().chunk(DATA), "data").after(&[(FRONT, &init)]),
        row(&init.clone().chunk(ABORT), "ABORT").after(&[(FRONT, &init)]),
    ]
}

/// What begins no association.
fn without_a_flow(ends: &Ends) -> Vec<Case> {
    let site = site(ends, MethodKind::NAT, ends.real_server);
    let packet = |kind| sctp(ends.client, ends.virtual_server).chunk(kind);
    let name = |what: &str| format!("{}, SCTP without a flow: {what}", ends.family);
    let mut cases: Vec<_> = [
        (INIT_ACK, "INIT ACK"),
        (COOKIE_ECHO, "COOKIE ECHO"),
        (DATA, "data"),
        (ABORT, "ABORT"),
        (SHUTDOWN_ACK, "SHUTDOWN ACK"),
        (0xff, "an unknown chunk"),
    ]
    .into_iter()
    .map(|(kind, what)| {
        let input = packet(kind).build();
        unchanged(name(what), site.clone(), input, Err(Reason::NoFlow))
    })
    .collect();
    let sloppy = site
        .clone()
        .settings(|settings| settings.flags |= Settings::SLOPPY_SCTP);
    cases.push(forwarded(
        name("data where any packet begins one"),
        sloppy.clone(),
        &packet(DATA),
        &packet(DATA).to(ends.real_server).macs(TO_SERVER).hops(63),
    ));
    cases.push(unchanged(
        name("ABORT where any packet begins one"),
        sloppy,
        packet(ABORT).build(),
        Err(Reason::NoFlow),
    ));
    cases
}
