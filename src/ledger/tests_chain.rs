//! What the hashes and the triggers find and stop.

use std::path::Path;

use rusqlite::Connection;

use super::tests::{code, fill, folder, loss, request, terms};
use super::*;
use crate::error::ErrorClass;

/// Changes rows as an intruder would: guards off, one statement.
fn tamper(path: &Path, sql: &str) {
    let raw = Connection::open(path).unwrap();
    raw.execute_batch("PRAGMA synchronous = OFF; PRAGMA journal_mode = MEMORY").unwrap();
    let triggers: Vec<String> = raw
        .prepare("SELECT name FROM sqlite_schema WHERE type = 'trigger'")
        .unwrap()
        .query_map([], |row| row.get(0))
        .unwrap()
        .map(|name| name.unwrap())
        .collect();
    for trigger in triggers {
        raw.execute_batch(&format!("DROP TRIGGER {trigger}")).unwrap();
    }
    raw.execute_batch("PRAGMA ignore_check_constraints = ON; DROP INDEX entry_once").unwrap();
    raw.execute_batch(sql).unwrap();
}

/// The encoding is for ever: these values were computed apart from this program, with Python.
#[test]
fn hashes_are_those_of_the_documented_encoding() {
    let (_folder, path) = folder();
    fill(&path);
    let raw = Connection::open(&path).unwrap();
    let hash = |sql: &str| raw.query_row(sql, [], |row| row.get::<_, String>(0)).unwrap();
    assert_eq!(
        hash("SELECT hash FROM terms"),
        "75104b57bdaf7d5bb45701c9c3bb93968d113395433f9495002ec467d3ee088a"
    );
    assert_eq!(
        hash("SELECT hash FROM entry WHERE seq = 1"),
        "0da0444514311f7487bb39c012183cf82c34e587e347da734845ea9dbf054b20"
    );
    assert_eq!(
        hash("SELECT hash FROM entry WHERE event = 'published'"),
        "bc288b9474f91aa47a590e059015ef1aaacaf51ceda841d0a73d20673446ff9d"
    );
}

/// Every column of every row, also columns that a later version adds.
#[test]
fn finds_the_edit_of_any_field() {
    let (folder, path) = folder();
    fill(&path);
    let columns = |table: &str| -> Vec<String> {
        let raw = Connection::open(&path).unwrap();
        let sql = format!("SELECT name FROM pragma_table_info('{table}')");
        let mut statement = raw.prepare(&sql).unwrap();
        statement.query_map([], |row| row.get(0)).unwrap().map(|name| name.unwrap()).collect()
    };
    let edited = folder.path().join("edited.sqlite");
    let mut edits = 0;
    for (table, rows) in [("terms", 1), ("entry", 7)] {
        for (column, row) in
            columns(table).iter().flat_map(|column| (1..=rows).map(move |row| (column, row)))
        {
            std::fs::copy(&path, &edited).unwrap();
            // Another value of the same type; for numbers in text, another number.
            let sql = format!(
                "UPDATE {table} SET {column} = CASE typeof({column})
                     WHEN 'integer' THEN {column} + 70
                     WHEN 'null' THEN ''
                     ELSE CASE {column} WHEN 'spent' THEN 'voided' WHEN '20' THEN '19'
                          ELSE {column} || '0' END
                 END WHERE rowid = {row}"
            );
            tamper(&edited, &sql);
            let error = Ledger::open(&edited, &terms(100, 10)).unwrap_err();
            assert_eq!(error.class(), ErrorClass::Refused, "{table} {row} {column}");
            assert_eq!(error.findings()[0].code(), "ledger-chain-broken");
            let place =
                if table == "terms" { "its row of terms".into() } else { format!("entry {row}") };
            let message = error.findings()[0].message();
            assert!(message.contains(&format!("altered at {place}: ")), "{column}: {message}");
            edits += 1;
        }
    }
    assert_eq!(edits, 10 + 7 * 15);
}

#[test]
fn finds_rows_that_were_removed_added_or_rehashed() {
    let (folder, path) = folder();
    fill(&path);
    let edited = folder.path().join("edited.sqlite");
    for (sql, wanted) in [
        ("DELETE FROM terms", "its row of terms: it is missing"),
        ("INSERT INTO terms SELECT * FROM terms", "its row of terms: there is a second one"),
        ("DELETE FROM entry WHERE seq = 1", "entry 1: it is missing"),
        ("DELETE FROM entry WHERE seq = 4", "entry 4: it is missing"),
        (
            "UPDATE entry SET seq = -1 WHERE seq = 3; UPDATE entry SET seq = 3 WHERE seq = 4;
             UPDATE entry SET seq = 4 WHERE seq = -1",
            "entry 3: its content does not match its hash",
        ),
        (
            "INSERT INTO entry SELECT 8, event, job, digest, recipient, user, time, mu_squared,
             threshold_delta, periods, mu_squared_all, folder, release_digest, previous, hash FROM entry WHERE seq = 7",
            "entry 8: its content does not match its hash",
        ),
        (
            "UPDATE entry SET job = CAST(x'ff' AS TEXT) WHERE seq = 2",
            "entry 2: a field has the wrong type",
        ),
        (
            "UPDATE terms SET unit = CAST(x'ff' AS TEXT)",
            "its row of terms: a field has the wrong type",
        ),
    ] {
        std::fs::copy(&path, &edited).unwrap();
        tamper(&edited, sql);
        let error = Ledger::open(&edited, &terms(100, 10)).unwrap_err();
        let message = error.findings()[0].message();
        assert!(message.ends_with(&format!("altered at {wanted}")), "{sql}: {message}");
    }
}

