//! Files that are cut off while they are read.

use std::io::Read;
use std::os::unix::net::UnixStream;

use signal_hook::consts::SIGBUS;
use signal_hook::low_level::{exit, pipe};

use crate::console;
use crate::error::{Error, Result};
use crate::findings;

/// From here on such a file ends the process with a message, as JSON too if asked.
///
/// polars maps files: where the end of one is gone, the system sends SIGBUS to the thread that
/// reads it, again and again (as `reader.rs` has seen to). Another thread hears of it and ends the
/// process; what it leaves is what a kill leaves, and payments are read before anything is charged.
pub(super) fn end_with_a_message(json: bool) -> Result<()> {
    let failed = |e: std::io::Error| Error::environment(findings::signals_refused(&e));
    let (mut heard, told) = UnixStream::pair().map_err(failed)?;
    pipe::register(SIGBUS, told).map_err(failed)?;
    let watch = move || {
        if heard.read_exact(&mut [0]).is_ok() {
            let error = Error::environment(findings::file_cut_short());
            if json {
                console::error_json(&error, "");
            }
            console::error(&error, None, "");
            // At once: destructors would pull the ground from under threads that still run.
            exit(error.class().exit_code().into());
        }
    };
    std::thread::Builder::new().spawn(watch).map_err(failed)?;
    Ok(())
}
