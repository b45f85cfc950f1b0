//! What becomes of a text. The properties of all edits are in `tests/lvs_cf_edit.rs`.

use super::*;

fn edits(json: &str) -> Vec<Edit> {
    serde_json::from_str(&format!("[{json}]")).unwrap()
}

fn set(path: &str, value: &str) -> Edit {
    Edit::Set {
        path: path.parse().unwrap(),
        value: value.into(),
    }
}

fn edited(text: &str, edits: &[Edit]) -> Result<String, Refused> {
    let edited = edit("lvs.cf", text.as_bytes(), edits)?;
    Ok(String::from_utf8(edited.bytes).unwrap())
}

#[track_caller]
fn becomes(what: &str, text: &str, json: &str, expected: &str) {
    match edited(text, &edits(json)) {
        Ok(found) => assert_eq!(found, expected, "{what}"),
        Err(refused) => panic!("{what}: {refused}"),
    }
}

const WEB: &str = "\
# The directors
primary   = 192.0.2.2
keepalive = 6 # quick

# The web
virtual web {
\tactive = 1
\taddress = 10.0.0.9 eth0:1
\tsend = \"GET /\"
\tserver one {
\t\taddress = 10.0.0.1
\t\tactive = 1
\t}
}

# The rest
virtual dns {
\tactive = 0
\tport = 53
}
";

#[test]
fn values_are_replaced_in_their_place() {
    let table = [
        (
            "a comment behind stays",
            r#"{"edit":"set","path":"keepalive","value":"3"}"#,
            "keepalive = 6 #",
            "keepalive = 3 #",
        ),
        (
            "quotes stay",
            r#"{"edit":"set","path":"virtual/web/send","value":"QUIT\\r\\n"}"#,
            "\"GET /\"",
            "\"QUIT\\r\\n\"",
        ),
        (
            "two words",
            r#"{"edit":"set","path":"virtual/web/address","value":"10.0.0.8 eth1"}"#,
            "10.0.0.9 eth0:1",
            "10.0.0.8 eth1",
        ),
        (
            "in a server",
            r#"{"edit":"set","path":"virtual/web/server/one/address","value":"10.0.0.2"}"#,
            "10.0.0.1\n",
            "10.0.0.2\n",
        ),
        (
            "a block of another name",
            r#"{"edit":"rename-block","path":"virtual/dns","name":"my names"}"#,
            "virtual dns {",
            "virtual \"my names\" {",
        ),
        (
            "a server of another name",
            r#"{"edit":"rename-block","path":"virtual/#1/server/#1","name":"eins"}"#,
            "server one",
            "server eins",
        ),
        (
            "new ones are where their neighbours are, and look like them",
            r#"{"edit":"set","path":"deadtime","value":"18"}"#,
            "# quick\n",
            "# quick\ndeadtime  = 18\n",
        ),
        (
            "the first one stands below the words about all",
            r#"{"edit":"set","path":"serial_no","value":"1"}"#,
            "primary ",
            "serial_no = 1\nprimary ",
        ),
        (
            "above the servers, who inherit it",
            r#"{"edit":"set","path":"virtual/web/timeout","value":"5"}"#,
            "\"GET /\"\n",
            "\"GET /\"\n\ttimeout = 5\n",
        ),
        (
            "in the order of the web tool",
            r#"{"edit":"set","path":"virtual/web/port","value":"81"}"#,
            "eth0:1\n",
            "eth0:1\n\tport = 81\n",
        ),
        (
            "texts get quotes",
            r#"{"edit":"set","path":"virtual/web/expect","value":"HTTP"}"#,
            "\"GET /\"\n",
            "\"GET /\"\n\texpect = \"HTTP\"\n",
        ),
        (
            "a server below the last one",
            r#"{"edit":"add-block","path":"virtual/web/server/two","directives":[
                {"directive":"address","value":"10.0.0.2"},{"directive":"active","value":"1"}]}"#,
            "\t}\n}\n",
            "\t}\n\tserver two {\n\t\taddress = 10.0.0.2\n\t\tactive = 1\n\t}\n}\n",
        ),
        (
            "the first server of a block",
            r#"{"edit":"add-block","path":"virtual/dns/server/a"}"#,
            "port = 53\n",
            "port = 53\n\tserver a {\n\t}\n",
        ),
        (
            "a service below the last one",
            r#"{"edit":"add-block","path":"virtual/new"},
               {"edit":"set","path":"virtual/new/port","value":"25"},
               {"edit":"add-block","path":"virtual/new/server/x"},
               {"edit":"set","path":"virtual/new/server/x/weight","value":"2"}"#,
            "port = 53\n}\n",
            "port = 53\n}\n\nvirtual new {\n\tport = 25\n\tserver x {\n\t\tweight = 2\n\t}\n}\n",
        ),
        (
            "failover blocks come first",
            r#"{"edit":"add-block","path":"failover/ftp"}"#,
            "# The web\n",
            "failover ftp {\n}\n\n# The web\n",
        ),
        (
            "a block goes with its comment",
            r#"{"edit":"remove-block","path":"virtual/dns"}"#,
            "\n# The rest\nvirtual dns {\n\tactive = 0\n\tport = 53\n}\n",
            "",
        ),
        (
            "a server goes",
            r#"{"edit":"remove-block","path":"virtual/web/server/one"}"#,
            "\tserver one {\n\t\taddress = 10.0.0.1\n\t\tactive = 1\n\t}\n",
            "",
        ),
        (
            "a directive goes with what is behind it",
            r#"{"edit":"unset","path":"keepalive"}"#,
            "keepalive = 6 # quick\n",
            "",
        ),
    ];
    for (what, json, old, new) in table {
        assert_eq!(WEB.matches(old).count(), 1, "{what}: {old}");
        becomes(what, WEB, json, &WEB.replace(old, new));
        for ending in ["\r\n", "\r"] {
            let foreign = |text: &str| text.replace('\n', ending);
            becomes(what, &foreign(WEB), json, &foreign(&WEB.replace(old, new)));
        }
    }
}

