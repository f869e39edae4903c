//! The reader's limits, which polars takes from the environment when it is first used.

use std::env::{args_os, current_exe, var_os};
use std::os::unix::process::CommandExt;
use std::process::Command;

use super::threads;
use crate::error::{Error, Result};
use crate::findings;

/// Starts the process again with polars' threads and buffers limited; returns where that is done.
///
/// What the user has set stays.
pub(super) fn limit(asked: Option<u16>) -> Result<()> {
    // A row group for each thread. Left to itself, polars holds 16 and more, however large.
    let row_groups = threads(asked.map(usize::from)).to_string();
    let mut limits = vec![("POLARS_ROW_GROUP_PREFETCH_SIZE", row_groups)];
    limits.extend(asked.map(|threads| ("POLARS_MAX_THREADS", threads.to_string())));
    limits.retain(|(name, _)| var_os(name).is_none());
    if limits.is_empty() {
        return Ok(());
    }
    let failed = |e: std::io::Error| Error::environment(findings::restart_failed(&e));
    let mut again = Command::new(current_exe().map_err(failed)?);
    Err(failed(again.args(args_os().skip(1)).envs(limits).exec()))
}
