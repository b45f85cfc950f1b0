use super::*;
use crate::config::{edit::Value, text::Encoding};

const FILE: &str = "# ours, do not touch\nprimary = 10.0.0.250   # the left one\nmh_secret = \"quite a long secret\"\n\
    keepalive = 6\n\n# the shop\nvirtual web {\n     active = 1\n     address = 192.0.2.10 eth0:1\n\
    \n     server one {\n          address = 10.0.0.1\n          active = 1\n     }\n}\n";

fn current(text: &str) -> Current {
    Current {
        path: "lvs.cf".to_owned(),
        version: Fingerprint::of(text.as_bytes()),
        loaded: true,
        text: Text::decode(text.as_bytes()),
    }
}

fn draft() -> Draft {
    Draft::of(&current(FILE)).unwrap()
}

fn set(path: &str, value: &str) -> Edit {
    Edit::Set {
        path: path.parse().unwrap(),
        value: Value::from(value),
    }
}

#[test]
fn an_edit_leaves_everything_else_as_it_stands() {
    let mut draft = draft();
    draft
        .edit(&[set("virtual/web/port", "443"), set("keepalive", "3")])
        .unwrap();
    assert!(draft.is_changed());
    let expected = FILE
        .replace("keepalive = 6", "keepalive = 3")
        .replace("eth0:1\n", "eth0:1\n     port = 443\n");
    assert_eq!(draft.text().text, expected);
    assert_eq!(draft.base(), FILE);
    draft.discard();
    assert_eq!(draft.text().text, FILE);
}

#[test]
fn an_edit_that_cannot_be_changes_nothing() {
    let table = [
        set("virtual/web/port", "eighty"),
        set("virtual/web/port", "80\n}\nvirtual evil {"),
        set("virtual/shop/port", "80"),
        set("virtual/web/colour", "red"),
    ];
    for edit in table {
        let mut draft = draft();
        let refused = draft.edit(&[set("keepalive", "3"), edit.clone()]);
        assert!(refused.is_err(), "{edit:?}");
        assert!(!draft.is_changed(), "{edit:?}");
    }
}

#[test]
fn who_types_sees_no_secret_and_loses_none() {
    let mut draft = draft();
    let shown = draft.veiled();
    assert!(!shown.contains("quite"), "{shown}");
    let typed = shown
        .replace("keepalive = 6\n", "keepalive = 9\n")
        .replace('\n', "\r\n");
    draft.retype(&typed).unwrap();
    assert_eq!(
        draft.text().text,
        FILE.replace("keepalive = 6", "keepalive = 9")
    );
    let typed = shown.replace("mh_secret = \"***** *", "mh_secret = \"**");
    let error = draft.retype(&typed).unwrap_err().to_string();
    assert!(
        error.contains("line 3: the secret is hidden here"),
        "{error}"
    );
    assert!(matches!(draft.retype("a\0"), Err(NotDrafted::NoText)));
    let long = "#".repeat(LARGEST + 1);
    assert!(matches!(draft.retype(&long), Err(NotDrafted::TooLarge)));
}

#[test]
fn the_second_goes_along_or_is_asked() {
    // What the one wrote, what the other had changed, and what becomes of it; nothing if he is asked.
    let table = [
        (
            "keepalive = 6",
            "keepalive = 3",
            "eth0:1",
            "eth0:2",
            Some(()),
        ),
        (
            "keepalive = 6",
            "keepalive = 3",
            "keepalive = 6",
            "keepalive = 3",
            Some(()),
        ),
        (
            "keepalive = 6",
            "keepalive = 3",
            "keepalive = 6",
            "keepalive = 2",
            None,
        ),
        (
            "# the shop",
            "# the old shop",
            "10.0.0.1\n",
            "10.0.0.7\n",
            Some(()),
        ),
    ];
    for (theirs, their, mine, my, expected) in table {
        let mut draft = draft();
        draft.retype(&draft.veiled().replace(mine, my)).unwrap();
        let before = draft.clone();
        let now = current(&FILE.replace(theirs, their));
        let followed = draft.follow(&now).unwrap();
        match expected {
            Some(()) => {
                assert!(
                    matches!(followed, Followed::Carried | Followed::Renewed),
                    "{my}"
                );
                assert_eq!(draft.version(), &now.version);
                let both = FILE.replace(theirs, their).replace(mine, my);
                assert_eq!(draft.text().text, both, "{my}");
            }
            None => {
                assert!(matches!(followed, Followed::Apart(_)), "{my}");
                assert_eq!(draft, before, "nothing is lost");
            }
        }
    }
}

