//! Files in a folder of their own; a writer that is killed is another process.

use std::{
    io::{BufRead, BufReader},
    os::unix::fs::symlink,
    process::{Command, Stdio},
    sync::Barrier,
    thread,
};

use super::*;

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn a_new_file_an_old_file_and_no_change() {
    let folder = folder();
    let store = Store::at(&folder.path().join("lvs.cf")).unwrap();
    let absent = Fingerprint::absent();
    let one = store.write(b"one\n", &absent).unwrap();
    assert_eq!(fs::metadata(store.path()).unwrap().mode() & 0o7777, MODE);
    assert_eq!(names(folder.path()), ["lvs.cf"]);

    fs::set_permissions(store.path(), fs::Permissions::from_mode(0o664)).unwrap();
    let old = fs::metadata(store.path()).unwrap();
    let two = store.write(b"two\n", &one).unwrap();
    assert_eq!(names(folder.path()), ["lvs.cf", "lvs.cf.~1~"]);
    assert_eq!(store.read().unwrap().bytes, b"two\n");
    let now = fs::metadata(store.path()).unwrap();
    assert_eq!(
        (now.mode(), now.uid(), now.gid()),
        (old.mode(), old.uid(), old.gid())
    );
    let (version, stored) = store.version(None).unwrap();
    assert_eq!(stored.bytes, b"one\n");
    assert_eq!(version.written, old.modified().unwrap());

    assert_eq!(store.write(b"two\n", &two).unwrap(), two);
    assert_eq!(store.history().unwrap().len(), 1);
}

#[test]
fn who_did_not_see_the_last_change_is_refused() {
    let folder = folder();
    let store = Store::at(&folder.path().join("lvs.cf")).unwrap();
    let seen = store.write(b"one\n", &Fingerprint::absent()).unwrap();
    fs::write(store.path(), b"by hand\n").unwrap();
    let error = store.write(b"two\n", &seen).unwrap_err();
    assert!(matches!(error, StoreError::Changed(_)), "{error}");
    let error = store.write(b"two\n", &Fingerprint::absent()).unwrap_err();
    assert!(
        error.to_string().contains("was changed meanwhile"),
        "{error}"
    );
    assert_eq!(store.read().unwrap().bytes, b"by hand\n");
    assert_eq!(names(folder.path()), ["lvs.cf"]);
}

#[test]
fn the_last_versions_stay_and_each_can_come_back() {
    let folder = folder();
    let store = Store::at(&folder.path().join("lvs.cf")).unwrap();
    let mut seen = Fingerprint::absent();
    for number in 0..15 {
        seen = store
            .write(format!("{number}\n").as_bytes(), &seen)
            .unwrap();
    }
    let numbers = || -> Vec<u64> {
        let versions = store.history().unwrap();
        versions.iter().map(|one| one.number).collect()
    };
    assert_eq!(numbers(), (5..=14).collect::<Vec<_>>());
    store.roll_back(Some(6), &seen).unwrap();
    assert_eq!(store.read().unwrap().bytes, b"5\n");
    assert_eq!(numbers(), (6..=15).collect::<Vec<_>>());
    seen = store.read().unwrap().fingerprint;
    store.roll_back(None, &seen).unwrap();
    assert_eq!(store.read().unwrap().bytes, b"14\n");
    let error = store.version(Some(3)).unwrap_err();
    assert!(error.to_string().ends_with("has no version 3"), "{error}");
}

#[test]
fn a_link_stays_a_link() {
    let folder = folder();
    let inner = folder.path().join("inner");
    fs::create_dir(&inner).unwrap();
    fs::write(inner.join("real.cf"), b"one\n").unwrap();
    let link = folder.path().join("lvs.cf");
    symlink("inner/real.cf", &link).unwrap();
    let store = Store::at(&link).unwrap();
    store.write(b"two\n", &Fingerprint::of(b"one\n")).unwrap();
    assert!(link.is_symlink());
    assert_eq!(fs::read(&link).unwrap(), b"two\n");
    assert_eq!(names(&inner), ["real.cf", "real.cf.~1~"]);

    let nowhere = folder.path().join("nowhere.cf");
    symlink("inner/none.cf", &nowhere).unwrap();
    assert!(Store::at(&nowhere).is_err());
    let error = Store::at(&inner).unwrap().read().unwrap_err();
    assert!(matches!(error, StoreError::NoFile(_)), "{error}");
}

