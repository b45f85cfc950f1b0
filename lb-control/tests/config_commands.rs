//! `lb config` as people type it.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    fs,
    io::Write,
    path::Path,
    process::{Command, Output, Stdio},
};

const FILE: &str = "\
primary = 192.0.2.2

# The web.
virtual web {
  active = 1
  address = 192.0.2.10 eth0:1
  server one {
    address = 10.0.0.11
    active = 1
  }
}
";

struct Stage {
    folder: tempfile::TempDir,
}

impl Stage {
    fn new(text: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("lvs.cf"), text).unwrap();
        Self { folder }
    }

    fn text(&self) -> String {
        fs::read_to_string(self.folder.path().join("lvs.cf")).unwrap()
    }

    fn lb(&self, arguments: &[&str]) -> Output {
        self.lb_with(arguments, "false", "")
    }

    fn lb_with(&self, arguments: &[&str], editor: &str, input: &str) -> Output {
        let mut child = Command::new(env!("CARGO_BIN_EXE_lb"))
            .arg("config")
            .args(arguments)
            .current_dir(self.folder.path())
            .env("EDITOR", editor)
            .env_remove("VISUAL")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // It need not read it.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        child.wait_with_output().unwrap()
    }
}

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[track_caller]
fn ends(output: &Output, status: i32) {
    assert_eq!(output.status.code(), Some(status), "{output:?}");
}

const HERE: [&str; 2] = ["--config", "lvs.cf"];

#[test]
fn options_change_the_file_and_versions_bring_it_back() {
    let stage = Stage::new(FILE);
    let output = stage.lb(&[
        "edit",
        HERE[0],
        HERE[1],
        "--set",
        "virtual/web/server/one/weight=2",
        "--add",
        "virtual/web/server/two",
        "--set",
        "virtual/web/server/two/address=10.0.0.12",
    ]);
    ends(&output, 0);
    let changed = FILE.replace(
        "    active = 1\n  }\n",
        "    active = 1\n    weight = 2\n  }\n  server two {\n    address = 10.0.0.12\n  }\n",
    );
    assert_eq!(stage.text(), changed);
    assert!(out(&output).contains("\n+    weight = 2\n"), "{output:?}");
    assert!(
        out(&output).contains("lvs.cf is written; a running director"),
        "{output:?}"
    );

    let output = stage.lb(&["edit", HERE[0], HERE[1], "--dry-run", "--unset", "primary"]);
    ends(&output, 0);
    assert!(
        out(&output).contains("-primary = 192.0.2.2\n"),
        "{output:?}"
    );
    assert_eq!(stage.text(), changed);

    let output = stage.lb(&["edit", HERE[0], HERE[1], "--set", "virtual/web/port=http0"]);
    ends(&output, 1);
    assert!(
        err(&output).contains("lvs.cf:7:10: error: invalid port"),
        "{output:?}"
    );
    assert_eq!(stage.text(), changed);
    ends(&stage.lb(&["edit", HERE[0], HERE[1], "--set", "port"]), 2);

    let output = stage.lb(&["history", HERE[0], HERE[1], "--json"]);
    let versions: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(versions[0]["number"], 1);
    assert_eq!(versions[0]["size"], FILE.len());
    let output = stage.lb(&["history", HERE[0], HERE[1]]);
    assert!(out(&output).contains("lvs.cf.~1~"), "{output:?}");

    ends(&stage.lb(&["rollback", HERE[0], HERE[1]]), 0);
    assert_eq!(stage.text(), FILE);
    ends(&stage.lb(&["rollback", "2", HERE[0], HERE[1]]), 0);
    assert_eq!(stage.text(), changed);
    let output = stage.lb(&["rollback", "7", HERE[0], HERE[1]]);
    ends(&output, 1);
    assert!(err(&output).contains("has no version 7"), "{output:?}");
}