#[test]
fn texts_of_other_shapes() {
    let table = [
        (
            "nothing yet",
            "\n",
            r#"{"edit":"set","path":"keepalive","value":"3"}"#,
            "\nkeepalive = 3\n",
        ),
        (
            "not even a line end",
            "# a",
            r#"{"edit":"add-block","path":"virtual/a"}"#,
            "# a\n\nvirtual a {\n}\n",
        ),
        (
            "the last line has no end",
            "primary = 10.0.0.1",
            r#"{"edit":"set","path":"keepalive","value":"3"}"#,
            "primary = 10.0.0.1\nkeepalive = 3",
        ),
        (
            "above blocks",
            "virtual a {\n}\n",
            r#"{"edit":"set","path":"keepalive","value":"3"}"#,
            "keepalive = 3\n\nvirtual a {\n}\n",
        ),
        (
            "without blanks around the sign",
            "virtual a {\nport=80\n}\n",
            r#"{"edit":"set","path":"virtual/a/protocol","value":"udp"}"#,
            "virtual a {\nport=80\nprotocol=udp\n}\n",
        ),
        (
            "a brace that touches",
            "virtual a{\n}\n",
            r#"{"edit":"rename-block","path":"virtual/a","name":"b"}"#,
            "virtual b {\n}\n",
        ),
        (
            "a brace on the next line",
            "virtual a\n# c\n{\n}\n",
            r#"{"edit":"set","path":"virtual/a/port","value":"1"}"#,
            "virtual a\n# c\n{\n    port = 1\n}\n",
        ),
        (
            "missing braces",
            "virtual a {\n  server s {\n    weight = 1\n",
            r#"{"edit":"add-block","path":"virtual/a/server/t"},{"edit":"add-block","path":"virtual/b"}"#,
            "virtual a {\n  server s {\n    weight = 1\n  }\n  server t {\n  }\n}\n\nvirtual b {\n}\n",
        ),
        (
            "below blocks that are close together, apart from them",
            "deadtime = 18\nvirtual a {\n     active = 0\n     server s {\n         weight = 1\n     }\n}\n",
            r#"{"edit":"add-block","path":"virtual/b","directives":[{"directive":"active","value":"0"}]},
               {"edit":"add-block","path":"virtual/b/server/t","directives":[{"directive":"weight","value":"2"}]}"#,
            "deadtime = 18\nvirtual a {\n     active = 0\n     server s {\n         weight = 1\n     }\n}\n\nvirtual b {\n     active = 0\n     server t {\n         weight = 2\n     }\n}\n",
        ),
        (
            "the last one holds",
            "keepalive = 1\nkeepalive = 2\n",
            r#"{"edit":"set","path":"keepalive","value":"3"}"#,
            "keepalive = 1\nkeepalive = 3\n",
        ),
        (
            "nothing of it holds any more",
            "keepalive = 1\n# c\nkeepalive = 2",
            r#"{"edit":"unset","path":"keepalive"}"#,
            "# c\n",
        ),
        (
            "a broken value is mended",
            "rsh_command = ssh -x # why\n",
            r#"{"edit":"set","path":"rsh_command","value":"ssh -x"}"#,
            "rsh_command = \"ssh -x\" # why\n",
        ),
        (
            "what nobody understands stays",
            "include = x\nnetwork = nat\n",
            r#"{"edit":"set","path":"network","value":"direct"}"#,
            "include = x\nnetwork = direct\n",
        ),
        (
            "the second of a name",
            "virtual a {\n}\nvirtual a {\n}\n",
            r#"{"edit":"rename-block","path":"virtual/a#2","name":"b"}"#,
            "virtual a {\n}\nvirtual b {\n}\n",
        ),
        (
            "one more, another, and one less of those that may be repeated",
            "virtual a {\n  match = 'tcp 10.0.0.1'\n}\n",
            r#"{"edit":"add","path":"virtual/a/match","value":"udp 10.0.0.1:53"},
               {"edit":"add","path":"virtual/a/match","value":"esp 10.0.0.1"},
               {"edit":"remove","path":"virtual/a/match","value":"tcp 10.0.0.1"}"#,
            "virtual a {\n  match = 'udp 10.0.0.1:53'\n  match = 'esp 10.0.0.1'\n}\n",
        ),
        (
            "all of those that may be repeated",
            "virtual a {\n match = \"tcp 10.0.0.1\" # c\n port = 80\n match = \"udp 10.0.0.1\"\n}\n",
            r#"{"edit":"set","path":"virtual/a/match","value":["esp 10.0.0.1"]}"#,
            "virtual a {\n match = \"esp 10.0.0.1\" # c\n port = 80\n}\n",
        ),
        (
            "one more address",
            "virtual a {\n address = 10.0.0.1 eth0:1\n port = 80\n}\n",
            r#"{"edit":"add","path":"virtual/a/address","value":"10.0.0.2 eth0:2"}"#,
            "virtual a {\n address = 10.0.0.1 eth0:1\n address = 10.0.0.2 eth0:2\n port = 80\n}\n",
        ),
        (
            "several where there was none",
            "virtual a {\n port = 80\n}\n",
            r#"{"edit":"set","path":"virtual/a/match","value":["esp 10.0.0.1","ah 10.0.0.1"]}"#,
            "virtual a {\n match = \"esp 10.0.0.1\"\n match = \"ah 10.0.0.1\"\n port = 80\n}\n",
        ),
    ];
    for (what, text, json, expected) in table {
        becomes(what, text, json, expected);
    }
}

