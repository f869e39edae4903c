//! A folder that appears whole or not at all.

use std::fs::{File, FileTimes};
use std::io::{BufWriter, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use sha2::{Digest, Sha256};
use tempfile::{TempDir, TempPath};

use super::beside::{Aside, own_folder, sweep};
use crate::error::{Error, Result};
use crate::findings;
use crate::job::Job;
use crate::privacy::PrivacyLoss;
use crate::release::layout::is_within;
use crate::release::manifest::NOT_PRIVATE;

/// The time of last change of all releases, since 1970.
const NEW_YEAR_2000: Duration = Duration::from_secs(946_684_800);

/// A release being written, beside its final place. Removed when dropped.
pub struct Draft {
    place: TempDir,
    target: PathBuf,
    /// As many files as the release will have, and one as large as it may become, until it is
    /// written.
    room: Option<(TempPath, TempDir)>,
    /// The folder, locked as long as this process writes to it; `None` if the disk knows no locks.
    _held: Option<File>,
}

impl Draft {
    /// Makes the draft's folder in the parent of `target`, in place of what [`sweep`] removes.
    ///
    /// # Errors
    /// The parent cannot be made or written.
    pub fn beside(target: &Path) -> Result<Draft> {
        let parent = parent_of(target);
        let failed = |e: &std::io::Error| not_writable(&parent, e);
        std::fs::create_dir_all(&parent).map_err(|e| failed(&e))?;
        sweep(target);
        let (place, _held) = own_folder(target, "").map_err(|e| failed(&e))?;
        Ok(Draft { place, target: target.to_owned(), room: None, _held })
    }

    /// Keeps so many bytes, and the files `names`, until [`Draft::use_room`], so that a full disk,
    /// or one without room for more files, shows before a price is paid. A promise of the disk and
    /// no proof: who compresses or copies on write may break it.
    ///
    /// # Errors
    /// Environment: there is no such room.
    pub fn keep_room(&mut self, bytes: u64, names: &[String]) -> Result<()> {
        let fill = || {
            let files = TempDir::new_in(self.place.path())?;
            for name in names {
                let path = files.path().join(name);
                std::fs::create_dir_all(parent_of(&path))?;
                File::create_new(path)?;
            }
            let mut file = tempfile::NamedTempFile::new_in(self.place.path())?;
            std::io::copy(&mut std::io::repeat(1).take(bytes), file.as_file_mut())?;
            Ok((file.into_temp_path(), files))
        };
        let missing = |e: std::io::Error| {
            Error::environment(findings::room_missing(&parent_of(&self.target), bytes, &e))
        };
        self.room = Some(fill().map_err(missing)?);
        Ok(())
    }

    /// Gives back what was kept, for the release to take.
    pub fn use_room(&mut self) {
        self.room = None;
    }

    pub(super) fn folder(&self) -> &Path {
        self.place.path()
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    /// Writes one file through to the disk.
    pub(super) fn write(
        &self,
        name: &str,
        content: impl FnOnce(&mut BufWriter<File>) -> std::io::Result<()>,
    ) -> Result<()> {
        let path = self.path(name);
        let write = || {
            std::fs::create_dir_all(parent_of(&path))?;
            let mut file = BufWriter::new(File::create_new(&path)?);
            content(&mut file)?;
            file.flush()?;
            file.get_ref().sync_all()
        };
        write().map_err(|e| not_writable(&path, &e))
    }

    /// Moves the draft to its place. What stands there is replaced if it is a release of the job
    /// `replace`, or an empty folder.
    ///
    /// # Errors
    /// Something else stands there, or the disk refuses.
    pub fn publish(self, replace: Option<&str>) -> Result<()> {
        let Draft { place, target, room, _held } = self;
        drop(room);
        let failed = |e: std::io::Error| not_writable(&target, &e);
        // Readers of a release need not be the user who made it.
        open_to_readers(place.path(), 0o755).map_err(failed)?;
        tell_no_time(place.path()).map_err(failed)?;
        let replaced = target.exists() && replace.is_some_and(|job| is_of_job(&target, job));
        let old = replaced.then(|| Aside::of(&target)).transpose().map_err(failed)?;
        // Linux refuses to rename over a folder that has files.
        if let Err(e) = std::fs::rename(place.path(), &target) {
            old.map_or(Ok(()), |old| old.put_back(&target)).map_err(failed)?;
            return Err(match e.kind() {
                std::io::ErrorKind::DirectoryNotEmpty | std::io::ErrorKind::AlreadyExists => {
                    Error::invalid(findings::release_exists(&target))
                }
                _ => failed(e),
            });
        }
        // The folder has moved away, so there is nothing left to remove.
        let _ = place.keep();
        File::open(parent_of(&target)).and_then(|parent| parent.sync_all()).map_err(failed)?;
        drop(old);
        Ok(())
    }
}

/// Is there a release of this job, or an empty folder?
pub(super) fn is_of_job(folder: &Path, job: &str) -> bool {
    let empty = || std::fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_none());
    manifest_in(folder).map_or_else(empty, |manifest| manifest["job"]["id"] == job)
}

/// May the release of a job whose ledger knows of none be put there, in place of what stands there
/// if `force`?
///
/// # Errors
/// Refused, also by `force`: a release of this very job and population is there. Whoever made it
/// was charged, by a ledger that has since been replaced by an older one, or by another. Invalid:
/// something else is there.
pub fn may_be_at(folder: &Path, job: &Job, force: bool) -> Result<()> {
    if !folder.exists() {
        return Ok(());
    }
    if manifest_in(folder).is_some_and(|manifest| is_of(&manifest, job)) {
        let finding = findings::release_unknown(&job.id, folder, &job.ledger.file);
        return Err(Error::refused(finding));
    }
    match force {
        false => Err(Error::invalid(findings::release_exists(folder))),
        true if is_of_job(folder, &job.id) => Ok(()),
        true => Err(Error::invalid(findings::release_of_others(&job.id, folder))),
    }
}

pub(super) fn manifest_in(folder: &Path) -> Option<serde_json::Value> {
    let manifest = std::fs::read(folder.join("manifest.json")).ok()?;
    serde_json::from_slice(&manifest).ok()
}

/// Is it the manifest of a release of this job's id over this population?
fn is_of(manifest: &serde_json::Value, job: &Job) -> bool {
    manifest["job"]["id"] == job.id && manifest["job"]["population"] == job.ledger.population
}

fn open_to_readers(path: &Path, mode: u32) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))
}