#[test]
fn whoever_chooses_has_to_have_seen_what_he_chooses_from() {
    let mut draft = draft();
    draft.edit(&[set("keepalive", "2")]).unwrap();
    let now = current(&FILE.replace("keepalive = 6", "keepalive = 3"));
    let (seen, state) = (now.version.to_string(), draft.state().to_string());
    let stale = Fingerprint::of(b"").to_string();
    let table = [
        (
            (&stale, &state),
            vec![Choice::Mine],
            Err(Unsettled::Changed),
        ),
        ((&seen, &stale), vec![Choice::Mine], Err(Unsettled::Changed)),
        ((&seen, &state), vec![], Err(Unsettled::Missing)),
        ((&seen, &state), vec![Choice::Mine], Ok("keepalive = 2")),
        ((&seen, &state), vec![Choice::Theirs], Ok("keepalive = 3")),
    ];
    for ((seen, state), choices, expected) in table {
        let mut draft = draft.clone();
        let done = draft.settle(&now, (seen, state), &choices);
        assert_eq!(done, expected.map(drop), "{choices:?}");
        if let Ok(line) = expected {
            assert!(draft.text().text.contains(line), "{choices:?}");
            assert_eq!(draft.version(), &now.version);
        }
    }
}

#[test]
fn who_changed_nothing_sees_what_there_is_now() {
    let mut draft = draft();
    let now = current(&FILE.replace("keepalive = 6", "keepalive = 3"));
    assert_eq!(draft.follow(&now).unwrap(), Followed::Renewed);
    assert_eq!(draft, Draft::of(&now).unwrap());
    assert_eq!(draft.follow(&now).unwrap(), Followed::Same);
}

#[test]
fn a_file_of_latin1_stays_one() {
    let bytes = [b"# f\xfcr\n", FILE.as_bytes()].concat();
    let mut now = current("");
    now.text = Text::decode(&bytes);
    now.version = Fingerprint::of(&bytes);
    let mut draft = Draft::of(&now).unwrap();
    draft.edit(&[set("keepalive", "3")]).unwrap();
    assert_eq!(draft.text().encoding, Encoding::Latin1);
    assert!(
        draft
            .text()
            .encode()
            .unwrap()
            .starts_with(b"# f\xfcr\n# ours")
    );
    let error = draft.edit(&[set("virtual/web/send", "ü")]).unwrap_err();
    assert!(error.to_string().contains("has no `ü`"), "{error}");
}

#[test]
fn drafts_are_bounded_and_the_one_that_is_not_used_goes() {
    let mut drafts = Drafts::default();
    let mut changed = draft();
    changed.edit(&[set("keepalive", "3")]).unwrap();
    drafts.keep("nobody", draft());
    assert!(drafts.get("nobody").is_none(), "there is nothing to keep");
    for user in 0..MOST {
        drafts.keep(&format!("user{user:02}"), changed.clone());
    }
    assert!(drafts.get("user00").is_some());
    drafts.keep("one more", changed.clone());
    assert!(drafts.get("user01").is_none());
    assert!(drafts.get("user00").is_some());
    assert_eq!(drafts.others("user00").len(), MOST - 1);
    drafts.keep("user00", draft());
    assert!(drafts.get("user00").is_none());
}

#[test]
fn nobody_is_asked_for_names() {
    let mut draft = draft();
    draft
        .edit(&[set("virtual/web/server/one/address", "rs1.invalid")])
        .unwrap();
    draft
        .edit(&[set("primary", "lb1.invalid"), set("backup", "lb2.invalid")])
        .unwrap();
    assert!(draft.text().text.contains("address = rs1.invalid"));
}
