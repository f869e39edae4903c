//! What polars and the allocator take from the environment when they are first used.

use std::env::{args_os, current_exe, var_os};
use std::os::unix::process::CommandExt;
use std::process::Command;

use super::threads;
use crate::error::{Error, Result};
use crate::findings;

/// When mimalloc gives freed memory back to the system.
const PURGE: &str = "MIMALLOC_PURGE_DELAY";

/// Starts the process again with polars' threads and buffers limited; returns where that is done.
/// Is the process's `memory` limited too?
///
/// What the user has set stays.
pub(super) fn limit(asked: Option<u16>, memory: bool) -> Result<()> {
    // A row group for each thread. Left to itself, polars holds 16 and more, however large.
    let row_groups = threads(asked.map(usize::from)).to_string();
    let mut limits = vec![("POLARS_ROW_GROUP_PREFETCH_SIZE", row_groups)];
    limits.extend(asked.map(|threads| ("POLARS_MAX_THREADS", threads.to_string())));
    limits.retain(|(name, _)| var_os(name).is_none());
    if limits.is_empty() {
        return Ok(());
    }
    let failed = |e: std::io::Error| Error::environment(findings::restart_failed(&e));
    let program = current_exe().map_err(failed)?;
    let start = |mut again: Command| {
        if !memory && var_os(PURGE).is_none() {
            // What is freed stays at hand: to give it back and ask for it again takes a twentieth
            // of the time.
            again.env(PURGE, "-1");
        }
        again.args(args_os().skip(1)).envs(limits.clone()).exec()
    };
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", WITHOUT_SIGBUS]).arg(&program);
    start(shell);
    // There is no shell.
    Err(failed(start(Command::new(program))))
}

/// Rust's own handler of SIGBUS, which lets the process die at once, is not set where the signal is
/// ignored at the start; then `cut.rs` has the time to say why.
const WITHOUT_SIGBUS: &str = "trap '' BUS; exec \"$0\" \"$@\"";
