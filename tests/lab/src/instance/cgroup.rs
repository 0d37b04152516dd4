//! The lab's control groups, one per instance, with which the lab finds, freezes and kills an instance's processes.
//!
//! The lab uses the host's mount of cgroup version 2, or mounts it in its own folder.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use std::{fs, io, thread};

use anyhow::{Context, Result, bail};
use rustix::mount::{MountFlags, mount};

use crate::dir::LabDir;

/// The parent group of all instances' groups.
const NAME: &str = "elbow-lab";

/// A control group, which may or may not exist.
#[derive(Debug, Clone)]
pub struct Cgroup {
    path: PathBuf,
}

impl Cgroup {
    /// The group of all instances.
    pub fn of_all(dir: &LabDir) -> Result<Cgroup> {
        Ok(Cgroup { path: hierarchy(dir)?.join(NAME) })
    }

    /// The group of one instance.
    pub fn of(dir: &LabDir, id: &str) -> Result<Cgroup> {
        Ok(Cgroup { path: Cgroup::of_all(dir)?.path.join(id) })
    }

    /// Its folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn create(&self) -> Result<()> {
        fs::create_dir_all(&self.path).with_context(|| format!("creating the cgroup {}", self.path.display()))
    }

    /// The processes in it and below it.
    pub fn processes(&self) -> Vec<u32> {
        let mut found = Vec::new();
        for group in self.tree() {
            // A group that was removed meanwhile has no processes.
            let text = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
            found.extend(text.lines().filter_map(|line| line.parse::<u32>().ok()));
        }
        found
    }

    /// Whether any process is in it or below it.
    pub fn is_populated(&self) -> bool {
        self.event("populated")
    }

    /// Freezes or thaws all processes, and waits for that.
    pub fn freeze(&self, frozen: bool) -> Result<()> {
        self.write("cgroup.freeze", if frozen { "1" } else { "0" })?;
        self.wait(Duration::from_secs(5), |group| group.event("frozen") == frozen)
    }

    /// Kills all processes and waits for their end.
    pub fn kill(&self) -> Result<()> {
        if !self.path.exists() {
            return Ok(());
        }
        self.write("cgroup.kill", "1")?;
        self.wait(Duration::from_secs(10), |group| !group.is_populated())
    }

    /// Waits until a condition holds.
    pub fn wait(&self, most: Duration, condition: impl Fn(&Cgroup) -> bool) -> Result<()> {
        let end = Instant::now() + most;
        while !condition(self) {
            if Instant::now() >= end {
                bail!("{}: the processes did not change state within {most:?}", self.path.display());
            }
            thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// Removes it and all groups below it, which must be empty. Returns whether it existed.
    pub fn remove(&self) -> Result<bool> {
        let existed = self.path.exists();
        for group in self.tree().iter().rev() {
            match fs::remove_dir(group) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => {
                    return Err(e).with_context(|| format!("removing the cgroup {}", group.display()));
                }
                _ => {}
            }
        }
        Ok(existed)
    }

    /// The groups directly below.
    pub fn children(&self) -> Vec<PathBuf> {
        let Ok(entries) = fs::read_dir(&self.path) else { return Vec::new() };
        entries.flatten().map(|entry| entry.path()).filter(|path| path.is_dir()).collect()
    }

    /// It and all groups below it, parents first.
    fn tree(&self) -> Vec<PathBuf> {
        let mut groups = Vec::new();
        if self.path.is_dir() {
            groups.push(self.path.clone());
        }
        for child in self.children() {
            groups.extend(Cgroup { path: child }.tree());
        }
        groups
    }

    fn event(&self, name: &str) -> bool {
        let text = fs::read_to_string(self.path.join("cgroup.events")).unwrap_or_default();
        text.lines().any(|line| line.strip_prefix(name).is_some_and(|rest| rest.trim() == "1"))
    }

    fn write(&self, file: &str, value: &str) -> Result<()> {
        let path = self.path.join(file);
        fs::write(&path, value).with_context(|| format!("writing {value} to {}", path.display()))
    }
}

/// The lab's own mount point of cgroups, for hosts without version 2.
pub(crate) fn own_mount(dir: &LabDir) -> PathBuf {
    dir.run().join("cgroup")
}

fn hierarchy(dir: &LabDir) -> Result<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").context("reading this process's mounts")?;
    if let Some(path) = mounted(&mounts) {
        return Ok(path);
    }
    let path = own_mount(dir);
    fs::create_dir_all(&path).context("creating the cgroups' mount point")?;
    mount("cgroup2", &path, "cgroup2", MountFlags::empty(), None)
        .with_context(|| format!("mounting cgroups on {}", path.display()))?;
    Ok(path)
}

/// The mount point of the whole version 2 hierarchy in a `mountinfo` (proc_pid_mountinfo(5)).
fn mounted(mountinfo: &str) -> Option<PathBuf> {
    mountinfo.lines().find_map(|line| {
        let (place, kind) = line.split_once(" - ")?;
        let place: Vec<&str> = place.split(' ').collect();
        let whole = place.get(3) == Some(&"/") && kind.starts_with("cgroup2 ");
        whole.then(|| place.get(4).map(PathBuf::from)).flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_two_is_found_beside_version_one() {
        let text = "30 24 0:26 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755\n\
                    31 30 0:27 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu\n\
                    40 30 0:36 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n";
        assert_eq!(mounted(text), Some(PathBuf::from("/sys/fs/cgroup/unified")));
        assert_eq!(mounted("31 30 0:27 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n"), None);
    }

    #[test]
    fn a_group_that_does_not_exist_has_no_processes_and_needs_no_killing() {
        let group = Cgroup { path: "/nonexistent/elbow-lab/i-0".into() };
        assert!(group.processes().is_empty() && !group.is_populated());
        group.kill().unwrap();
        assert!(!group.remove().unwrap());
    }
}
