//! Two tools in front of two daemons: what one applies, the other takes, over real TLS.

use std::fs;

use tokio::{net::TcpListener, task::JoinSet};
use tokio_rustls::TlsAcceptor;

use super::{
    super::{
        partner::{Address, NotPushed, Partner, Pushed, make_key, push},
        server::{Door, serve},
        tls::Identity,
    },
    editing::{FILE, Tool},
};
use crate::config::{
    store::Fingerprint,
    text::{Encoding, Text},
};

/// A pair of tools, the second of which listens.
struct Pair {
    here: Tool,
    there: Tool,
    address: Address,
    _tasks: JoinSet<()>,
}

const KEY: &str = "partner.key";

impl Pair {
    /// Both have the same key. The second one signs that it has its own certificate, or that of another.
    async fn new(has_other_certificate: bool) -> Self {
        let (here, there) = (Tool::new(), Tool::new());
        make_key(here.folder.path(), false).unwrap();
        let (from, to) = (here.folder.path().join(KEY), there.folder.path().join(KEY));
        fs::copy(from, to).unwrap();

        let (own, _) = Identity::own(there.folder.path()).unwrap();
        let signed = match has_other_certificate {
            true => Identity::own(here.folder.path()).unwrap().0.certificate(),
            false => own.certificate(),
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = Address(listener.local_addr().unwrap());
        let partner = Partner::new(there.folder.path(), signed, None).unwrap();
        let _ = there.app.clone().with_partner(partner);
        let partner = Partner::new(here.folder.path(), None, Some(address)).unwrap();
        let _ = here.app.clone().with_partner(partner);
        let door = Door {
            router: there.router.clone(),
            tls: Some(TlsAcceptor::from(own.config().unwrap())),
            proxy: None,
        };
        let mut tasks = JoinSet::new();
        tasks.spawn(serve(vec![listener], door));
        Self {
            here,
            there,
            address,
            _tasks: tasks,
        }
    }

    /// Pushes a text that was made of others. What is said to it.
    async fn push(
        &self,
        text: &str,
        ancestors: &[&str],
        overwrite: bool,
    ) -> Result<String, String> {
        let keys = self.here.app.partner().unwrap().keys().unwrap();
        let pushed = Pushed {
            text: Text {
                text: text.to_owned(),
                encoding: Encoding::Utf8,
            },
            ancestors: ancestors
                .iter()
                .map(|text| Fingerprint::of(text.as_bytes()))
                .collect(),
            overwrite,
            user: "ada\n".to_owned(),
        };
        match push(self.address, &keys, &pushed).await {
            Ok(Ok(replaced)) => Ok(replaced.steps[1].text.clone()),
            Ok(Err(NotPushed::Outdated(outdated))) => Err(outdated.text),
            Ok(Err(NotPushed::Refused(text))) => Err(text),
            Err(error) => Err(format!("{error:#}")),
        }
    }
}

#[tokio::test]
async fn what_is_applied_here_is_applied_there() {
    let pair = Pair::new(false).await;
    let ada = pair.here.browser("ada");
    ada.fill_in("/redundancy", "/redundancy", &[("keepalive", "2")])
        .await;
    ada.fill_in("/config/apply", "/config/apply", &[("do", "push")])
        .await;
    let expected = FILE.replace("keepalive = 6", "keepalive = 2");
    assert_eq!(pair.here.text(), expected);
    assert_eq!(pair.there.text(), expected);
    let told = ada.get("/config/apply").await.text;
    for step in ["Partner, check: ", "Partner, write: ", "Partner, reload: "] {
        assert!(told.contains(step), "{step}: {told}");
    }
    let audit = pair.there.app.audit.newest("");
    assert_eq!((&audit[0].user[..], audit[0].done), ("ada", true));

    // Who changed it there is not overrun unless that is wanted.
    let changed = expected.replace("# the shop", "# the shop, as it is there");
    fs::write(pair.there.file(), &changed).unwrap();
    ada.fill_in("/redundancy", "/redundancy", &[("keepalive", "3")])
        .await;
    ada.fill_in("/config/apply", "/config/apply", &[("do", "push")])
        .await;
    assert_eq!(pair.there.text(), changed);
    let told = ada.get("/config/apply").await.text;
    assert!(told.contains("was changed there"), "{told}");
    let fields = [("do", "push"), ("overwrite", "1")];
    ada.fill_in("/config/apply", "/config/apply", &fields).await;
    assert_eq!(
        pair.there.text(),
        FILE.replace("keepalive = 6", "keepalive = 3")
    );
}

#[tokio::test]
async fn a_partner_that_is_behind_catches_up_and_a_wrong_text_is_refused() {
    let pair = Pair::new(false).await;
    let (second, third) = (FILE.replace("= 6", "= 4"), FILE.replace("= 6", "= 5"));
    let done = pair.push(&third, &[&second, FILE], false).await.unwrap();
    assert!(done.ends_with("is what it was"), "{done}");
    assert_eq!(pair.there.text(), third);
    let again = pair.push(&third, &[], false).await.unwrap();
    assert!(again.ends_with("says this already"), "{again}");
    let refused = pair.push(FILE, &[&second], false).await.unwrap_err();
    assert!(
        refused.contains("the new text was not made of that"),
        "{refused}"
    );
    let refused = pair
        .push("keepalive = six\n", &[&third], false)
        .await
        .unwrap_err();
    assert!(
        refused.starts_with("the text has errors there: "),
        "{refused}"
    );
    assert_eq!(pair.there.text(), third);
}

#[tokio::test]
async fn nobody_in_between_and_nobody_without_the_key_sees_or_writes_the_file() {
    let other = Pair::new(true).await;
    let refused = other.push(FILE, &[FILE], true).await.unwrap_err();
    assert!(
        refused.contains("somebody is in between; nothing was sent"),
        "{refused}"
    );

    let pair = Pair::new(false).await;
    make_key(pair.there.folder.path(), true).unwrap();
    let refused = pair.push("# mine\n", &[FILE], true).await.unwrap_err();
    assert!(refused.contains("does not have our key"), "{refused}");
    fs::remove_file(pair.there.folder.path().join(KEY)).unwrap();
    let refused = pair.push("# mine\n", &[FILE], true).await.unwrap_err();
    assert!(
        refused.contains("this web tool has no key for a partner"),
        "{refused}"
    );
    assert_eq!(pair.there.text(), FILE);
}

#[tokio::test]
async fn whoever_sends_without_a_proof_is_refused_and_written_down() {
    let pair = Pair::new(false).await;
    let browser = pair.there.browser("viewer");
    let page = browser.get("/partner/challenge?nonce=abc").await;
    assert_eq!(page.status.as_u16(), 400, "{}", page.text);
    let page = format!("/partner/challenge?nonce={}", "0".repeat(64));
    let page = browser.get(&page).await;
    assert_eq!(page.status.as_u16(), 403, "{}", page.text);
    let sent = browser.fill_in_nothing("/partner/config").await;
    assert_eq!(sent.status.as_u16(), 403, "{}", sent.text);
    // Once, however often it is tried: nothing else is pushed out of the log.
    browser.fill_in_nothing("/partner/config").await;
    let audit = pair.there.app.audit.newest("partner");
    assert!(audit.len() == 1 && !audit[0].done, "{audit:?}");
}

#[tokio::test]
async fn who_cannot_connect_says_what_to_do() {
    let here = Tool::new();
    make_key(here.folder.path(), false).unwrap();
    let address = "https://127.0.0.1".parse().unwrap();
    let mut partner = Partner::new(here.folder.path(), None, Some(address)).unwrap();
    partner.is_open = false;
    let _ = here.app.clone().with_partner(partner);
    let page = here.browser("ada").get("/config/apply").await.text;
    assert!(page.contains("start lb web again"), "{page}");
    assert!(!page.contains("value=\"push\""), "{page}");
}