#[test]
fn of_two_writers_one_loses() {
    let folder = folder();
    let store = Store::at(&folder.path().join("lvs.cf")).unwrap();
    let mut seen = store.write(b"start\n", &Fingerprint::absent()).unwrap();
    for round in 0..50 {
        let barrier = Barrier::new(2);
        let results: Vec<_> = thread::scope(|scope| {
            let writers = ["a", "b"].map(|who| {
                let (store, seen, barrier) = (&store, &seen, &barrier);
                scope.spawn(move || {
                    let text = format!("{who}{round}\n").repeat(2000);
                    barrier.wait();
                    (store.write(text.as_bytes(), seen), text)
                })
            });
            writers
                .into_iter()
                .map(|writer| writer.join().unwrap())
                .collect()
        });
        let mut winners = results.iter().filter(|(result, _)| result.is_ok());
        let (won, text) = winners.next().unwrap();
        assert!(winners.next().is_none(), "round {round}");
        let lost = results.iter().find_map(|(result, _)| result.as_ref().err());
        assert!(
            matches!(lost, Some(StoreError::Changed(_) | StoreError::Busy(_))),
            "{lost:?}"
        );
        assert_eq!(store.read().unwrap().bytes, text.as_bytes());
        seen = won.as_ref().unwrap().clone();
    }
}

#[test]
fn while_another_writes_nobody_waits() {
    let folder = folder();
    let store = Store::at(&folder.path().join("lvs.cf")).unwrap();
    let other = File::open(folder.path()).unwrap();
    other.lock().unwrap();
    let error = store.write(b"x", &Fingerprint::absent()).unwrap_err();
    assert!(matches!(error, StoreError::Busy(_)), "{error}");
}

/// The folder of the writer that is to be killed.
const VICTIM: &str = "LB_STORE_VICTIM";

/// Writes until it is killed. By itself this test does nothing.
#[test]
fn victim() {
    let Some(folder) = std::env::var_os(VICTIM) else {
        return;
    };
    let store = Store::at(&Path::new(&folder).join("lvs.cf")).unwrap();
    for number in 0_u64.. {
        let seen = store.read().unwrap().fingerprint;
        store.write(&content(number), &seen).unwrap();
        println!("wrote {number}");
    }
}

/// Lines of which each says how many follow.
fn content(number: u64) -> Vec<u8> {
    format!("# {number}\n").repeat(20_000).into_bytes()
}

#[test]
fn a_writer_that_is_killed_leaves_a_whole_file() {
    let folder = folder();
    let store = Store::at(&folder.path().join("lvs.cf")).unwrap();
    store.write(&content(0), &Fingerprint::absent()).unwrap();
    for round in 0..8 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "config::store::tests::victim", "--nocapture"])
            .env(VICTIM, folder.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        // It is somewhere in the write after this one.
        let wrote = lines
            .by_ref()
            .map_while(Result::ok)
            .filter(|line| line.contains("wrote"));
        assert_eq!(wrote.take(round + 1).count(), round + 1);
        child.kill().unwrap();
        child.wait().unwrap();
        let bytes = store.read().unwrap().bytes;
        let text = String::from_utf8(bytes).unwrap();
        let first = text.lines().next().unwrap();
        assert_eq!(text.lines().count(), 20_000, "round {round}");
        assert!(text.lines().all(|line| line == first), "round {round}");
    }
    let seen = store.read().unwrap().fingerprint;
    store.write(b"after all\n", &seen).unwrap();
    let left = names(folder.path());
    assert!(
        !left.iter().any(|name| name.ends_with(UNFINISHED)),
        "{left:?}"
    );
}
