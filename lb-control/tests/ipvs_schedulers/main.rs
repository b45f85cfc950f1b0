//! Our schedulers against the kernel's: every history that was recorded of IPVS is played on the rings of
//! the control plane and the data plane, and every choice is compared.
#![expect(
    clippy::expect_used,
    reason = "a record that is not complete has failed"
)]

mod record;
mod world;

use record::histories;
use world::World;

/// Where we differ from IPVS: the beginning of the history's title, and why.
const DIFFERENT: [(&str, &str); 1] = [(
    "wlc, one active connection counts as 256 inactive ones",
    "where both servers have an overhead of 256, and again of 257, the kernel took the one that \
         stands last in its list, but the first wherever else two are equal, as its source says",
)];

#[test]
fn every_choice_is_that_of_ipvs() {
    let record = include_str!("../data/ipvs-schedulers.txt");
    let histories = histories(record);
    assert!(histories.len() > 100, "the record is all there");
    let mut differences = Vec::new();
    for history in &histories {
        let mut world = World::new(history);
        let found = history.events.iter().find_map(|(line, event)| {
            let difference = world.live(event).err()?;
            Some(format!("{}, line {line}: {difference}", history.title))
        });
        let reason = DIFFERENT
            .iter()
            .find(|(title, _)| history.title.starts_with(title));
        match (found, reason) {
            (Some(difference), None) => differences.push(difference),
            (None, Some((_, reason))) => {
                differences.push(format!("{}: no difference, but {reason}", history.title));
            }
            (Some(_), Some(_)) | (None, None) => {}
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}
