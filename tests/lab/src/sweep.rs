//! Removes what a dead lab left: processes, cgroups, mounts, namespaces, overlays.
//!
//! All of it has names of the lab's, so a sweep needs no records. It is idempotent, and the next sweep finishes one
//! that was killed.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use rustix::mount::{UnmountFlags, unmount};

use crate::dir::LabDir;
use crate::instance::cgroup::{self, Cgroup};
use crate::instance::machine;
use crate::network::{Network, namespace};

/// Removes all leftovers in order. Returns a line for each. Needs root.
pub fn all(dir: &LabDir) -> Result<Vec<String>> {
    let mut removed = Vec::new();
    processes_and_cgroups(dir, &mut removed)?;
    let namespaces = namespace::list();
    Network::close()?;
    removed.extend(namespaces.into_iter().map(|name| format!("network namespace {name}")));
    mounts(dir, &mut removed)?;
    let folders = machine::folders(dir);
    if folders.is_dir() {
        let overlays = fs::read_dir(&folders).with_context(|| format!("reading {}", folders.display()))?.flatten();
        removed.extend(overlays.map(|entry| format!("overlay {}", entry.path().display())));
        fs::remove_dir_all(&folders).with_context(|| format!("removing {}", folders.display()))?;
    }
    Ok(removed)
}

fn processes_and_cgroups(dir: &LabDir, removed: &mut Vec<String>) -> Result<()> {
    let cgroup = Cgroup::of_all(dir)?;
    let processes = cgroup.processes().len();
    cgroup.kill().context("killing a dead lab's instances")?;
    if processes > 0 {
        removed.push(format!("{processes} processes"));
    }
    for child in cgroup.children() {
        let id = child.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        machine::delete_remains(&id)?;
        removed.push(format!("instance {id}"));
    }
    cgroup.remove().map(drop)
}

/// Unmounts everything in the lab's folder. Instances mount in their own namespaces, which end with them.
fn mounts(dir: &LabDir, removed: &mut Vec<String>) -> Result<()> {
    let text = fs::read_to_string("/proc/self/mountinfo").context("reading this process's mounts")?;
    // A later mount may cover an earlier one.
    for path in below(&text, &dir.run()).into_iter().rev() {
        unmount(&path, UnmountFlags::DETACH).with_context(|| format!("unmounting {path}"))?;
        // The sweep itself may have mounted the cgroups.
        if Path::new(&path) != cgroup::own_mount(dir) {
            removed.push(format!("mount {path}"));
        }
    }
    Ok(())
}

/// The mount points in or below a folder, in the order in which they were mounted (proc_pid_mountinfo(5)).
fn below(mountinfo: &str, folder: &Path) -> Vec<String> {
    let points = mountinfo.lines().filter_map(|line| line.split(' ').nth(4));
    let points = points.map(|point| point.replace("\\040", " "));
    points.filter(|point| Path::new(point).starts_with(folder)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_below_the_folder_are_found_and_no_others() {
        let text = "1 0 8:1 / / rw - ext4 /dev/a rw\n\
                    2 1 0:9 / /a\\040b/run/cgroup rw - cgroup2 cgroup2 rw\n\
                    3 1 0:9 / /a\\040b/running rw - tmpfs tmpfs rw\n";
        assert_eq!(below(text, Path::new("/a b/run")), ["/a b/run/cgroup"]);
    }
}
