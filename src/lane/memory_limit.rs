//! How much memory this process may use: that of the machine, or less where its control groups say so.
//!
//! Pages of an arena count for the process that writes them first. One whose receivers stand still must not be killed
//! for what it has sent.

use std::fs;
use std::path::Path;

/// Bytes, as far as the system tells.
pub(super) fn memory_of_this_process() -> Option<u64> {
    let machine = first_number("/proc/meminfo").map(|kibibytes| kibibytes * 1024);
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    machine.into_iter().chain(limit_of_groups(Path::new("/sys/fs/cgroup"), &groups)).min()
}

/// The least limit of these groups and of those that they are in; `groups` is what `/proc/self/cgroup` says (cgroups(7)).
fn limit_of_groups(root: &Path, groups: &str) -> Option<u64> {
    let limits = groups.lines().filter_map(|line| {
        let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
        let (hierarchy, file) = match controllers {
            "" => (root.to_owned(), "memory.max"),
            _ if controllers.split(',').any(|controller| controller == "memory") => {
                (root.join("memory"), "memory.limit_in_bytes")
            }
            _ => return None,
        };
        // In a container the path may be one outside of it, and the root is then its own group.
        let path = Path::new(path.trim_start_matches('/'));
        path.ancestors().filter_map(|group| limit_in(&hierarchy.join(group).join(file))).min()
    });
    limits.min()
}

/// `None` where there is no limit, too: then it says `max`.
fn limit_in(file: &Path) -> Option<u64> {
    fs::read_to_string(file).ok()?.trim().parse().ok()
}

/// The first number in a file of the system.
pub(super) fn first_number(path: &str) -> Option<u64> {
    let text = fs::read_to_string(path).ok()?;
    text.split_ascii_whitespace().find_map(|word| word.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_limit_of_a_group_and_those_around_it_counts() {
        let root = std::env::temp_dir().join(format!("busway-groups-{}", std::process::id()));
        let write = |path: &str, text: &str| {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        let limit = |groups: &str| limit_of_groups(&root, groups);
        assert_eq!(limit("0::/a/b\n"), None, "no such group");
        write("a/b/memory.max", "max\n");
        assert_eq!(limit("0::/a/b\n"), None);
        write("a/memory.max", "5000000\n");
        assert_eq!(limit("0::/a/b\n"), Some(5_000_000));
        write("a/b/memory.max", "3000000\n");
        assert_eq!(limit("0::/a/b\n"), Some(3_000_000));
        assert_eq!(limit("0::/a\n"), Some(5_000_000));
        assert_eq!(limit("0::/\n"), None);
        assert_eq!(limit("9:name=systemd:/\n4:cpu,cpuacct:/a\n"), None);
        write("memory/memory.limit_in_bytes", "2000000\n");
        assert_eq!(limit("4:memory:/outside/of/it\n0::/a\n"), Some(2_000_000));
        assert_eq!(limit("nonsense\n::\n"), None);
        fs::remove_dir_all(&root).unwrap();
    }

    #[test]
    fn what_the_system_says_is_some_memory() {
        assert!(memory_of_this_process().is_some_and(|bytes| bytes > 1 << 20));
    }
}
