//! The machine fails: runs are killed at each step of the ledger, disks are full or read-only.
//!
//! Runs are stopped from outside, by what SQLite lets another process hold; the binary under test
//! is the one that users have.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant, SystemTime};

use insta::assert_snapshot;
use rusqlite::{Connection, OpenFlags};

use crate::common::{JOB, Workshop, command, shown};
use crate::crash::{
    discovered_job, events, job, open_job, settle, start, without_bounds, workshop,
};

/// Jobs whose bounds are stated, whose bounds the run chooses, and whose keys rounds discover.
type Write = fn(&Workshop, &str, &str) -> String;
const KINDS: [(&str, Write); 3] =
    [("stated", job), ("open", open_job), ("discovered", discovered_job)];

pub(crate) const LEDGER: &str = "ledger.sqlite";

/// Long enough for any step on a slow machine; a test that waits this long fails.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn wait_until(mut done: impl FnMut() -> bool) {
    let started = Instant::now();
    while !done() {
        assert!(started.elapsed() < PATIENCE, "the run never came so far");
        std::thread::sleep(Duration::from_micros(100));
    }
}

/// Reads of the ledger that go on keep every writer from committing.
pub(crate) struct Reader(Connection);

impl Reader {
    pub(crate) fn open(workshop: &Workshop) -> Reader {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE;
        let connection = Connection::open_with_flags(workshop.path(LEDGER), flags).unwrap();
        connection.busy_timeout(PATIENCE).unwrap();
        Reader(connection)
    }

    /// Begins to read, and goes on if the job's last event is `wanted`.
    pub(crate) fn holds(&self, id: &str, wanted: &str) -> bool {
        self.0.execute_batch("BEGIN").unwrap();
        let sql = "SELECT coalesce((SELECT event FROM entry WHERE job = ?1 ORDER BY seq DESC), '')";
        let last: String = self.0.query_row(sql, [id], |row| row.get(0)).unwrap();
        if last != wanted {
            self.0.execute_batch("COMMIT").unwrap();
        }
        last == wanted
    }

    pub(crate) fn release(self) {
        self.0.execute_batch("COMMIT").unwrap();
    }
}

fn journal(workshop: &Workshop) -> PathBuf {
    workshop.path("ledger.sqlite-journal")
}

pub(crate) fn kill(mut run: Child) {
    run.kill().expect("kills");
    run.wait().expect("ends");
}

/// A workshop whose ledger is there, so that the next commit is a job's.
pub(crate) fn prepared() -> Workshop {
    let workshop = workshop("150000");
    let init = ["ledger", "init", LEDGER, "--population", "people"];
    let budget = ["--epsilon-max", "20", "--delta-max", "1e-7"];
    let made = workshop.discretail(&[&init[..], &budget].concat());
    assert!(made.status.success(), "{}", shown(&workshop, &made));
    workshop
}

/// The run is killed while it commits the step after `state`: the journal is written, and the
/// commit waits for a reader. Nothing, if the run was faster than the reader.
fn killed_in_the_commit_after(
    state: &str,
    workshop: &Workshop,
    (id, write): (&str, Write),
) -> Option<Vec<String>> {
    let file = write(workshop, id, "20");
    let reader = Reader::open(workshop);
    if state.is_empty() {
        assert!(reader.holds(id, ""), "nothing is known of the job");
    }
    let run = start(workshop, &file);
    let mut is_late = false;
    if !state.is_empty() {
        wait_until(|| {
            is_late = reader.holds(id, "published");
            is_late || reader.holds(id, state)
        });
    }
    if !is_late {
        wait_until(|| journal(workshop).exists());
    }
    kill(run);
    reader.release();
    (!is_late).then(|| events(&workshop.path(LEDGER), id))
}

/// Rounds of a test, until five have caught the run where they should.
fn five_times(what: &str, mut round: impl FnMut(usize) -> bool) {
    let mut caught = 0;
    for number in 0..40 {
        caught += usize::from(round(number));
        if caught == 5 {
            return;
        }
    }
    panic!("only {caught} of 40 runs were {what}");
}

/// A job, and a run of it that is stopped between its reservation and its price.
fn stopped_while_reading(id: &str) -> (Workshop, String, Child) {
    let workshop = prepared();
    let file = job(&workshop, id, "20");
    let run = stopped(&workshop, id, || start(&workshop, &file));
    (workshop, file, run)
}

