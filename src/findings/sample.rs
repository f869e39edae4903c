//! Findings of `discretail sample`.

use std::fmt::Display;
use std::path::Path;

use super::Finding;

/// The folder for the sample has something in it.
pub fn sample_folder_not_empty(path: &Path) -> Finding {
    Finding::new(
        "sample-folder-not-empty",
        format!("cannot write the sample to `{}`: the folder is not empty", path.display()),
    )
    .hint("name a new folder, or empty this one")
}

/// A file or folder of the sample could not be written.
pub fn sample_write_failed(path: &Path, cause: &dyn Display) -> Finding {
    Finding::new("sample-write-failed", format!("cannot write `{}`: {cause}", path.display()))
        .hint("check permissions and free space; nothing of the sample was kept")
}

/// A size of the sample is out of range.
pub fn sample_size_invalid(option: &str, value: u64, max: u64) -> Finding {
    Finding::new(
        "sample-size-invalid",
        format!("`{option}` is {value}, but a sample can have 1 to {max}"),
    )
    .hint(format!("choose a number from 1 to {max} for `{option}`"))
}
