//! How much memory is free, and whether it is enough.

use std::fs::read_to_string;
use std::path::Path;

use crate::engine::local::Local;
use crate::error::{Error, Result};
use crate::plan::Plan;
use crate::{estimate, findings, mechanism};

/// Taken to be free where the system does not say: not Linux.
const UNKNOWN: u64 = 4 << 30;

/// Half of the memory that this process could take, by the kernel's word and its groups' limits.
pub(super) fn half_of_what_is_free() -> u64 {
    let [system, group] = ["/proc/meminfo", "/proc/self/cgroup"].map(Path::new);
    free(system, group, Path::new("/sys/fs/cgroup")) / 2
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

fn free(meminfo: &Path, group: &Path, groups: &Path) -> u64 {
    let system = read_to_string(meminfo).ok().and_then(|text| available(&text));
    // A line such as `0::/system.slice/a.service`; in a container, the first group is its own.
    let text = read_to_string(group).unwrap_or_default();
    let own = text.lines().find_map(|line| line.strip_prefix("0::/")).unwrap_or_default();
    let own = groups.join(own);
    // A group may take what each of those around it may.
    let around = own.ancestors().take_while(|folder| folder.starts_with(groups));
    system.into_iter().chain(around.filter_map(left)).min().unwrap_or(UNKNOWN)
}

/// What a group may still take; `None` if it has no limit.
fn left(folder: &Path) -> Option<u64> {
    let number =
        |name: &str| -> Option<u64> { read_to_string(folder.join(name)).ok()?.trim().parse().ok() };
    Some(number("memory.max")?.saturating_sub(number("memory.current")?))
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
    fn the_smallest_of_system_and_groups_is_free() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        let write = |name: &str, text: &str| {
            use std::io::Write;
            let mut file = std::fs::File::create(at(name)).expect("creates");
            file.write_all(text.as_bytes()).expect("writes");
        };
        let free = || free(&at("meminfo"), &at("cgroup"), &at("groups"));
        std::fs::create_dir_all(at("groups/system.slice/a.service")).expect("makes folders");
        assert_eq!(free(), UNKNOWN);
        write("meminfo", "MemTotal:  16000 kB\nMemAvailable:   8000 kB\n");
        assert_eq!(free(), 8000 * 1024);
        // As in a container: the process is in the first group.
        write("groups/memory.max", "max\n");
        write("groups/memory.current", "1000\n");
        assert_eq!(free(), 8000 * 1024);
        write("groups/memory.max", "5000\n");
        assert_eq!(free(), 4000);
        write("groups/memory.current", "6000\n");
        assert_eq!(free(), 0);
        // As under systemd: the service's limit, and that of its slice.
        std::fs::remove_file(at("groups/memory.max")).expect("removes");
        write("groups/system.slice/a.service/memory.max", "3000\n");
        write("groups/system.slice/a.service/memory.current", "500\n");
        assert_eq!(free(), 8000 * 1024);
        write("cgroup", "4:memory:/b.service\n0::/system.slice/a.service\n");
        assert_eq!(free(), 2500);
        write("groups/system.slice/memory.max", "4000\n");
        write("groups/system.slice/memory.current", "3900\n");
        assert_eq!(free(), 100);
        // A path that is not seen from here leaves the groups around it.
        write("cgroup", "0::/system.slice/other/b.service\n");
        assert_eq!(free(), 100);
    }
}