/// A run of a job that is stopped between its reservation and its price.
pub(crate) fn stopped(workshop: &Workshop, id: &str, start: impl Fn() -> Child) -> Child {
    let ledger = workshop.path(LEDGER);
    let (before, last) = (std::fs::read(&ledger), || events(&ledger, id).pop().unwrap_or_default());
    let before = before.expect("a ledger");
    for _ in 0..10 {
        let run = start();
        wait_until(|| ["reserved", "spent", "published"].contains(&&*last()));
        signal(&run, "-STOP");
        if last() == "reserved" {
            return run;
        }
        kill(run);
        // As if it had never been.
        let _ = std::fs::remove_file(journal(workshop));
        std::io::Write::write_all(&mut std::fs::File::create(&ledger).unwrap(), &before).unwrap();
        let _ = std::fs::remove_dir_all(workshop.path("releases").join(id));
    }
    panic!("no run of 10 was stopped between its reservation and its price");
}

#[test]
fn killed_while_reserving() {
    let workshop = prepared();
    for round in 0..5 {
        let id = format!("reserving-{round}");
        let left = killed_in_the_commit_after("", &workshop, (&id, job));
        assert_eq!(left, Some(vec![]), "an entry that was never committed");
        let after = settle(&workshop, &id, &format!("{id}.toml"), LEDGER);
        assert_eq!(after, ["reserved", "spent", "published"]);
    }
}

#[test]
fn killed_while_reading() {
    let workshop = prepared();
    five_times("killed while they read", |round| {
        let id = format!("reading-{round}");
        let file = job(&workshop, &id, "20");
        let run = start(&workshop, &file);
        wait_until(|| !events(&workshop.path(LEDGER), &id).is_empty());
        kill(run);
        let is_caught = events(&workshop.path(LEDGER), &id) == ["reserved"];
        // The reservation of the dead run is taken over, and charged once.
        let after = settle(&workshop, &id, &file, LEDGER);
        assert!(!is_caught || after == ["reserved", "spent", "published"], "{after:?}");
        is_caught
    });
}

#[test]
fn killed_while_spending() {
    let workshop = prepared();
    for (bounds, write) in KINDS {
        five_times("killed while they spent", |round| {
            let id = format!("spending-{bounds}-{round}");
            let left = killed_in_the_commit_after("reserved", &workshop, (&id, write));
            let after = settle(&workshop, &id, &format!("{id}.toml"), LEDGER);
            let Some(left) = left else { return false };
            assert_eq!(left, ["reserved"], "the commit did not happen, so no noise was drawn");
            assert_eq!(after, ["reserved", "spent", "published"]);
            true
        });
    }
}

/// Between the entry `spent` and the folder: what may have been drawn is charged, and lost.
#[test]
fn killed_while_adding_noise() {
    let workshop = prepared();
    for (bounds, write) in KINDS {
        five_times("killed between `spent` and the folder", |round| {
            let id = format!("noise-{bounds}-{round}");
            let file = write(&workshop, &id, "20");
            let run = start(&workshop, &file);
            let reader = Reader::open(&workshop);
            wait_until(|| ["spent", "published"].iter().any(|state| reader.holds(&id, state)));
            kill(run);
            reader.release();
            let released = workshop.path("releases").join(&id).exists();
            let after = settle(&workshop, &id, &file, LEDGER);
            assert!(released || after == ["reserved", "spent"], "{after:?}");
            !released
        });
    }
}

/// The folder is there, its entry is not: the next run answers with it and charges nothing.
#[test]
fn killed_while_publishing() {
    let workshop = prepared();
    five_times("killed between the folder and its entry", |round| {
        let id = format!("publishing-{round}");
        let file = job(&workshop, &id, "20");
        let run = start(&workshop, &file);
        let reader = Reader::open(&workshop);
        wait_until(|| ["spent", "published"].iter().any(|state| reader.holds(&id, state)));
        // If it was not published by then, it cannot be as long as the reader goes on.
        let folder = workshop.path("releases").join(&id);
        wait_until(|| folder.exists());
        let published = "SELECT count(*) FROM entry WHERE event = 'published' AND job = ?1";
        let done: i64 = reader.0.query_row(published, [&id], |row| row.get(0)).unwrap();
        if done == 0 {
            wait_until(|| journal(&workshop).exists());
        }
        let before = std::fs::read(folder.join("manifest.json")).unwrap();
        kill(run);
        reader.release();
        let left = events(&workshop.path(LEDGER), &id);
        let after = settle(&workshop, &id, &file, LEDGER);
        assert_eq!(after, ["reserved", "spent", "published"]);
        assert_eq!(before, std::fs::read(folder.join("manifest.json")).unwrap());
        assert!(done > 0 || left == ["reserved", "spent"], "{left:?}");
        done == 0
    });
}

