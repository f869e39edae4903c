//! The program as a process of its own on made-up payments: started as an operator starts it, seen
//! as an operator and a recipient see it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use crate::error::{Error, Result};
use crate::findings;

/// What one run has shown.
#[derive(Clone, Debug)]
pub(crate) struct Ran {
    /// `None`: ended by a signal.
    pub(crate) code: Option<i32>,
    /// What it printed, the folder's name aside.
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) seconds: f64,
    /// The folder with the job file, in which releases are.
    pub(crate) folder: PathBuf,
}

impl Ran {
    /// Why there is no release, if there is none.
    pub(crate) fn fault(&self) -> Option<String> {
        let code = self.code.map_or("a signal".to_owned(), |code| format!("exit code {code}"));
        let first = self.stderr.lines().next().unwrap_or_default();
        (self.code != Some(0)).then(|| format!("the program stopped with {code}: {first}"))
    }

    /// The files of a job's release, by name.
    pub(crate) fn files(&self, job: &str) -> Result<Vec<(String, Vec<u8>)>> {
        let folder = self.folder.join(job);
        let mut files = Vec::new();
        read_all(&folder, "", &mut files)
            .map_err(|e| Error::environment(findings::audit_not_writable(&folder, &e)))?;
        files.sort();
        Ok(files)
    }
}

/// Reads all files of a folder and those within it; their names start with `before`.
fn read_all(
    folder: &Path,
    before: &str,
    files: &mut Vec<(String, Vec<u8>)>,
) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let name = format!("{before}{}", entry.file_name().to_string_lossy());
        if entry.file_type()?.is_dir() {
            read_all(&entry.path(), &format!("{name}/"), files)?;
        } else {
            files.push((name, std::fs::read(entry.path())?));
        }
    }
    Ok(())
}

/// Runs a job file in its folder.
pub(super) fn run(program: &Path, folder: &Path, job: &str, threads: usize) -> Result<Ran> {
    let failed = |e: std::io::Error| Error::environment(findings::audit_not_writable(folder, &e));
    let started = Instant::now();
    let threads = threads.to_string();
    let output = Command::new(program)
        .args(["run", job, "--accept-useless", "--threads", &threads])
        .current_dir(folder)
        .output()
        .map_err(failed)?;
    let seconds = started.elapsed().as_secs_f64();
    // As the program and the system may write it.
    let names = [Some(folder.to_owned()), folder.canonicalize().ok()];
    let text = |bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes).into_owned();
        names
            .iter()
            .flatten()
            .fold(text, |text, name| text.replace(&*name.to_string_lossy(), "FOLDER"))
    };
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    Ok(Ran { code: output.status.code(), stdout, stderr, seconds, folder: folder.to_owned() })
}
