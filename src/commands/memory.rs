//! How much memory is free, and whether it is enough.

use std::fs::read_to_string;
use std::path::Path;

use crate::engine::local::Local;
use crate::error::{Error, Result};
use crate::plan::Plan;
use crate::{estimate, findings, mechanism};

/// Taken to be free where the system does not say: not Linux.
const UNKNOWN: u64 = 4 << 30;

/// Half of the memory that this process could take, by the kernel's word and its group's limit.
pub(super) fn half_of_what_is_free() -> u64 {
    free(Path::new("/proc/meminfo"), Path::new("/sys/fs/cgroup")) / 2
}

/// Can every step of a run, one after the other, do its work in the engine's memory? Asked before
/// anything is charged.
///
/// # Errors
/// It cannot.
pub(super) fn suffices(engine: &Local, plan: &Plan) -> Result<()> {
    let steps = [engine.memory_least(plan), mechanism::memory(plan), estimate::memory(plan)];
    let least = steps.into_iter().max().unwrap_or(0);
    if engine.memory < least {
        return Err(Error::invalid(findings::memory_too_small(engine.memory, least)));
    }
    Ok(())
}

fn free(meminfo: &Path, cgroup: &Path) -> u64 {
    let system = read_to_string(meminfo).ok().and_then(|text| available(&text));
    let number =
        |name: &str| -> Option<u64> { read_to_string(cgroup.join(name)).ok()?.trim().parse().ok() };
    let group = number("memory.max").zip(number("memory.current"));
    let group = group.map(|(most, used)| most.saturating_sub(used));
    system.into_iter().chain(group).min().unwrap_or(UNKNOWN)
}

/// `MemAvailable` of /proc/meminfo, in bytes.
fn available(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smaller_of_system_and_group_is_free() {
        let folder = tempfile::tempdir().expect("a folder");
        let write = |name: &str, text: &str| {
            use std::io::Write;
            let mut file = std::fs::File::create(folder.path().join(name)).expect("creates");
            file.write_all(text.as_bytes()).expect("writes");
        };
        let meminfo = folder.path().join("meminfo");
        assert_eq!(free(&meminfo, folder.path()), UNKNOWN);
        write("meminfo", "MemTotal:  16000 kB\nMemAvailable:   8000 kB\n");
        assert_eq!(free(&meminfo, folder.path()), 8000 * 1024);
        write("memory.max", "max\n");
        write("memory.current", "1000\n");
        assert_eq!(free(&meminfo, folder.path()), 8000 * 1024);
        write("memory.max", "5000\n");
        assert_eq!(free(&meminfo, folder.path()), 4000);
        write("memory.current", "6000\n");
        assert_eq!(free(&meminfo, folder.path()), 0);
    }
}