/// Lets all read what is within a folder, and gives all of it one time of last change and writes it
/// through to the disk: how long a step of the run took depends on the payments, and whoever copies
/// a release may keep its times.
fn tell_no_time(folder: &Path) -> std::io::Result<()> {
    let time = SystemTime::UNIX_EPOCH + NEW_YEAR_2000;
    let times = FileTimes::new().set_accessed(time).set_modified(time);
    let set = |path: &Path| {
        let file = File::open(path)?;
        file.set_times(times)?;
        file.sync_all()
    };
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            open_to_readers(&path, 0o755)?;
            tell_no_time(&path)?;
        } else {
            open_to_readers(&path, 0o644)?;
            set(&path)?;
        }
    }
    set(folder)
}

pub(super) fn parent_of(target: &Path) -> PathBuf {
    match target.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}

fn not_writable(path: &Path, cause: &std::io::Error) -> Error {
    Error::environment(findings::release_not_writable(path, cause))
}

/// SHA-256 of what was read, in hex.
pub(super) fn digest_of(bytes: &[u8]) -> String {
    hex(Sha256::new_with_prefix(bytes))
}

fn hex(hasher: Sha256) -> String {
    hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// SHA-256 of a file, in hex.
///
/// # Errors
/// It cannot be read.
pub(super) fn digest_of_file(path: &Path) -> Result<String> {
    let digest = || -> std::io::Result<String> {
        let (mut hasher, mut file, mut block) = (Sha256::new(), File::open(path)?, [0; 1 << 16]);
        loop {
            match file.read(&mut block)? {
                0 => break,
                n => hasher.update(&block[..n]),
            }
        }
        Ok(hex(hasher))
    };
    digest().map_err(|e| not_writable(path, &e))
}

/// The manifest of the release in `folder`, all of whose tables are those that it names.
///
/// # Errors
/// Invalid: there is no such folder, or no release in it. Environment: the release cannot be read,
/// or a table is another one.
pub fn read(folder: &Path) -> Result<serde_json::Value> {
    if !folder.is_dir() {
        return Err(Error::invalid(findings::release_not_there(folder)));
    }
    let unreadable = |why: &str| Error::environment(findings::release_not_readable(folder, why));
    let bytes = std::fs::read(folder.join("manifest.json")).map_err(|e| match e.kind() {
        ErrorKind::NotFound => Error::invalid(findings::release_without_manifest(folder)),
        _ => unreadable(&format!("manifest.json: {e}")),
    })?;
    let manifest: serde_json::Value =
        serde_json::from_slice(&bytes).map_err(|e| unreadable(&format!("manifest.json: {e}")))?;
    let files = manifest["files"].as_array();
    let files = files.ok_or_else(|| unreadable("its manifest names no files"))?;
    for file in files {
        let name = file["name"].as_str().unwrap_or_default();
        let plain = is_within(name);
        let is_table = name.ends_with(".parquet");
        let digest = digest_of_file(&folder.join(name)).ok();
        if !plain || (is_table && digest.as_deref() != file["sha256"].as_str()) {
            return Err(unreadable(&format!("`{name}` is not what was released")));
        }
    }
    Ok(manifest)
}

/// Writes a page, whole or not at all.
///
/// # Errors
/// Environment: the place cannot be written.
pub fn write_page(path: &Path, page: &str) -> Result<()> {
    let write = || {
        let mut file = page_draft(path)?;
        file.write_all(page.as_bytes())?;
        file.as_file().sync_all()?;
        open_to_readers(file.path(), 0o644)?;
        file.persist(path).map_err(|e| e.error)
    };
    write().map(drop).map_err(|e| not_writable(path, &e))
}

/// Can [`write_page`] write there? Asked before long work.
///
/// # Errors
/// Environment: the place cannot be written.
pub fn page_fits(path: &Path) -> Result<()> {
    let is_folder = || std::io::Error::from(std::io::ErrorKind::IsADirectory);
    let place = if path.is_dir() { Err(is_folder()) } else { page_draft(path) };
    place.map(drop).map_err(|e| not_writable(path, &e))
}

/// A page that is being written, beside its place; gone when dropped.
fn page_draft(path: &Path) -> std::io::Result<tempfile::NamedTempFile> {
    let parent = parent_of(path);
    // Else the message would name a file that nobody asked for.
    std::fs::metadata(&parent)?;
    tempfile::Builder::new().prefix(".discretail-").tempfile_in(parent)
}

/// Does `folder` hold the whole release of this job: its manifest, with this job and population,
/// and every file that the manifest names, unchanged? If so, the digest of the manifest.
pub fn is_complete(folder: &Path, job: &Job) -> Option<String> {
    Some(complete(folder, job)?.0)
}

/// The digest that the ledger records of this release, which was charged `loss`.
///
/// # Errors
/// Refused: its noise came from a key of the tests. Environment: it is gone, changed, or states
/// another price.
pub fn publishable(folder: &Path, job: &Job, loss: PrivacyLoss) -> Result<String> {
    let missing = || Error::environment(findings::release_missing(&job.id, folder));
    let (digest, manifest) = complete(folder, job).ok_or_else(missing)?;
    let stated = &manifest["parameters"];
    let charged = [
        ("mu_squared_units", loss.mu_squared.units().to_string()),
        ("threshold_delta_units", loss.threshold_delta.units().to_string()),
    ];
    if charged.iter().any(|(name, units)| stated[*name].as_str() != Some(units)) {
        return Err(missing());
    }
    if manifest.get(NOT_PRIVATE).is_some() {
        return Err(Error::refused(findings::release_not_private(&job.id, folder)));
    }
    Ok(digest)
}

/// The digest and the content of the manifest of a whole release.
fn complete(folder: &Path, job: &Job) -> Option<(String, serde_json::Value)> {
    let bytes = std::fs::read(folder.join("manifest.json")).ok()?;
    let manifest: serde_json::Value = serde_json::from_slice(&bytes).ok()?;
    let same = manifest["job"]["digest"] == job.digest
        && manifest["job"]["population"] == job.ledger.population;
    if !same {
        return None;
    }
    let files = manifest["files"].as_array()?;
    let unchanged = files.iter().all(|file| {
        let name = file["name"].as_str().unwrap_or_default();
        let digest = digest_of_file(&folder.join(name)).ok();
        is_within(name) && digest.as_deref() == file["sha256"].as_str()
    });
    (unchanged && !files.is_empty()).then(|| (digest_of(&bytes), manifest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorClass;
    use crate::fixture::Market;
    use crate::privacy::{Delta, MuSquared};
    use serde_json::{Value, json};

    /// A disk may have no room for files, however small: all of them are made, and go again.
    #[test]
    fn room_is_kept_for_every_file() {
        let parent = tempfile::tempdir().expect("a folder");
        let mut draft = Draft::beside(&parent.path().join("release")).expect("a draft");
        let names = ["a.parquet", "b.parquet/day=2025-01-01/part-0.parquet", "manifest.json"];
        draft.keep_room(10, &names.map(str::to_owned)).expect("has room");
        let room = draft.room.as_ref().expect("keeps it").1.path().to_owned();
        assert!(room.starts_with(draft.folder()));
        assert!(names.iter().all(|name| room.join(name).is_file()));
        draft.use_room();
        assert_eq!(std::fs::read_dir(draft.folder()).expect("lists").count(), 0);
        // What is there already cannot be made again.
        let twice = ["a.parquet", "a.parquet"].map(str::to_owned);
        let error = draft.keep_room(10, &twice).expect_err("one is in the way");
        assert_eq!(error.findings()[0].code(), "room-missing");
        assert_eq!(std::fs::read_dir(draft.folder()).expect("lists").count(), 0);
    }

    /// What a ledger may record: the whole release of this very job, at the price that it was
    /// charged, and made with secret noise.
    #[test]
    fn only_the_whole_release_of_the_job_at_its_price_can_be_published() {
        let report = "levels = [[]]\nkeys = \"public\"\ninsights = [\"payments\"]\n\
                      bounds = { payments = 8 }";
        let job = Market::new(&[]).plan(&[report.to_owned()]).job;
        let parent = tempfile::tempdir().expect("a folder");
        let folder = parent.path().join("release");
        std::fs::create_dir(&folder).expect("makes it");
        let put = |path: &Path, bytes: &[u8]| {
            File::create(path).and_then(|mut file| file.write_all(bytes)).expect("writes");
        };
        put(&folder.join("a.parquet"), b"a");
        put(&parent.path().join("a.parquet"), b"a");
        let good = json!({
            "job": { "id": job.id, "digest": job.digest, "population": job.ledger.population },
            "parameters": { "mu_squared_units": "7", "threshold_delta_units": "5" },
            "files": [{ "name": "a.parquet", "sha256": digest_of(b"a") }],
        });
        let charged = |mu_squared, delta| PrivacyLoss {
            mu_squared: MuSquared::from_units(mu_squared),
            threshold_delta: Delta::from_units(delta),
        };
        let code = |change: &dyn Fn(&mut Value), loss: PrivacyLoss| {
            let mut manifest = good.clone();
            change(&mut manifest);
            put(&folder.join("manifest.json"), manifest.to_string().as_bytes());
            publishable(&folder, &job, loss).map_err(|error| error.findings()[0].code())
        };
        let digest = digest_of(good.to_string().as_bytes());
        assert_eq!(code(&|_| (), charged(7, 5)), Ok(digest));
        let missing = Err("release-missing");
        for loss in [charged(6, 5), charged(8, 5), charged(7, 4), charged(7, 6)] {
            assert_eq!(code(&|_| (), loss), missing, "{loss:?}");
        }
        let changes: [&dyn Fn(&mut Value); 6] = [
            &|m| m["job"]["digest"] = json!("other"),
            &|m| m["job"]["population"] = json!("others"),
            &|m| m["files"][0]["sha256"] = json!(digest_of(b"b")),
            &|m| m["files"][0]["name"] = json!("b.parquet"),
            &|m| m["files"][0]["name"] = json!("../a.parquet"),
            &|m| m["files"] = json!([]),
        ];
        for (place, change) in changes.into_iter().enumerate() {
            assert_eq!(code(change, charged(7, 5)), missing, "change {place}");
        }
        let known = |m: &mut Value| m[NOT_PRIVATE] = json!("a known key");
        assert_eq!(code(&known, charged(7, 5)), Err("release-not-private"));
        // Not even by force may another one take its place, but only where it is the very job.
        put(&folder.join("manifest.json"), good.to_string().as_bytes());
        let forced = |job: &Job| may_be_at(&folder, job, true).map_err(|e| e.class());
        assert_eq!(forced(&job), Err(ErrorClass::Refused));
        let mut others = job.clone();
        others.ledger.population = "others".to_owned();
        assert_eq!(forced(&others), Ok(()));
        let other = Job { id: "other".to_owned(), ..job.clone() };
        assert_eq!(forced(&other), Err(ErrorClass::Invalid));
    }
}
