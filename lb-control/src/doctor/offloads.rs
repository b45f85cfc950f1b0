//! Which offloads of an interface are on, by ethtool's netlink.

use std::collections::{BTreeMap, BTreeSet};

use ethtool::{EthtoolAttr, EthtoolFeatureAttr, EthtoolHandle};
use futures_util::{StreamExt as _, pin_mut};

use crate::network::links::Links;

/// The names of the offloads that are on, as `ethtool -k` calls them in the kernel (`rx-lro`). An interface of
/// which the kernel tells nothing is left out.
pub(super) async fn read(links: &Links) -> BTreeMap<String, BTreeSet<String>> {
    let Ok((connection, handle, _)) = ethtool::new_connection() else {
        return BTreeMap::new();
    };
    let connection = tokio::spawn(connection);
    let mut offloads = BTreeMap::new();
    for link in links.iter() {
        if let Some(active) = active(handle.clone(), &link.name).await {
            offloads.insert(link.name.clone(), active);
        }
    }
    connection.abort();
    offloads
}

async fn active(mut handle: EthtoolHandle, name: &str) -> Option<BTreeSet<String>> {
    let answers = handle.feature().get(Some(name)).execute().await.ok()?;
    pin_mut!(answers);
    let mut active = None;
    while let Some(Ok(answer)) = answers.next().await {
        for attribute in answer.payload.nlas {
            if let EthtoolAttr::Feature(EthtoolFeatureAttr::Active(bits)) = attribute {
                let on = bits.into_iter().filter(|bit| bit.value);
                active = Some(on.map(|bit| bit.name).collect());
            }
        }
    }
    active
}
