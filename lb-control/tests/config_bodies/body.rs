//! What may come of a body about lvs.cf that somebody sends to the daemon.

use std::net::IpAddr;

use lb_control::{
    config::{excerpt::excerpt_with, names::Names, parse_with, text::Text},
    control::{configuration::Replacement, probe::Trial},
};

/// No name server is asked.
struct NoNames;

impl Names for NoNames {
    fn host(&mut self, _: &str) -> Option<IpAddr> {
        None
    }

    fn service(&mut self, _: &str) -> Option<u16> {
        None
    }
}

/// Takes a body for each kind of question: it is refused, or what it asks for is whole. Whether it was taken for any.
pub(crate) fn take(body: &[u8]) -> bool {
    let text = serde_json::from_slice::<Text>(body);
    if let Ok(text) = &text {
        check(text);
    }
    let replacement = serde_json::from_slice::<Replacement>(body);
    if let Ok(replacement) = &replacement {
        let sent = serde_json::to_vec(replacement).unwrap_or_default();
        let again = serde_json::from_slice(&sent).ok();
        assert_eq!(again.as_ref(), Some(replacement), "it is sent as it is");
    }
    let trial = serde_json::from_slice::<Trial>(body);
    if let Ok(Trial::Written { text, place }) = &trial
        && let Ok(bytes) = text.encode()
    {
        let document = parse_with("lvs.cf", &bytes, &mut NoNames).document;
        if let Ok(site) = excerpt_with(&document, place, &mut NoNames) {
            let servers = site.services.iter().map(|service| service.servers.len());
            let servers: usize = servers.sum();
            assert!(servers <= 1, "{servers} real servers would be tried");
        }
    }
    text.is_ok() || replacement.is_ok() || trial.is_ok()
}

/// What can be written is what was meant, and has diagnostics of places that are there.
fn check(text: &Text) {
    let Ok(bytes) = text.encode() else {
        return;
    };
    let read = Text::decode(&bytes);
    assert_eq!(
        read.encode().as_ref(),
        Ok(&bytes),
        "it is written as it was read"
    );
    let outcome = parse_with("lvs.cf", &bytes, &mut NoNames);
    let length = outcome.document.source.text().len();
    for one in &outcome.diagnostics {
        assert!(!one.message.is_empty());
        assert!(one.span.start <= one.span.end && one.span.end <= length);
    }
}