/// An intruder who also computes the hashes is still held to the rules of the states.
#[test]
fn refuses_well_hashed_entries_that_cannot_follow() {
    type Change = fn(&mut Entry);
    let cases: [(Change, &str); 9] = [
        (|entry| entry.user = "day".to_owned(), "it differs from the reservation of its job"),
        (
            |entry| {
                entry.state = EntryState::Reserved;
                (entry.job, entry.user, entry.release) = ("new".to_owned(), "day".to_owned(), None);
            },
            "it tells users apart by another expression",
        ),
        (
            |entry| entry.time = Some("paid_at".to_owned()),
            "it differs from the reservation of its job",
        ),
        (
            |entry| {
                entry.state = EntryState::Reserved;
                (entry.job, entry.release) = ("new".to_owned(), None);
                entry.time = Some("paid_at".to_owned());
            },
            "it tells users apart by another expression",
        ),
        (|entry| entry.loss = loss(19, 2), "it differs from the reservation of its job"),
        (
            |entry| (entry.state, entry.release) = (EntryState::Spent, None),
            "not in a state that this step can follow",
        ),
        (|entry| entry.release = None, "a release belongs to a published job"),
        (|entry| entry.job = "new".to_owned(), "not in a state that this step can follow"),
        (
            |entry| {
                entry.state = EntryState::Reserved;
                (entry.job, entry.loss, entry.release) = ("new".to_owned(), loss(61, 0), None);
            },
            "it goes beyond the budget",
        ),
    ];
    for (alter, wanted) in cases {
        let (_folder, path) = folder();
        fill(&path);
        let raw = Connection::open(&path).unwrap();
        let (chain, book) = read(&raw, &path).unwrap();
        let release = Some(ReleaseMark { folder: "out/c".to_owned(), digest: "d3".to_owned() });
        let step = book.step("c", book.job("c").unwrap(), EntryState::Published);
        let mut entry = Entry { release, ..step };
        alter(&mut entry);
        // The unique index would refuse a second `spent` already.
        raw.execute_batch("DROP INDEX entry_once").unwrap();
        chain.append(&raw, &entry).unwrap();
        let error = Ledger::open(&path, &terms(100, 10)).unwrap_err();
        assert_eq!(error.findings()[0].code(), "ledger-chain-broken");
        let message = error.findings()[0].message();
        assert!(message.contains("entry 8: ") && message.contains(wanted), "{message}");
    }
}

/// Its own hash is right, and so is its step, but it stands on another row than the last one.
#[test]
fn refuses_an_entry_that_does_not_continue_the_row_before_it() {
    let (_folder, path) = folder();
    fill(&path);
    let raw = Connection::open(&path).unwrap();
    let (mut chain, book) = read(&raw, &path).unwrap();
    let release = Some(ReleaseMark { folder: "out/c".to_owned(), digest: "d3".to_owned() });
    let step = book.step("c", book.job("c").unwrap(), EntryState::Published);
    chain.hashes.pop();
    chain.append(&raw, &Entry { release, ..step }).unwrap();
    let error = Ledger::open(&path, &terms(100, 10)).unwrap_err();
    let message = error.findings()[0].message();
    let wanted = "altered at entry 8: it does not continue the row before it";
    assert!(message.ends_with(wanted), "{message}");
}

#[test]
fn an_edit_while_the_ledger_is_open_stops_the_next_step() {
    let (_folder, path) = folder();
    let mut ledger = Ledger::open_or_create(&path, &terms(100, 10)).unwrap();
    ledger.reserve(&request("a", "a", loss(90, 0))).unwrap();
    tamper(&path, "UPDATE entry SET mu_squared = '1'");
    let broken = (ErrorClass::Refused, "ledger-chain-broken");
    assert_eq!(code(ledger.reserve(&request("b", "b", loss(90, 0)))), broken);
    assert_eq!(code(ledger.spend("a")), broken);
    assert_eq!(code(ledger.left()), broken);
}