#[test]
fn killed_after_publishing() {
    let workshop = prepared();
    for round in 0..5 {
        let id = format!("published-{round}");
        let file = job(&workshop, &id, "20");
        let run = start(&workshop, &file);
        wait_until(|| events(&workshop.path(LEDGER), &id).len() == 3);
        kill(run);
        let after = settle(&workshop, &id, &file, LEDGER);
        assert_eq!(after, ["reserved", "spent", "published"]);
    }
}

#[test]
fn killed_while_making_the_ledger() {
    let shop = workshop("2000");
    let half_made = |shop: &Workshop| {
        let entries = std::fs::read_dir(shop.folder.path()).unwrap();
        let name = |e: std::io::Result<std::fs::DirEntry>| e.unwrap().file_name();
        entries.map(name).any(|n| n.to_string_lossy().starts_with(".discretail-ledger-"))
    };
    let file = job(&shop, "made", "20");
    for _ in 0..50 {
        let mut run = start(&shop, &file);
        wait_until(|| half_made(&shop) || shop.path(LEDGER).exists());
        run.kill().expect("kills");
        run.wait().expect("ends");
        if !shop.path(LEDGER).exists() && half_made(&shop) {
            // What is left has no meaning: the next run makes the ledger.
            let after = settle(&shop, "made", &file, LEDGER);
            assert_eq!(after, ["reserved", "spent", "published"]);
            return;
        }
        let _ = std::fs::remove_file(shop.path(LEDGER));
        let _ = std::fs::remove_file(journal(&shop));
        let _ = std::fs::remove_dir_all(shop.path("releases"));
    }
    panic!("no run of 50 was killed while it made the ledger");
}

pub(crate) fn signal(run: &Child, signal: &str) {
    let sent = Command::new("kill").args([signal, &run.id().to_string()]).status().expect("kill");
    assert!(sent.success());
}

/// `ledger void` sees a run that goes on by its lock; where locks are not seen, as on another
/// machine, it is the run that stops, before it draws noise.
#[test]
fn a_run_whose_reservation_was_voided_draws_no_noise() {
    let (workshop, file, mut run) = stopped_while_reading("voided");
    let mut texts = shown(&workshop, &workshop.discretail(&["ledger", "void", LEDGER, "voided"]));
    // The job cannot be run twice at once either.
    texts += &shown(&workshop, &workshop.discretail(&["run", &file]));
    // A lock that is not seen.
    std::fs::remove_file(workshop.path(".ledger.sqlite.voided.lock")).unwrap();
    texts += &shown(&workshop, &workshop.discretail(&["ledger", "void", LEDGER, "voided"]));
    signal(&run, "-CONT");
    assert_eq!(run.wait().expect("ends").code(), Some(1));
    assert_eq!(events(&workshop.path(LEDGER), "voided"), ["reserved", "voided"]);
    assert!(!workshop.path("releases").join("voided").exists());
    assert_snapshot!(texts);
    let after = settle(&workshop, "voided", &file, LEDGER);
    assert_eq!(after, ["reserved", "voided", "reserved", "spent", "published"]);
}

/// What a killed run reserved is given back by `ledger void`.
#[test]
fn a_dead_run_is_voided() {
    let (workshop, _, run) = stopped_while_reading("dead");
    kill(run);
    let voided = workshop.discretail(&["ledger", "void", LEDGER, "dead"]);
    assert!(voided.status.success(), "{}", shown(&workshop, &voided));
    assert_eq!(events(&workshop.path(LEDGER), "dead"), ["reserved", "voided"]);
    assert!(!workshop.path(".ledger.sqlite.dead.lock").exists());
}

// ---------------------------------------------------------------------------------------- disks

/// A small file system of its own; `None`, with a word on the test's output, where none can be
/// mounted.
struct Disk(PathBuf);

