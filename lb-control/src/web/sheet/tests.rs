use super::*;
use crate::{
    config::{self, store::Fingerprint, text::Text},
    control::configuration::Current,
    web::draft::Draft,
};

const FILE: &str = "# of the whole site\nprimary = 10.0.0.250\nservice = lvs\nkeepalive = 6\ndeadtime = 18\n\
    mh_secret = \"nobody has to know\"\n\n# the shop\nvirtual web {\n     active = 1   # since May\n\
    \x20    address = 192.0.2.10 eth0:1\n     address = 192.0.2.11 eth0:2\n     port = 80\n\
    \x20    send = \"GET / HTTP/1.0\\r\\n\\r\\n\"\n     server one {\n          address = 10.0.0.1\n\
    \x20         active = 1\n     }\n     server one {\n          address = 10.0.0.2\n     }\n}\n\
    virtual \"two words\" {\n     address = 192.0.2.12 eth0:3\n}\nfailover ftp {\n     port = 21\n}\n";

fn draft() -> Draft {
    Draft::of(&Current {
        path: "lvs.cf".to_owned(),
        version: Fingerprint::of(FILE.as_bytes()),
        loaded: true,
        text: Text::decode(FILE.as_bytes()),
    })
    .unwrap()
}

fn document() -> Document {
    config::parse("lvs.cf", FILE.as_bytes()).document
}

fn place(text: &str) -> Place {
    text.parse().unwrap()
}

/// Sends a form: what the file says after it, or what is wrong.
fn send(sheet: &Sheet, at: &str, form: &[(&str, &str)]) -> Result<String, Wrong> {
    let place = place(at);
    let said = Said::at(&document(), &place).unwrap();
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    let form: Vec<_> = form.iter().map(owned).collect();
    let mut draft = draft();
    let edits = edits(sheet, &place, &said, &form)?;
    try_edits(&mut draft, &place, &edits)?;
    Ok(draft.text().text.clone())
}

#[test]
fn a_form_that_is_sent_as_it_is_shown_changes_nothing() {
    let table = [
        (&GLOBAL, ""),
        (&REDUNDANCY, ""),
        (&VIRTUAL, "virtual/web"),
        (&SCRIPTS, "virtual/web"),
        (&SERVER, "virtual/web/server/#2"),
        (&FAILOVER, "failover/ftp"),
    ];
    for (sheet, at) in table {
        let said = Said::at(&document(), &place(at)).unwrap();
        let shown = |field: Field| {
            let value = match field.is_secret() {
                true => String::new(),
                false => said.shown(&field.row).replace('\n', "\r\n"),
            };
            (field.row.name.to_owned(), value)
        };
        let form: Vec<_> = sheet.fields().into_iter().map(shown).collect();
        assert_eq!(
            edits(sheet, &place(at), &said, &form),
            Ok(Vec::new()),
            "{at}"
        );
    }
}

#[test]
fn a_form_changes_what_it_says_and_nothing_else() {
    // The page, the place, the field and what is typed; a line of the file, and what becomes of it.
    let table = [
        (
            &REDUNDANCY,
            "",
            "keepalive",
            "500ms",
            "keepalive = 6\n",
            "keepalive = 500ms\n",
        ),
        (&REDUNDANCY, "", "keepalive", "", "keepalive = 6\n", ""),
        (
            &VIRTUAL,
            "virtual/web",
            "port",
            "443",
            "port = 80\n",
            "port = 443\n",
        ),
        (
            &SCRIPTS,
            "virtual/web",
            "send",
            "QUIT",
            "\"GET / HTTP/1.0\\r\\n\\r\\n\"",
            "\"QUIT\"",
        ),
        (
            &VIRTUAL,
            "virtual/web",
            "address",
            "192.0.2.10 eth0:1\r\n\r\n",
            "     address = 192.0.2.11 eth0:2\n",
            "",
        ),
        (
            &SERVER,
            "virtual/web/server/#2",
            "address",
            "10.0.0.7",
            "10.0.0.2\n",
            "10.0.0.7\n",
        ),
        (
            &GLOBAL,
            "",
            "mh_secret-remove",
            "1",
            "mh_secret = \"nobody has to know\"\n",
            "",
        ),
        (
            &GLOBAL,
            "",
            "mh_secret",
            "another that is long",
            "nobody has to know",
            "another that is long",
        ),
    ];
    for (sheet, at, field, value, before, after) in table {
        let mut form = vec![(field, value)];
        if field == "mh_secret-remove" {
            form.push(("mh_secret", ""));
        }
        let found = send(sheet, at, &form).unwrap();
        assert_eq!(found, FILE.replace(before, after), "{field} = {value}");
    }
}