#[test]
fn sqlite_itself_refuses_edits() {
    let (_folder, path) = folder();
    fill(&path);
    let raw = Connection::open(&path).unwrap();
    for (sql, wanted) in [
        ("UPDATE terms SET epsilon_max = '9'", "the terms of a ledger never change"),
        ("DELETE FROM terms", "the terms of a ledger never change"),
        ("INSERT INTO terms SELECT * FROM terms", "a ledger has one row of terms"),
        ("UPDATE entry SET mu_squared = '0'", "entries are never edited"),
        ("DELETE FROM entry", "entries are never deleted"),
        (
            "REPLACE INTO entry SELECT 7, event, job, digest, recipient, user, time, '0',
             threshold_delta, periods, mu_squared_all, folder, release_digest, previous, hash FROM entry WHERE seq = 7",
            "entries are only appended",
        ),
        (
            "INSERT INTO entry SELECT 8, 'spent', job, digest, recipient, user, time, mu_squared,
             threshold_delta, periods, mu_squared_all, folder, release_digest, previous, hash FROM entry WHERE seq = 7",
            "UNIQUE constraint failed: entry.job, entry.event",
        ),
        (
            "INSERT INTO entry SELECT 8, 'refunded', job, digest, recipient, user, time, mu_squared,
             threshold_delta, periods, mu_squared_all, folder, release_digest, previous, hash FROM entry WHERE seq = 7",
            "CHECK constraint failed: event IN ('reserved', 'spent', 'published', 'voided')",
        ),
    ] {
        assert_eq!(raw.execute(sql, []).unwrap_err().to_string(), wanted, "{sql}");
    }
    assert!(Ledger::open(&path, &terms(100, 10)).unwrap().is_some());
}

/// What `ledger verify` looks at besides the rows, and so do runs.
#[test]
fn verify_names_what_else_was_changed() {
    let sha = "a".repeat(64);
    let (_folder, path) = folder();
    let mut ledger = Ledger::open_or_create(&path, &terms(100, 10)).unwrap();
    ledger.reserve(&request("a", &sha, loss(20, 2))).unwrap();
    ledger.spend("a").unwrap();
    ledger.publish("a", Path::new("out"), &sha).unwrap();
    let report = Report::verify(&path).unwrap();
    assert_eq!((report.entries(), report.place_of(report.head())), (3, Some(3)));
    for (sql, wanted) in [
        ("DROP TRIGGER entry_no_update", "`entry_no_update`: it is not as made"),
        ("CREATE TABLE theirs (x)", "`theirs`: it is not as made"),
        (
            "DROP TRIGGER terms_once; CREATE TRIGGER terms_once BEFORE INSERT ON terms
             BEGIN SELECT 1; END",
            "`terms_once`: it is not as made",
        ),
    ] {
        let copy = path.with_file_name("copy.sqlite");
        std::fs::copy(&path, &copy).unwrap();
        Connection::open(&copy).unwrap().execute_batch(sql).unwrap();
        assert_eq!(Report::read(&copy).unwrap().entries(), 3, "no row was changed");
        let error = Report::verify(&copy).unwrap_err();
        let message = error.findings()[0].message();
        assert!(message.ends_with(wanted), "{message}");
        let broken = (ErrorClass::Refused, "ledger-chain-broken");
        assert_eq!(code(Ledger::open_or_create(&copy, &terms(100, 10))), broken);
        assert_eq!(code(Ledger::open(&copy, &terms(100, 10))), broken);
    }
    let mut odd = Ledger::open_to_change(&path).unwrap();
    odd.reserve(&request("b", "no digest", loss(1, 0))).unwrap();
    let error = Report::verify(&path).unwrap_err();
    let message = error.findings()[0].message();
    assert!(message.ends_with("altered at entry 4: a digest is no SHA-256"), "{message}");
    // Of a release, too.
    let (_folder, path) = folder();
    let mut odd = Ledger::open_or_create(&path, &terms(100, 10)).unwrap();
    odd.reserve(&request("a", &sha, loss(20, 2))).unwrap();
    odd.spend("a").unwrap();
    odd.publish("a", Path::new("out"), "no digest").unwrap();
    let error = Report::verify(&path).unwrap_err();
    let message = error.findings()[0].message();
    assert!(message.ends_with("altered at entry 3: a digest is no SHA-256"), "{message}");
}

/// Without a witness the cut does not show; a head that was noted elsewhere shows it.
#[test]
fn a_noted_head_shows_what_was_cut_off_or_rewritten() {
    let (_folder, path) = folder();
    fill(&path);
    let noted = Report::read(&path).unwrap().head().to_owned();
    let earlier = Report::read(&path).unwrap().hashes[5].clone();
    let cut = path.with_file_name("cut.sqlite");
    std::fs::copy(&path, &cut).unwrap();
    tamper(&cut, "DELETE FROM entry WHERE seq > 5");
    let report = Report::read(&cut).unwrap();
    assert_eq!(report.place_of(&noted), None);
    assert_eq!(report.place_of(&earlier), Some(5));
    // The same jobs again, one at another price, with all hashes right.
    let again = path.with_file_name("again.sqlite");
    let mut ledger = Ledger::open_or_create(&again, &terms(100, 10)).unwrap();
    ledger.reserve(&request("a", "content", loss(19, 2))).unwrap();
    let report = Report::read(&again).unwrap();
    assert_eq!(report.place_of(&Report::read(&path).unwrap().hashes[1]), None);
}
