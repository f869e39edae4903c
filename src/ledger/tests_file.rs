//! Files that are missing, foreign, locked, full or half-written.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use super::tests::{code, fill, folder, loss, request, terms};
use super::*;
use crate::error::ErrorClass;

#[test]
fn a_look_makes_no_ledger_and_changes_none() {
    let (folder, path) = folder();
    assert!(Ledger::open(&path, &terms(100, 10)).unwrap().is_none());
    assert!(Ledger::open(&folder.path().join("no/ledger"), &terms(100, 10)).unwrap().is_none());
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    fill(&path);
    let mut ledger = Ledger::open(&path, &terms(100, 10)).unwrap().unwrap();
    let reservation = ledger.reserve(&request("d", "d", loss(1, 0)));
    assert_eq!(code(reservation), (ErrorClass::Environment, "ledger-not-writable"));
    assert_eq!(ledger.spent().unwrap(), loss(40, 4));
}

#[cfg(unix)]
#[test]
fn a_new_ledger_is_for_its_owner_only_and_durable() {
    use std::os::unix::fs::PermissionsExt;
    let (folder, path) = folder();
    let ledger = Ledger::open_or_create(&path, &terms(100, 10)).unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing else is left");
    let pragma = |name: &str| {
        let value = |row: &rusqlite::Row<'_>| row.get::<_, rusqlite::types::Value>(0);
        ledger.connection.pragma_query_value(None, name, value).unwrap()
    };
    assert_eq!(pragma("journal_mode"), "delete".to_owned().into());
    assert_eq!(pragma("synchronous"), 3.into(), "EXTRA");
    assert_eq!(pragma("fullfsync"), 1.into());
    assert_eq!(pragma("busy_timeout"), 10_000.into());
}

#[test]
fn a_missing_folder_is_named_and_not_made() {
    let (folder, _) = folder();
    let missing = folder.path().join("no");
    let error = Ledger::open_or_create(&missing.join("ledger"), &terms(100, 10)).unwrap_err();
    assert_eq!(error.class(), ErrorClass::Environment);
    assert_eq!(error.findings()[0].code(), "ledger-folder-missing");
    assert!(error.findings()[0].message().contains(&format!("`{}`", missing.display())));
    assert!(!missing.exists());
}

#[test]
fn what_is_no_ledger_is_left_as_it_is() {
    let unreadable = (ErrorClass::Environment, "ledger-unreadable");
    let wal = "PRAGMA journal_mode = WAL; CREATE TABLE theirs (x)";
    for (name, bytes, sql) in [
        ("empty", &b""[..], ""),
        ("text", b"not a database, but long enough to have a header of SQLite's size", ""),
        ("other", b"", "CREATE TABLE theirs (x)"),
        ("other in WAL mode", b"", wal),
    ] {
        let (_folder, path) = folder();
        #[expect(clippy::disallowed_methods, reason = "a test's file need not be durable")]
        std::fs::write(&path, bytes).unwrap();
        if !sql.is_empty() {
            Connection::open(&path).unwrap().execute_batch(sql).unwrap();
        }
        let before = std::fs::read(&path).unwrap();
        assert_eq!(code(Ledger::open(&path, &terms(100, 10))), unreadable, "{name}");
        assert_eq!(code(Ledger::open_or_create(&path, &terms(100, 10))), unreadable, "{name}");
        assert_eq!(std::fs::read(&path).unwrap(), before, "{name}");
    }
}

#[test]
fn paths_that_cannot_be_a_ledger_are_named() {
    let (folder, path) = folder();
    fill(&path);
    // A folder; below a file; no name; a name that means memory to SQLite, in no folder.
    for bad in [folder.path(), &path.join("below"), Path::new("/"), Path::new("no/:memory:")] {
        let error = Ledger::open_or_create(bad, &terms(100, 10)).unwrap_err();
        assert_eq!(error.class(), ErrorClass::Environment);
        assert!(error.findings()[0].message().contains(&bad.display().to_string()), "{error}");
    }
    let memory = folder.path().join(":memory:");
    Ledger::open_or_create(&memory, &terms(100, 10)).unwrap();
    assert!(memory.is_file());
}

