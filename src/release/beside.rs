//! Folders beside a release, while it is made: its draft, and what it takes the place of. Named by
//! the release's place and locked, so that the next run to that place knows what dead ones left.

use std::fs::File;
use std::path::Path;

use tempfile::TempDir;

use super::folder::{digest_of, manifest_in, parent_of};

/// A release whose place another one is about to take. Removed when dropped.
pub(super) struct Aside {
    place: TempDir,
    /// The folder, locked; `None` if the disk knows no locks.
    held: Option<File>,
}

impl Aside {
    /// In names of such folders.
    const NAME: &str = "old-";
    /// The release's name within.
    const RELEASE: &str = "release";

    /// Moves what stands at `target` aside.
    pub(super) fn of(target: &Path) -> std::io::Result<Aside> {
        let (place, held) = own_folder(target, Aside::NAME)?;
        std::fs::rename(target, place.path().join(Aside::RELEASE))?;
        Ok(Aside { place, held })
    }

    /// Moves it back; if that fails it stays aside, for [`sweep`] to do so.
    pub(super) fn put_back(self, target: &Path) -> std::io::Result<()> {
        let put = std::fs::rename(self.place.path().join(Aside::RELEASE), target);
        if put.is_err() {
            self.leave();
        }
        put
    }

    /// Removes nothing, as if the process were killed.
    fn leave(self) {
        let _ = self.place.keep();
        drop(self.held);
    }
}

/// Makes a folder beside `target` that [`sweep`] knows, and locks it, if the disk knows locks.
pub(super) fn own_folder(target: &Path, kind: &str) -> std::io::Result<(TempDir, Option<File>)> {
    loop {
        let prefix = drafts_of(target) + kind;
        let place = tempfile::Builder::new().prefix(&prefix).tempdir_in(parent_of(target))?;
        // Waits for who is sweeping it away.
        let held = File::open(place.path()).ok().filter(|file| file.lock().is_ok());
        if place.path().exists() {
            return Ok((place, held));
        }
    }
}

/// Removes drafts for `target` that killed runs have left, and none that a process writes to: a job
/// of another ledger may have paid for it. A release that such a run has moved aside is moved back,
/// unless another one has taken its place.
pub fn sweep(target: &Path) {
    let prefix = drafts_of(target);
    let aside = prefix.clone() + Aside::NAME;
    let entries = std::fs::read_dir(parent_of(target)).into_iter().flatten().flatten();
    for entry in entries {
        let (name, path) = (entry.file_name(), entry.path());
        let name = name.to_string_lossy();
        let Some(_held) = name.starts_with(&prefix).then(|| held(&path)).flatten() else {
            continue;
        };
        let old = path.join(Aside::RELEASE);
        let is_left = name.starts_with(&aside) && old.exists();
        // Linux renames over nothing, and over an empty folder.
        if is_left && std::fs::rename(&old, target).is_err() && manifest_in(target).is_none() {
            continue;
        }
        // What cannot be removed is in nobody's way.
        let _ = std::fs::remove_dir_all(path);
    }
}

/// A draft's folder, locked; `None` if another process has it, or the disk knows no locks.
fn held(folder: &Path) -> Option<File> {
    let file = File::open(folder).ok()?;
    file.try_lock().is_ok().then_some(file)
}

/// What names of drafts begin with; a name may be too long to be part of another one.
fn drafts_of(target: &Path) -> String {
    let name = target.file_name().unwrap_or_default();
    format!(".discretail-{}-", &digest_of(name.as_encoded_bytes())[..16])
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::super::folder::is_of_job;
    use super::*;
    use crate::release::Draft;

    #[test]
    fn drafts_of_the_dead_are_swept_away_and_those_of_the_living_are_not() {
        let parent = tempfile::tempdir().expect("a folder");
        let target = parent.path().join("release");
        let dead = parent.path().join(drafts_of(&target) + "dead");
        std::fs::create_dir(&dead).expect("makes it");
        let living = Draft::beside(&target).expect("a draft");
        let other = Draft::beside(&target).expect("a second draft");
        assert!(!dead.exists());
        assert!(living.folder().exists() && other.folder().exists());
        living.publish(None).expect("moves");
        assert!(target.is_dir());
        drop(other);
        assert_eq!(std::fs::read_dir(parent.path()).expect("lists").count(), 1);
    }

    /// A run is killed while it replaces a release, at each of its steps.
    #[test]
    fn a_release_that_a_killed_run_was_replacing_is_put_back() {
        let parent = tempfile::tempdir().expect("a folder");
        let target = parent.path().join("release");
        let make = |of: &str| {
            std::fs::create_dir(&target).expect("makes it");
            let manifest = format!("{{\"job\": {{\"id\": \"{of}\"}}}}");
            let mut file = File::create(target.join("manifest.json")).expect("makes it");
            file.write_all(manifest.as_bytes()).expect("writes");
        };
        let folders = || std::fs::read_dir(parent.path()).expect("lists").count();
        make("old");
        let living = Aside::of(&target).expect("moves");
        sweep(&target);
        assert!(!target.exists() && living.place.path().exists());
        // Before the new one is there.
        living.leave();
        assert_eq!(folders(), 1);
        sweep(&target);
        assert!(is_of_job(&target, "old") && folders() == 1);
        // Afterwards.
        let old = Aside::of(&target).expect("moves");
        make("new");
        old.leave();
        sweep(&target);
        assert!(is_of_job(&target, "new") && folders() == 1);
        // Something is in the way, so neither run moves it back, and none removes it.
        let old = Aside::of(&target).expect("moves");
        std::fs::create_dir_all(target.join("else")).expect("makes it");
        assert!(old.put_back(&target).is_err());
        sweep(&target);
        assert_eq!(folders(), 2);
        std::fs::remove_dir(target.join("else")).expect("is empty");
        sweep(&target);
        assert!(is_of_job(&target, "new") && folders() == 1);
    }
}
