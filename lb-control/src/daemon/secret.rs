//! The key of mh's hash where lvs.cf gives none.

use tracing::info;

use crate::{
    model::{Scheduler, Site},
    random,
};

/// A key that nobody can guess.
pub(super) fn draw() -> std::io::Result<[u64; 2]> {
    Ok([random::draw()?, random::draw()?])
}

/// Tells those who may have two directors that these have to agree.
pub(super) fn tell_pairs(site: &Site) {
    let is_needed = site
        .services
        .iter()
        .any(|service| service.scheduler == Scheduler::Mh && !service.flags.compat);
    if is_needed && site.settings.secret == [0; 2] {
        info!(
            "lvs.cf has no `mh_secret`: mh places clients by a key of this director; a pair of \
             directors needs the same `mh_secret`"
        );
    }
}