/// By whatever path: one set of locks, and one journal.
#[cfg(unix)]
#[test]
fn behind_a_link_it_is_the_same_ledger() {
    use std::os::unix::fs::symlink;
    let (folder, path) = folder();
    fill(&path);
    for name in ["a", "b"] {
        std::fs::create_dir(folder.path().join(name)).unwrap();
    }
    let (link, other) = (folder.path().join("a/link"), folder.path().join("b/other"));
    symlink("../ledger.sqlite", &link).unwrap();
    symlink(&link, &other).unwrap();
    let hold = Hold::take(&link, "c").unwrap();
    assert!(path.with_file_name(".ledger.sqlite.c.lock").exists());
    for way in [&path, &link, &other] {
        assert!(Hold::is_taken(way, "c").unwrap());
        assert_eq!(code(Hold::take(way, "c")), (ErrorClass::Refused, "job-under-way"));
    }
    drop(hold);
    assert!(!Hold::is_taken(&path, "c").unwrap());
    // One that is gone does not begin anew.
    std::fs::remove_file(&path).unwrap();
    let broken = (ErrorClass::Environment, "ledger-unreadable");
    for way in [&link, &other] {
        assert_eq!(code(Ledger::open(way, &terms(100, 10))), broken);
        assert_eq!(code(Ledger::open_or_create(way, &terms(100, 10))), broken);
        assert_eq!(code(Ledger::create(way, &terms(100, 10))), broken);
        assert_eq!(code(Hold::take(way, "c")), broken);
    }
    let error = Ledger::open_or_create(&link, &terms(100, 10)).unwrap_err();
    let said = error.findings()[0].message().to_owned();
    assert!(said.ends_with("it is a link to `../ledger.sqlite`, where nothing is"), "{said}");
    assert!(!path.exists());
}

#[test]
fn ledgers_of_other_versions_are_not_touched() {
    let (_folder, path) = folder();
    fill(&path);
    for version in [4, 6] {
        Connection::open(&path).unwrap().pragma_update(None, "user_version", version).unwrap();
        let unknown = (ErrorClass::Environment, "ledger-version-unknown");
        assert_eq!(code(Ledger::open_or_create(&path, &terms(100, 10))), unknown);
    }
}

#[test]
fn a_removed_ledger_is_not_begun_anew_over_its_journal() {
    let (_folder, path) = folder();
    std::fs::File::create(path.with_file_name("ledger.sqlite-journal")).unwrap();
    let unreadable = (ErrorClass::Environment, "ledger-unreadable");
    assert_eq!(code(Ledger::open_or_create(&path, &terms(100, 10))), unreadable);
    assert!(!path.exists());
}

