//! `track_gateway`: a node that has lost its own network gives way, and does not take over.

use anyhow::{Result, ensure};
use lb_tests::{Family, Host, Method, Pair, Service, Site, on_stage, status::Status};

const FAMILY: Family = Family::V4;
const REQUESTS: u32 = 20;

/// The gateway answers this router, or it does not; to all others it does. The client is what both track.
fn answers(client: &Host, router: u8, does: bool) -> Result<()> {
    let verb = if does { "delete" } else { "add" };
    client.ip(&format!(
        "route {verb} blackhole {}/32",
        FAMILY.router(router)
    ))
}

fn misses_the_gateway(status: &Status) -> bool {
    let unfit = status.pair.as_ref().and_then(|pair| pair.unfit.as_deref());
    unfit.is_some_and(|why| why.contains("gateway"))
}

#[test]
fn who_does_not_hear_the_gateway_gives_way_and_takes_nothing_over() {
    on_stage(|lab, lb| {
        let mut site = Site::new(Method::Nat)
            .with(Service::web(FAMILY, 2))
            .paired();
        let gateway = format!("track_gateway = {}", FAMILY.client());
        site.directives.push(gateway);
        let mut pair = Pair::set(lab, lb, Method::Nat, &site)?;
        pair.await_ready()?;
        pair.all_answered(FAMILY, REQUESTS)?;
        let client = pair.network.client.clone();

        answers(&client, 0, false)?;
        pair.await_active(1)?;
        pair.at_most_one_holds(FAMILY)?;
        pair.all_answered(FAMILY, REQUESTS)?;
        pair.directors[0].await_status("it misses its gateway", misses_the_gateway)?;
        pair.directors[1].await_status("it knows that the other is not able", |status| {
            let partner = status.pair.as_ref().and_then(|pair| pair.partner.as_ref());
            partner.is_some_and(|partner| !partner.fit)
        })?;
        let refused =
            pair.directors[1].refused(["failover", "--socket", lb_tests::director::SOCKET])?;
        ensure!(refused.contains("not able"), "{refused}");

        // The partner dies: nobody is active rather than one whom no client reaches.
        pair.directors[1].kill()?;
        let alone = pair.directors[0].await_status("it is alone", |status| {
            status
                .pair
                .as_ref()
                .is_some_and(|pair| pair.partner.is_none())
        })?;
        ensure!(
            alone.role != "active" && misses_the_gateway(&alone),
            "{alone:?}"
        );
        ensure!(!pair.holds_vip(0, FAMILY)?, "it holds the virtual address");

        answers(&client, 0, true)?;
        pair.await_active(0)?;
        pair.all_answered(FAMILY, REQUESTS)
    });
}