#[test]
fn an_editor_changes_the_file() {
    let stage = Stage::new(FILE);
    let edit = ["edit", HERE[0], HERE[1]];
    let output = stage.lb_with(&edit, "sed -i s/192.0.2.2/192.0.2.3/", "");
    ends(&output, 0);
    let changed = FILE.replace("192.0.2.2", "192.0.2.3");
    assert_eq!(stage.text(), changed);

    // It goes wrong, and is left so.
    let breaks = "sed -i 's/active = 1/actve = 1/'";
    let output = stage.lb_with(&edit, breaks, "what?\ng\n");
    ends(&output, 1);
    assert!(
        err(&output).contains("did you mean `active`?"),
        "{output:?}"
    );
    assert_eq!(stage.text(), changed);

    // It goes wrong, and is mended the second time.
    let mends = "f() { if grep -q actve \"$1\"; then sed -i s/actve/active/ \"$1\"; \
                 else sed -i 's/active = 1/actve = 0/' \"$1\"; fi; }; f";
    let output = stage.lb_with(&edit, mends, "e\n");
    ends(&output, 0);
    assert_eq!(stage.text(), changed.replace("active = 1", "active = 0"));

    let output = stage.lb_with(&edit, "true", "");
    assert!(out(&output).contains("nothing is different"), "{output:?}");
    ends(&stage.lb_with(&edit, "false", ""), 1);

    // Somebody else was faster: what was typed is not lost.
    let path = stage.folder.path().join("lvs.cf");
    let races = format!(
        "f() {{ echo '# typed' >> \"$1\"; echo '# faster' >> {}; }}; f",
        path.display()
    );
    let output = stage.lb_with(&edit, &races, "");
    ends(&output, 1);
    let told = err(&output);
    assert!(told.contains("was changed meanwhile"), "{told}");
    let kept = told.split("your text is in ").nth(1).unwrap();
    let kept = Path::new(kept.split(':').next().unwrap());
    assert!(fs::read_to_string(kept).unwrap().ends_with("# typed\n"));
    fs::remove_file(kept).unwrap();
    assert!(stage.text().ends_with("# faster\n"));
}

#[test]
fn canonical_text_by_command() {
    let stage = Stage::new("keepalive=6 # c\n");
    let output = stage.lb(&["fmt", "--check", "lvs.cf"]);
    ends(&output, 1);
    assert!(out(&output).contains("lvs.cf: not canonical"), "{output:?}");
    let output = stage.lb(&["fmt", "--stdout", "lvs.cf"]);
    assert_eq!(out(&output), "# c\nkeepalive = 6\n");
    assert_eq!(stage.text(), "keepalive=6 # c\n");
    ends(&stage.lb(&["fmt", "lvs.cf"]), 0);
    assert_eq!(stage.text(), "# c\nkeepalive = 6\n");
    ends(&stage.lb(&["fmt", "--check", "lvs.cf"]), 0);
    let output = stage.lb_with(&["fmt", "-"], "false", "keepalive=7");
    assert_eq!(out(&output), "keepalive = 7\n");
    let output = stage.lb_with(&["fmt", "-"], "false", "keepalve=7");
    ends(&output, 1);
    assert!(
        err(&output).contains("standard input:1:1: error"),
        "{output:?}"
    );
}

#[test]
fn what_holds() {
    let stage = Stage::new(FILE);
    let output = stage.lb(&["show", HERE[0], HERE[1]]);
    ends(&output, 0);
    let text = out(&output);
    for line in [
        "primary = 192.0.2.2\n",
        "# keepalive = 2\n",
        "virtual web {\n    active = 1\n",
        "    server one {\n        address = 10.0.0.11\n        active = 1\n        # port = 80\n",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
    let output = stage.lb(&["show", HERE[0], HERE[1], "--json"]);
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["services"][0]["path"], "virtual/web");
    assert_eq!(json["global"]["deadtime"]["default"], true);
    let broken = Stage::new("keepalve = 6\n");
    let output = broken.lb(&["show", HERE[0], HERE[1]]);
    ends(&output, 1);
    assert!(
        err(&output).contains("did you mean `keepalive`?"),
        "{output:?}"
    );
}