#[test]
fn what_is_refused_and_why() {
    let table = [
        (
            r#"{"edit":"set","path":"keepalive","value":"x"}"#,
            "time expected, not `x`",
        ),
        (
            r#"{"edit":"set","path":"keepalve","value":"1"}"#,
            "edit 1: there is no directive `keepalve` outside of blocks; did you mean `keepalive`?",
        ),
        (
            r#"{"edit":"set","path":"virtual/web/weight","value":"1"}"#,
            "edit 1: there is no directive `weight` in virtual and failover blocks",
        ),
        (
            r#"{"edit":"set","path":"virtual/web/send","value":"a\nb"}"#,
            "edit 1: `a\nb` cannot be written: it has a line break in it",
        ),
        (
            r#"{"edit":"set","path":"virtual/web/send","value":"a\" 'b"}"#,
            "edit 1: `a\" 'b` cannot be written: it needs quotes around it and has both kinds in it",
        ),
        (
            r#"{"edit":"set","path":"virtual/web/address","value":"10.0.0.1"}"#,
            "edit 1: missing arguments: address = 10.0.0.9 eth0:1",
        ),
        (
            r#"{"edit":"unset","path":"deadtime"}"#,
            "edit 1: deadtime is not set",
        ),
        (
            r#"{"edit":"unset","path":"virtual/web/server/two/weight"}"#,
            "edit 1: there is no virtual/web/server/two",
        ),
        (
            r#"{"edit":"remove-block","path":"failover/web"}"#,
            "edit 1: there is no failover/web",
        ),
        (
            r#"{"edit":"add-block","path":"virtual/web"}"#,
            "edit 1: there is a virtual/web already",
        ),
        (
            r#"{"edit":"rename-block","path":"virtual/web","name":"dns"}"#,
            "edit 1: there is a virtual/dns already",
        ),
        (
            r#"{"edit":"rename-block","path":"virtual/web","name":""}"#,
            "edit 1: a block needs a name",
        ),
        (
            r#"{"edit":"add","path":"keepalive","value":"1"}"#,
            "edit 1: `keepalive` cannot be repeated; set it",
        ),
        (
            r#"{"edit":"remove","path":"virtual/web/match","value":"esp 10.0.0.1"}"#,
            "edit 1: virtual/web/match does not say `esp 10.0.0.1`",
        ),
        // All or none.
        (
            r#"{"edit":"set","path":"keepalive","value":"1"},{"edit":"unset","path":"deadtime"}"#,
            "edit 2: deadtime is not set",
        ),
        // The whole is looked at: the service would have no server at its address.
        (
            r#"{"edit":"unset","path":"virtual/web/server/one/address"}"#,
            "server `one` is active and has no address",
        ),
    ];
    for (json, expected) in table {
        let refused = edited(WEB, &edits(json)).unwrap_err();
        assert_eq!(refused.to_string(), expected, "{json}");
    }
    let twice = "virtual a {\n}\nvirtual a {\n}\n";
    let refused = edited(twice, &[set("virtual/a/port", "1")]).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "edit 1: there are 2 blocks called virtual/a; say which: virtual/a#1 to virtual/a#2"
    );
    let refused = edit("lvs.cf", b"a\0", &[set("keepalive", "1")]).unwrap_err();
    assert!(matches!(refused.why, Why::NoText));
}

#[test]
fn errors_of_before_may_stay_and_are_not_told() {
    let text = "nonsense\nkeepalive = x\n";
    let after = edited(text, &[set("keepalive", "2")]).unwrap();
    assert_eq!(after, "nonsense\nkeepalive = 2\n");
    let refused = edited(text, &[set("keepalive", "y")]).unwrap_err();
    let Why::Errors(errors) = refused.why else {
        panic!("{refused}");
    };
    let shown = errors.render(Colour::Never);
    assert!(
        shown.starts_with("lvs.cf:2:13: error: time expected, not `y`\n"),
        "{shown}"
    );
    assert_eq!(errors.located().count(), 1);
}

#[test]
fn bytes_that_are_no_text_stay() {
    let bytes = b"# \xe4\nkeepalive = 6 # fc\n# \xf6\n";
    let edited = edit("lvs.cf", bytes, &[set("keepalive", "18")]).unwrap();
    assert_eq!(edited.bytes, b"# \xe4\nkeepalive = 18 # fc\n# \xf6\n");
    assert!(edited.outcome.site.is_some());
}
