//! A pair of directors: one fails, the other takes over.

use anyhow::{Result, ensure};
use lb_tests::{Family, Method, Pair, Service, Site, on_stage};

#[test]
fn the_backup_takes_over_from_a_daemon_that_was_killed() {
    on_stage(|lab, lb| -> Result<()> {
        let family = Family::V4;
        let site = Site::new(Method::Direct)
            .with(Service::web(family, 2))
            .paired();
        let mut pair = Pair::set(lab, lb, Method::Direct, &site)?;
        pair.await_ready()?;
        pair.all_answered(family, 20)?;
        pair.at_most_one_holds(family)?;
        ensure!(
            pair.neighbour_of_client(family)? == 0,
            "the client asks the backup"
        );

        pair.directors[0].kill()?;
        pair.await_active(1)?;
        pair.all_answered(family, 20)?;
        // Nobody took it off; the lease is what keeps the first from answering for it.
        ensure!(
            pair.holds_vip(0, family)?,
            "the address of the first is gone"
        );
        ensure!(
            pair.neighbour_of_client(family)? == 1,
            "the client asks the first still"
        );

        pair.directors[0].start_again()?;
        pair.directors[0]
            .await_status("the first is on standby", |status| status.role == "standby")?;
        pair.await_active(1)?;
        pair.at_most_one_holds(family)?;
        pair.all_answered(family, 20)
    });
}
