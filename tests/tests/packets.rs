//! The packet table in the kernel: the same rows that run on the host in `lb-common`.

use std::{
    collections::BTreeMap,
    os::fd::{AsRawFd, OwnedFd},
};

use anyhow::{Context, Result, bail, ensure};
use lb_common::{
    flow::{Flow, FlowKey},
    testing::{BACK, Case, FRONT, HostFlows, HostPacket, balance, table},
    verdict::{Fate, Reason, Verdict},
};

use nix::{
    net::if_::if_nametoindex,
    sys::{
        socket::{
            AddressFamily, LinkAddr, SockFlag, SockProtocol, SockType, recvfrom, setsockopt,
            socket, sockopt::ReceiveTimeout,
        },
        time::{TimeVal, TimeValLike},
    },
};

mod kernel;
use kernel::{Program, on_a_router};

const XDP_DROP: u32 = 1;
const XDP_PASS: u32 = 2;
const XDP_TX: u32 = 3;
const XDP_REDIRECT: u32 = 4;

#[test]
fn every_packet_ends_as_the_table_says() {
    on_a_router(|program| {
        let cases = table();
        let wrong: Vec<_> = cases
            .iter()
            .filter_map(|case| {
                let outcome = run(program, case);
                let error = outcome.with_context(|| case.name.clone()).err()?;
                Some(format!("{error:#}"))
            })
            .collect();
        let (count, of) = (wrong.len(), cases.len());
        ensure!(wrong.is_empty(), "{count} of {of}:\n{}", wrong.join("\n"));
        println!("{of} packets");
        Ok(())
    });
}

/// Test runs tell bytes and "redirect", not where to. So the frames are let go, and looked for at
/// the other ends of the wires.
#[test]
fn forwarded_frames_leave_by_the_right_interface() {
    on_a_router(|program| {
        let ends = socket(
            AddressFamily::Packet,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC,
            SockProtocol::EthAll,
        )?;
        setsockopt(&ends, ReceiveTimeout, &TimeVal::seconds(5))?;
        let mut count = 0;
        for case in table() {
            let interface = match case.verdict {
                Ok(Verdict::Redirect(interface)) => interface,
                Ok(Verdict::Transmit) => case.interface,
                Ok(Verdict::Pass | Verdict::Hold) | Err(_) => continue,
            };
            program.set_up(&case.site)?;
            for (interface, frame) in &case.before {
                program.balance(*interface, frame)?;
            }
            program.set_lease(case.lease)?;
            program.balance_live(case.interface, &case.input)?;
            let arrived = await_frame(&ends, &case.output)
                .with_context(|| format!("{}: it does not arrive", case.name))?;
            let end = match interface {
                FRONT => "front-end",
                BACK => "back-end",
                other => bail!("{}: no interface {other}", case.name),
            };
            ensure!(
                arrived == if_nametoindex(end)?,
                "{}: it arrives at {arrived}",
                case.name
            );
            count += 1;
        }
        println!("{count} frames");
        Ok(())
    });
}

/// Waits for a frame with these bytes: the interface that it came in by.
fn await_frame(socket: &OwnedFd, frame: &[u8]) -> Result<u32> {
    // The kernel takes a VLAN tag off before sockets see the frame.
    let expected = match frame[12..14] {
        [0x81, 0] => [&frame[..12], &frame[16..]].concat(),
        _ => frame.to_vec(),
    };
    let mut bytes = [0; 4096];
    loop {
        let (length, from) = recvfrom::<LinkAddr>(socket.as_raw_fd(), &mut bytes)?;
        // Its own packets, such as router solicitations, are none of ours.
        if bytes[..length] == expected {
            return Ok(from.context("an address")?.ifindex() as u32);
        }
    }
}

fn run(program: &mut Program, case: &Case) -> Result<()> {
    program.set_up(&case.site)?;
    let host = case.site.tables();
    for (interface, frame) in &case.before {
        program.balance(*interface, frame)?;
        let _ = balance(&mut HostPacket::new(frame, *interface), &host);
    }
    ensure!(
        program.reasons()?.is_empty(),
        "what comes first: {:?}",
        program.reasons()?
    );
    program.set_lease(case.lease)?;
    host.lease.set(case.lease);
    let (action, output) = program.balance(case.interface, &case.input)?;
    let _ = balance(&mut HostPacket::new(&case.input, case.interface), &host);

    let expected = action_of(case.verdict);
    let reasons = program.reasons()?;
    ensure!(
        action == expected,
        "action {action} instead of {expected}; {reasons:?}"
    );
    let counted: BTreeMap<_, _> = [case.answered, case.verdict.err()]
        .into_iter()
        .flatten()
        .map(|reason| (reason.name(), 1))
        .collect();
    ensure!(
        reasons == counted,
        "counted {reasons:?} instead of {counted:?}"
    );
    let events = program.events()?;
    ensure!(
        events == *host.events.borrow(),
        "{events:?}, on the host {:?}",
        host.events.borrow()
    );
    ensure!(
        action == XDP_DROP || output == case.output,
        "\n  {output:02x?} instead of\n  {:02x?}",
        case.output
    );

    // What is remembered and counted is the same on the host.
    same_flows(&program.flows4()?, &host.v4.borrow())?;
    same_flows(&program.flows6()?, &host.v6.borrow())?;
    let (v4, v6) = (host.v4.borrow(), host.v6.borrow());
    for (queue, length) in (0..).zip([
        v4.half_open.len(),
        v4.standing.len(),
        v6.half_open.len(),
        v6.standing.len(),
    ]) {
        let queued = program.queued(queue)? as usize;
        ensure!(queued == length, "queue {queue}: {queued} and {length}");
    }
    for (family, census) in (0..).zip([v4.census, v6.census]) {
        let counted = program.census(family)?;
        ensure!(counted == census, "{counted:?}, on the host {census:?}");
    }
    for id in 0..case.site.servers.len() as u32 {
        let (load, on_host) = (program.load_of(id)?, host.loads.borrow().get(&id).copied());
        ensure!(load == on_host.unwrap_or_default(), "{load:?}, {on_host:?}");
        let (traffic, on_host) = (
            program.traffic_of(id)?,
            host.traffic.borrow().get(&id).copied(),
        );
        ensure!(
            traffic == on_host.unwrap_or_default(),
            "{traffic:?}, {on_host:?}"
        );
    }
    Ok(())
}

fn action_of(verdict: Result<Verdict, Reason>) -> u32 {
    match verdict {
        Ok(Verdict::Pass) => XDP_PASS,
        Ok(Verdict::Transmit) => XDP_TX,
        Ok(Verdict::Hold) => XDP_DROP,
        Ok(Verdict::Redirect(_)) => XDP_REDIRECT,
        Err(reason) => match reason.fate() {
            Fate::Pass => XDP_PASS,
            Fate::Drop | Fate::Answer => XDP_DROP,
        },
    }
}

fn same_flows<A: Ord + Copy + std::fmt::Debug>(
    kernel: &BTreeMap<FlowKey<A>, Flow<A>>,
    host: &HostFlows<A>,
) -> Result<()> {
    // The clocks differ.
    let timeless = |flow: Flow<A>| Flow { seen: 0, ..flow };
    let kernel: BTreeMap<_, _> = kernel
        .iter()
        .map(|(key, flow)| (*key, timeless(*flow)))
        .collect();
    let host: BTreeMap<_, _> = host
        .flows
        .iter()
        .map(|(key, entry)| (*key, timeless(entry.flow())))
        .collect();
    ensure!(kernel == host, "flows {kernel:?}\n  on the host {host:?}");
    Ok(())
}
