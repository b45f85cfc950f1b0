//! What may come of a body that somebody sends to the daemon.

use std::sync::LazyLock;

use lb_control::{
    control::{change::Changes, log::Wish, order::Order},
    difference::differences,
    model::Site,
    runtime::RuntimeChanges,
};

/// What lvs.cf says meanwhile.
static SITE: LazyLock<Site> = LazyLock::new(|| {
    let text = "network = nat\n\
        virtual web {\nactive = 1\naddress = 192.0.2.10 eth0:1\nvip_nmask = 255.255.255.0\nport = 80\n\
        server rs1 {\naddress = 10.0.0.1\nactive = 1\nweight = 1\n}\n\
        server rs2 {\naddress = 10.0.0.2\nactive = 1\nweight = 2\n}\n}\n";
    let said = lb_control::config::parse("lvs.cf", text.as_bytes());
    match said.site {
        Some((_, site)) => site,
        None => panic!("{:?}", said.diagnostics),
    }
});

/// Takes a body for each kind of question: it is refused, or what it asks for is whole.
pub(crate) fn take(body: &[u8]) {
    if let Ok(order) = serde_json::from_slice::<Order>(body) {
        let _ = order.find(&SITE);
    }
    let _ = serde_json::from_slice::<Wish>(body);
    let Ok(Changes { changes: list, .. }) = serde_json::from_slice(body) else {
        return;
    };
    let mut changes = RuntimeChanges::default();
    if changes.make(&SITE, &list).is_err() {
        assert_eq!(
            changes,
            RuntimeChanges::default(),
            "nothing is made by half"
        );
        return;
    }
    let site = changes.apply(&SITE);
    // What it says is for people, and what is kept of it is read by the next daemon.
    for difference in differences(&SITE, &site) {
        assert!(!difference.to_string().is_empty());
    }
    let kept = serde_json::to_vec(&changes).unwrap_or_default();
    let mut read: RuntimeChanges = match serde_json::from_slice(&kept) {
        Ok(read) => read,
        Err(error) => panic!("what is kept cannot be read: {error}"),
    };
    assert_eq!(read.apply(&SITE), site, "a restart changes nothing");
    read.settle(&SITE);
    assert_eq!(
        differences(&site, &read.apply(&SITE)),
        [],
        "a reload of the same file changes nothing"
    );
}