/// Tests run as root, whom no permission stops; so the connection itself is read-only here.
#[test]
fn a_read_only_file_is_not_writable() {
    let (_folder, path) = folder();
    fill(&path);
    let look = Connection::open_with_flags(&path, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    let not_writable = (ErrorClass::Environment, "ledger-not-writable");
    assert_eq!(code(file::refuse_read_only(&look, &path)), not_writable);
    let cause = look.execute("DELETE FROM entry", []).unwrap_err();
    let error = file::unwritable(&path, &cause);
    assert_eq!((error.class(), error.findings()[0].code()), not_writable);
}

/// As in a read-only folder: SQLite cannot make its journal, since a folder has that name.
#[test]
fn a_folder_without_room_for_the_journal_is_an_environment_error() {
    let (_folder, path) = folder();
    let mut ledger = Ledger::open_or_create(&path, &terms(100, 10)).unwrap();
    std::fs::create_dir(path.with_file_name("ledger.sqlite-journal")).unwrap();
    let reservation = ledger.reserve(&request("a", "a", loss(1, 0)));
    assert_eq!(reservation.unwrap_err().class(), ErrorClass::Environment);
}

#[test]
fn a_full_disk_loses_nothing() {
    let (_folder, path) = folder();
    let mut ledger = Ledger::open_or_create(&path, &terms(1000, 10)).unwrap();
    // SQLite answers as on a full disk when the file would grow.
    let pages: i64 =
        ledger.connection.pragma_query_value(None, "page_count", |row| row.get(0)).unwrap();
    ledger.connection.pragma_update(None, "max_page_count", pages).unwrap();
    let mut granted = 0;
    let full = loop {
        match ledger.reserve(&request(&format!("job-{granted}"), "content", loss(1, 0))) {
            Ok(_) => granted += 1,
            full => break full,
        }
    };
    assert_eq!(code(full), (ErrorClass::Environment, "ledger-not-writable"));
    assert!(granted > 0);
    assert_eq!(ledger.spent().unwrap(), loss(granted, 0));
    ledger.connection.pragma_update(None, "max_page_count", pages + 100).unwrap();
    ledger.reserve(&request("later", "content", loss(1, 0))).unwrap();
    let ledger = Ledger::open(&path, &terms(1000, 10)).unwrap().unwrap();
    assert_eq!(ledger.spent().unwrap(), loss(granted + 1, 0));
}

/// A copy of the files in the middle of a change is what a kill or a power cut leaves.
#[test]
fn a_change_that_a_crash_cut_short_is_undone() {
    let (folder, path) = folder();
    fill(&path);
    let crashed = folder.path().join("crashed.sqlite");
    let raw = Connection::open(&path).unwrap();
    raw.execute_batch(
        "PRAGMA cache_size = 1; BEGIN; CREATE TABLE filler (x);
         INSERT INTO filler WITH RECURSIVE n (i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n
             WHERE i < 200) SELECT randomblob(2000) FROM n;
         DROP TRIGGER entry_in_order",
    )
    .unwrap();
    let size = |path: &Path| std::fs::metadata(path).unwrap().len();
    for (from, to) in
        [("ledger.sqlite", "crashed.sqlite"), ("ledger.sqlite-journal", "crashed.sqlite-journal")]
    {
        std::fs::copy(path.with_file_name(from), path.with_file_name(to)).unwrap();
    }
    drop(raw);
    assert!(size(&crashed) > size(&path) + 100_000, "the copy has half of the change");
    let ledger = Ledger::open(&crashed, &terms(100, 10)).unwrap().unwrap();
    assert_eq!(ledger.spent().unwrap(), loss(40, 4));
    assert_eq!(size(&crashed), size(&path));
    assert!(!path.with_file_name("crashed.sqlite-journal").exists());
}

#[test]
fn a_locked_ledger_is_busy() {
    let (_folder, path) = folder();
    let mut ledger = Ledger::open_or_create(&path, &terms(100, 10)).unwrap();
    ledger.connection.busy_timeout(Duration::from_millis(20)).unwrap();
    let other = Connection::open(&path).unwrap();
    let busy = (ErrorClass::Environment, "ledger-busy");
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    assert_eq!(code(ledger.reserve(&request("a", "a", loss(1, 0)))), busy);
    assert_eq!(ledger.spent().unwrap(), loss(0, 0), "others may read meanwhile");
    other.execute_batch("COMMIT; BEGIN EXCLUSIVE").unwrap();
    assert_eq!(code(ledger.spent()), busy);
    other.execute_batch("COMMIT").unwrap();
    ledger.reserve(&request("a", "a", loss(1, 0))).unwrap();
}

#[cfg(unix)]
#[test]
fn a_release_folder_is_kept_as_it_is_or_refused() {
    use std::os::unix::ffi::OsStrExt;
    let (_folder, path) = folder();
    let mut ledger = Ledger::open_or_create(&path, &terms(100, 10)).unwrap();
    let job = request("a", "a", loss(1, 0));
    ledger.reserve(&job).unwrap();
    ledger.spend("a").unwrap();
    let no_text = Path::new(std::ffi::OsStr::from_bytes(b"out/\xff"));
    let refused = ledger.publish("a", no_text, "d");
    assert_eq!(code(refused), (ErrorClass::Invalid, "release-folder-not-text"));
    ledger.publish("a", Path::new("输出/`a` b"), "d").unwrap();
    let published = Reservation::Published {
        folder: PathBuf::from("输出/`a` b"),
        release_digest: "d".into(),
    };
    assert_eq!(ledger.reserve(&job).unwrap(), published);
}

/// A flipped byte is found, or lies where SQLite keeps nothing: then nothing reads otherwise.
#[test]
fn a_flipped_byte_is_found_or_means_nothing() {
    let sha = "a".repeat(64);
    let (_folder, path) = folder();
    let mut ledger = Ledger::open_or_create(&path, &terms(100, 10)).unwrap();
    for job in ["a", "b", "c"] {
        ledger.reserve(&request(job, &sha, loss(20, 2))).unwrap();
        ledger.spend(job).unwrap();
    }
    drop(ledger);
    let (whole, head) = (std::fs::read(&path).unwrap(), Report::verify(&path).unwrap().hashes);
    let copy = path.with_file_name("copy.sqlite");
    let (mut found, mut nothing) = (0, 0);
    for place in (0..whole.len()).step_by(7) {
        let mut edited = whole.clone();
        edited[place] ^= 0x55;
        #[expect(clippy::disallowed_methods, reason = "a test's file need not be durable")]
        std::fs::write(&copy, &edited).unwrap();
        match Report::verify(&copy) {
            Ok(report) => {
                assert_eq!(report.hashes, head, "{place}");
                assert_eq!(report.total.tally.spent, loss(60, 6), "{place}");
                nothing += 1;
            }
            Err(_) => found += 1,
        }
    }
    assert!(found > 500, "{found} found, {nothing} without meaning");
}

/// Who removes a lock by hand, and takes it, keeps it though the first one is given back.
#[test]
fn a_hold_that_is_given_back_leaves_another_one_in_its_place() {
    let (_folder, path) = folder();
    let first = Hold::take(&path, "a").unwrap();
    let lock = path.with_file_name(".ledger.sqlite.a.lock");
    std::fs::remove_file(&lock).unwrap();
    let second = Hold::take(&path, "a").unwrap();
    drop(first);
    assert!(Hold::is_taken(&path, "a").unwrap());
    drop(second);
    assert!(!lock.exists());
}

/// Who changes the ledger waits for who does so already, before it looks at what there is.
#[test]
fn a_change_waits_for_the_one_before_it() {
    let (_folder, path) = folder();
    let mut ledger = Ledger::open_or_create(&path, &terms(100, 10)).unwrap();
    let other = Connection::open(&path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| ledger.reserve(&request("a", "content", loss(1, 0))));
        std::thread::sleep(Duration::from_millis(300));
        assert!(!waiting.is_finished());
        other.execute_batch("COMMIT").unwrap();
        assert_eq!(waiting.join().unwrap().unwrap(), Reservation::Granted);
    });
}
