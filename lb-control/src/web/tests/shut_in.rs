//! The web tool does all that it does when it is shut in.

use std::{fs, thread};

use axum::http::StatusCode;

use super::fake::{Tool, location};
use crate::web::{PORT, app::Scheme, role::Role, sandbox};

#[test]
fn the_tool_works_in_its_sandbox() {
    // The rules hold for a thread for ever, and for those that it starts.
    let shut_in = thread::spawn(|| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let tool = runtime.block_on(async { Tool::new(Scheme::Https) });
        sandbox::enter(tool.folder.path(), PORT, false).unwrap();
        runtime.block_on(async {
            let browser = tool.browser(Role::Admin).await;
            let (status, page) = browser.read("/control").await;
            assert_eq!(status, StatusCode::OK);
            assert!(page.contains("10.0.0.11:80"));
            let order = [("order", "drain rs1 web")];
            let answer = browser.post("/server", &order).await;
            assert_eq!(location(&answer), "/");
            let (_, page) = browser.read("/audit").await;
            assert!(page.contains("drain rs1 of web"));
        });
        let folder = tool.folder.path().to_owned();
        let written = fs::read_to_string(folder.join("audit.log")).unwrap();
        assert!(written.contains("drain rs1 of web"), "{written}");
        folder
    });
    // It may take away its files, but not its folder.
    fs::remove_dir(shut_in.join().unwrap()).unwrap();
}
