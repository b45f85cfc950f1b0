//! What `cargo xtask run` shows when there is nothing to show. One test, since the showcase takes
//! the whole process.

use std::{path::Path, process::ExitCode};

use lb_tests::{
    Method,
    lab::{is_root, skip},
    showcase::{Options, run},
};

#[test]
fn a_director_that_does_not_start_is_a_failure() {
    if !is_root() {
        return skip("needs root");
    }
    let once = Options {
        once: true,
        method: Some(Method::Nat),
        pair: false,
    };
    assert_eq!(
        run(Path::new("/bin/false"), once).unwrap(),
        ExitCode::FAILURE
    );

    let long = Options {
        once: false,
        ..once
    };
    let pair = Options { pair: true, ..once };
    for options in [long, pair] {
        let error = run(Path::new("/bin/false"), options).unwrap_err();
        assert!(
            format!("{error:#}").contains("lb run ended by itself"),
            "{error:#}"
        );
    }
}