#[test]
fn what_is_wrong_is_told_at_its_field() {
    let wrong = send(
        &VIRTUAL,
        "virtual/web",
        &[("port", "eighty"), ("protocol", "tpc"), ("scheduler", "rr")],
    );
    let wrong = wrong.unwrap_err();
    assert!(
        wrong.of("port").is_some_and(|text| text.contains("eighty")),
        "{wrong:?}"
    );
    assert!(
        wrong
            .of("protocol")
            .is_some_and(|text| text.contains("one of: tcp")),
        "{wrong:?}"
    );
    assert_eq!(wrong.of("scheduler"), None);
    assert_eq!(wrong.count(), 2);

    let long = "x".repeat(LONGEST + 1);
    let wrong = send(&SCRIPTS, "virtual/web", &[("send", &long)]).unwrap_err();
    assert!(
        wrong
            .of("send")
            .is_some_and(|text| text.contains("longer than"))
    );
}

/// What people try.
const EVIL: [&str; 14] = [
    "x\n}\nvirtual evil {",
    "x\r\n}\r\nserver evil {\r\n address = 6.6.6.6",
    "x\rprimary = 6.6.6.6",
    "\"",
    "'\"",
    "\" primary = 6.6.6.6 \"",
    "{",
    "}",
    "x { y }",
    "# nothing more",
    "80 # x",
    "<script>alert(1)</script>",
    "\u{0}\u{1b}[31m",
    "= [ ] \u{202e} \u{2028}",
];

#[test]
fn nothing_that_is_typed_breaks_out_of_its_directive() {
    let table = [
        (&GLOBAL, ""),
        (&REDUNDANCY, ""),
        (&VIRTUAL, "virtual/web"),
        (&SCRIPTS, "virtual/web"),
        (&SERVER, "virtual/web/server/#1"),
        (&FAILOVER, "failover/ftp"),
    ];
    let mut taken = 0;
    for (sheet, at) in table {
        for field in sheet.fields() {
            for evil in EVIL {
                let name = field.row.name;
                let Ok(text) = send(sheet, at, &[(name, evil)]) else {
                    continue;
                };
                taken += 1;
                let (before, after) = (document(), config::parse("f", text.as_bytes()).document);
                let mut one = Said::at(&before, &place(at)).unwrap();
                let mut other = Said::at(&after, &place(at)).unwrap();
                one.0.remove(name);
                other.0.remove(name);
                assert_eq!(one, other, "{at} {name} = {evil:?}: {text}");
                assert_eq!(blocks(&before), blocks(&after), "{name} = {evil:?}: {text}");
            }
        }
    }
    // A text may have nearly anything in it.
    assert!(taken > 50, "{taken}");
}

/// The names of all blocks.
fn blocks(document: &Document) -> Vec<String> {
    let services = document.services.iter();
    let names = services.flat_map(|one| {
        let servers = one
            .servers()
            .map(|server| format!("server {}", server.name.text));
        std::iter::once(format!("{} {}", one.kind.word(), one.name.text)).chain(servers)
    });
    names.collect()
}

#[test]
fn blocks_are_called_so_that_one_is_meant() {
    let document = document();
    let found = services(&document, ServiceKind::Virtual);
    let places: Vec<_> = found.iter().map(|(place, _)| place.to_string()).collect();
    assert_eq!(places, ["virtual/web", "virtual/two words"]);
    let (web, service) = &found[0];
    let places: Vec<_> = servers(web, service)
        .iter()
        .map(|(place, _)| place.to_string())
        .collect();
    assert_eq!(places, ["virtual/web/server/#1", "virtual/web/server/#2"]);
    for (place, service) in &found {
        let again = document
            .service(&place.to_string().parse().unwrap())
            .unwrap();
        assert!(std::ptr::eq(again, *service));
    }
}

#[test]
fn a_block_is_found_under_its_new_name() {
    let before = document();
    let after = FILE.replace("virtual web", "virtual shop").replace(
        "server one {\n          address = 10.0.0.2",
        "server two {\n          address = 10.0.0.2",
    );
    let after = config::parse("f", after.as_bytes()).document;
    let table = [
        ("virtual/web", Some("virtual/shop")),
        ("virtual/two words", Some("virtual/two words")),
        ("virtual/none", None),
        ("", Some("")),
    ];
    for (at, expected) in table {
        let found = renamed(&before, &after, &place(at));
        assert_eq!(found.map(|it| it.to_string()).as_deref(), expected, "{at}");
    }
}

#[test]
fn hints_have_no_marks_of_documentation() {
    for sheet in [&GLOBAL, &REDUNDANCY, &VIRTUAL, &SCRIPTS, &SERVER, &FAILOVER] {
        for field in sheet.fields() {
            assert!(!field.hint().contains('`'), "{}", field.row.name);
            assert!(!field.label().is_empty() && !field.group.is_empty());
        }
    }
}