impl Disk {
    #[expect(clippy::print_stderr, reason = "a test that is skipped says so")]
    fn mount(folder: &Path, size: &str) -> Option<Disk> {
        std::fs::create_dir_all(folder).unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={size},mode=777"), "none"]).arg(folder);
        if mount.output().is_ok_and(|output| output.status.success()) {
            return Some(Disk(folder.to_owned()));
        }
        eprintln!("skipped: no file system can be mounted here (needs root)");
        None
    }

    fn read_only(&self) {
        let mut mount = Command::new("mount");
        let output = mount.args(["-o", "remount,ro"]).arg(&self.0).output().unwrap();
        assert!(output.status.success());
    }

    /// Takes all space but `pages` of 4096 bytes; gives the file that takes it.
    fn fill_but(&self, pages: usize) -> PathBuf {
        use std::io::Write;
        let path = self.0.join("filler");
        let mut file = std::fs::File::create(&path).unwrap();
        let mut written = 0;
        while file.write_all(&[1; 4096]).is_ok() {
            written += 1;
        }
        let keep = u64::try_from((written - pages) * 4096).unwrap();
        file.set_len(keep).unwrap();
        path
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

/// A small job with ledger and releases on `disk/`, and payments beside it.
fn on_disk(workshop: &Workshop, job: &str) {
    let text = job.replace("\"ledger.sqlite\"", "\"disk/ledger.sqlite\"");
    workshop.text("job.toml", &text.replacen("job ", "releases = \"disk/releases\"\njob ", 1));
}

/// What must hold after a run that failed for want of space, and after the next with space.
fn settle_disk(workshop: &Workshop, first: &Output) -> Vec<String> {
    let (ledger, folder) =
        (workshop.path("disk/ledger.sqlite"), workshop.path("disk/releases/test"));
    let before = events(&ledger, "test");
    let said = shown(workshop, first);
    assert!(matches!(first.status.code(), Some(0 | 3)), "{said}");
    let named = ["ledger-not-writable", "release-not-writable", "room-missing"];
    let named = named.map(|code| format!("error[{code}]"));
    let named = named.iter().any(|code| said.contains(&**code));
    assert!(first.status.success() || named, "{said}");
    assert!(!folder.exists() || before.contains(&"spent".to_owned()), "released, not charged");
    if ledger.exists() {
        let verified = workshop.discretail(&["ledger", "verify", "disk/ledger.sqlite"]);
        assert!(verified.status.success(), "{}", shown(workshop, &verified));
    }
    let again = workshop.discretail(&["run", "job.toml"]);
    let after = events(&ledger, "test");
    assert!(after.starts_with(&before), "an entry was lost");
    match again.status.code() {
        Some(0) => {
            assert_eq!(after.last().map(String::as_str), Some("published"));
            let args = ["verify", "disk/releases/test", "--ledger", "disk/ledger.sqlite"];
            let verified = workshop.discretail(&args);
            assert!(verified.status.success(), "{}", shown(workshop, &verified));
        }
        _ => {
            let said = shown(workshop, &again);
            assert_eq!(again.status.code(), Some(1), "{said}");
            assert!(said.contains("error[job-spent]") && !folder.exists(), "{said}");
        }
    }
    before
}

/// One page more for each run, later several, until the run has enough.
#[test]
fn a_full_disk_never_releases_what_is_not_charged() {
    for job in [JOB.to_owned(), without_bounds(JOB)] {
        eprintln!("{} sizes of the disk", fill_disks(&job));
    }
}

/// How many sizes of the disk it took. None of them costs a job its price for nothing, as the run
/// sees before that there is room.
fn fill_disks(job: &str) -> usize {
    let workshop = Workshop::new();
    on_disk(&workshop, job);
    let mut seen: Vec<Vec<String>> = Vec::new();
    // What is kept for tables and page takes as much as all else many times over.
    for pages in (0..60).chain((60..2400).step_by(120)) {
        let Some(disk) = Disk::mount(&workshop.path("disk"), "10m") else { return 0 };
        let filler = disk.fill_but(pages);
        let first = workshop.discretail(&["run", "job.toml"]);
        std::fs::remove_file(filler).unwrap();
        seen.push(settle_disk(&workshop, &first));
        drop(disk);
        if first.status.success() {
            break;
        }
    }
    let has = |wanted: &[&str]| seen.iter().any(|events| events == wanted);
    assert!(has(&[]), "no run failed before its reservation: {seen:?}");
    assert!(has(&["reserved", "voided"]), "no run saw that the release has no room: {seen:?}");
    assert!(!has(&["reserved", "spent"]), "a run was charged for nothing: {seen:?}");
    assert!(has(&["reserved", "spent", "published"]), "no run had enough: {seen:?}");
    seen.len()
}

/// Without root: no file of the run may grow beyond a limit, which stops each file in turn.
#[test]
fn files_that_may_not_grow_never_release_what_is_not_charged() {
    let workshop = Workshop::new();
    on_disk(&workshop, JOB);
    let mut seen: Vec<Vec<String>> = Vec::new();
    for blocks in (0..80).chain((80..20_000).step_by(1000)) {
        let _ = std::fs::remove_dir_all(workshop.path("disk"));
        std::fs::create_dir(workshop.path("disk")).unwrap();
        let binary = command(workshop.folder.path()).get_program().to_owned();
        let mut limited = Command::new("sh");
        let script = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$0\" run job.toml");
        limited.arg("-c").arg(script).arg(binary).current_dir(workshop.folder.path());
        let first = limited.output().unwrap();
        seen.push(settle_disk(&workshop, &first));
        if first.status.success() {
            break;
        }
    }
    eprintln!("{} limits of files", seen.len());
    let has = |wanted: &[&str]| seen.iter().any(|events| events == wanted);
    assert!(has(&[]), "no run failed before its reservation: {seen:?}");
    assert!(has(&["reserved", "spent", "published"]), "no run had enough: {seen:?}");
}

/// The draft cannot be written any more when the price is paid: the run says that it is.
#[test]
fn a_run_that_fails_when_it_has_paid_says_so() {
    let workshop = prepared();
    let mut texts = String::new();
    for (kind, write) in KINDS {
        let id = format!("paid-{kind}");
        let file = write(&workshop, &id, "20");
        let reader = Reader::open(&workshop);
        let mut run = command(workshop.folder.path());
        let run = run.args(["run", &file]).stdout(Stdio::piped()).stderr(Stdio::piped());
        let run = run.spawn().expect("starts");
        wait_until(|| reader.holds(&id, "reserved"));
        wait_until(|| journal(&workshop).exists());
        let drafts = std::fs::read_dir(workshop.path("releases")).unwrap();
        let drafts = drafts.map(|entry| entry.unwrap().path());
        let draft = drafts.into_iter().find(|p| p.display().to_string().contains(".discretail-"));
        let draft = draft.expect("the draft is made before the price is paid");
        let kept: u64 =
            std::fs::read_dir(&draft).unwrap().map(|e| e.unwrap().metadata().unwrap().len()).sum();
        assert!(kept > 1 << 20, "{kept} bytes are kept");
        std::fs::remove_dir_all(&draft).unwrap();
        std::fs::File::create(&draft).unwrap();
        reader.release();
        let output = run.wait_with_output().expect("ends");
        assert_eq!(events(&workshop.path(LEDGER), &id), ["reserved", "spent"]);
        let draft = draft.file_name().unwrap().to_string_lossy().into_owned();
        texts += &shown(&workshop, &output).replace(&draft, "DRAFT");
        std::fs::remove_file(workshop.path("releases").join(&draft)).unwrap();
    }
    assert_snapshot!(texts);
}

/// A disk that is full says so before anything is charged, and what would be needed.
#[test]
fn a_full_disk_is_told_of_before_the_price_is_paid() {
    let workshop = Workshop::new();
    workshop.text("job.toml", &JOB.replacen("job ", "releases = \"disk/releases\"\njob ", 1));
    let Some(_disk) = Disk::mount(&workshop.path("disk"), "1m") else { return };
    let output = workshop.discretail(&["run", "job.toml"]);
    assert_eq!(events(&workshop.path(LEDGER), "test"), ["reserved", "voided"]);
    assert_snapshot!(shown(&workshop, &output));
    let left = std::fs::read_dir(workshop.path("disk/releases")).unwrap().count();
    assert_eq!(left, 0, "what was written to see if there is room is removed");
    let elsewhere = workshop.discretail(&["run", "job.toml", "--out", "elsewhere"]);
    assert!(elsewhere.status.success(), "{}", shown(&workshop, &elsewhere));
}

/// So does one that has room for bytes and not for as many files.
#[test]
fn a_disk_without_room_for_files_is_told_of_before_the_price_is_paid() {
    let workshop = Workshop::new();
    let job = JOB.replacen("job ", "releases = \"disk/releases\"\njob ", 1);
    let job = job.replace("[\"wallet\", \"day\"]", "[\"wallet\"]");
    let daily = "[[], [\"wallet\", \"day\"]]\npartition_by = \"day\"";
    let job = job.replace("[[], [\"region\", \"week\"], [\"wallet\"]]", daily);
    workshop.text("job.toml", &job);
    let Some(_disk) = Disk::mount(&workshop.path("disk"), "100m,nr_inodes=50") else { return };
    let output = workshop.discretail(&["run", "job.toml"]);
    let said = shown(&workshop, &output);
    assert!(said.contains("error[room-missing]"), "{said}");
    assert_eq!(events(&workshop.path(LEDGER), "test"), ["reserved", "voided"]);
}

#[test]
fn a_read_only_ledger_answers_and_charges_nothing() {
    let workshop = Workshop::new();
    on_disk(&workshop, JOB);
    let Some(disk) = Disk::mount(&workshop.path("disk"), "10m") else { return };
    assert!(workshop.discretail(&["run", "job.toml"]).status.success());
    disk.read_only();
    let mut texts = shown(&workshop, &workshop.discretail(&["run", "job.toml"]));
    let text = std::fs::read_to_string(workshop.path("job.toml")).unwrap();
    workshop.text("next.toml", &text.replace("\"test\"", "\"next\""));
    for args in [
        &["run", "next.toml"][..],
        &["run", "next.toml", "--out", "elsewhere"],
        &["ledger", "verify", "disk/ledger.sqlite"],
        &["ledger", "void", "disk/ledger.sqlite", "test"],
    ] {
        texts += &shown(&workshop, &workshop.discretail(args));
    }
    assert!(!workshop.path("elsewhere").exists());
    assert_snapshot!(texts);
}

#[test]
fn a_ledger_in_a_missing_folder_is_not_made() {
    let workshop = Workshop::new();
    workshop.text("job.toml", &JOB.replace("\"ledger.sqlite\"", "\"no/ledger.sqlite\""));
    let mut texts = shown(&workshop, &workshop.discretail(&["run", "job.toml"]));
    texts += &shown(&workshop, &workshop.discretail(&["plan", "job.toml"]));
    let init = ["ledger", "init", "no/ledger.sqlite", "--population", "people"];
    let budget = ["--epsilon-max", "4", "--delta-max", "1e-5"];
    texts += &shown(&workshop, &workshop.discretail(&[&init[..], &budget].concat()));
    texts += &shown(&workshop, &workshop.discretail(&["ledger", "void", "no/l.sqlite", "test"]));
    assert!(!workshop.path("no").exists() && !workshop.path("releases").exists());
    assert_snapshot!(texts);
}

/// Files of the future, as a clock that went back leaves them.
#[test]
fn a_clock_that_goes_back_changes_nothing() {
    let workshop = Workshop::new();
    assert!(workshop.discretail(&["run", "job.toml"]).status.success());
    let ledger = std::fs::read(workshop.path(LEDGER)).unwrap();
    let future = SystemTime::UNIX_EPOCH + Duration::from_secs(4_102_444_800);
    for name in [LEDGER, "payments.parquet", "merchants.parquet", "job.toml", "releases/test"] {
        let file = std::fs::File::open(workshop.path(name)).unwrap();
        file.set_modified(future).unwrap();
    }
    let again = workshop.discretail(&["run", "job.toml"]);
    assert!(again.status.success(), "{}", shown(&workshop, &again));
    assert_eq!(ledger, std::fs::read(workshop.path(LEDGER)).unwrap(), "charged again");
    workshop.text("next.toml", &JOB.replace("\"test\"", "\"next\""));
    let next = workshop.discretail(&["run", "next.toml"]);
    assert!(next.status.success(), "{}", shown(&workshop, &next));
    for release in ["releases/test", "releases/next"] {
        let verified = workshop.discretail(&["verify", release, "--ledger", LEDGER]);
        assert!(verified.status.success(), "{}", shown(&workshop, &verified));
    }
}
