//! The lock that allows one lab per machine: namespaces, cgroups and addresses belong to the machine. The kernel
//! releases the lock when the lab's process ends, in whatever way.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::fs::{FlockOperation, flock};

use crate::dir::LabDir;

const PATH: &str = "/run/elbow-lab.lock";

/// The held lock; released when dropped.
#[derive(Debug)]
pub struct Lock {
    file: File,
}

/// How long a new holder may take to write its line into the lock file.
const WRITING: Duration = Duration::from_secs(1);

/// Takes the lock. If another lab holds it, the error names that lab's process and folder.
pub fn take(dir: &LabDir) -> Result<Lock> {
    take_at(Path::new(PATH), dir)
}

/// Waits for the lock, at most this long: tests run one lab after another.
pub fn wait(dir: &LabDir, most: Duration) -> Result<Lock> {
    let end = Instant::now() + most;
    loop {
        match take(dir) {
            Ok(lock) => return Ok(lock),
            Err(error) if Instant::now() >= end => return Err(error),
            // flock has no time limit, so this polls.
            Err(_) => std::thread::sleep(Duration::from_millis(200)),
        }
    }
}

fn take_at(path: &Path, dir: &LabDir) -> Result<Lock> {
    let end = Instant::now() + WRITING;
    loop {
        let file = open(path)?;
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok() {
            let line = format!("process {}, in {}\n", std::process::id(), dir.root().display());
            file.set_len(0)?;
            file.write_all_at(line.as_bytes(), 0).with_context(|| format!("writing {}", path.display()))?;
            return Ok(Lock { file });
        }
        let holder = std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
        // Without a newline, the holder is still writing its line or has just released the lock.
        if holder.ends_with('\n') {
            bail!("another lab is up on this machine: {}", holder.trim());
        }
        ensure!(Instant::now() < end, "another lab is up on this machine; {} doesn't name its process", path.display());
        std::thread::sleep(Duration::from_millis(5));
    }
}

impl Drop for Lock {
    /// Clears the line, so that readers don't take this holder for the next one.
    fn drop(&mut self) {
        let _ = self.file.set_len(0);
    }
}

fn open(path: &Path) -> Result<File> {
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path);
    file.with_context(|| format!("opening {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_lab_reports_the_holder_even_while_the_holder_writes_its_line() {
        let folder = tempfile::tempdir().unwrap();
        let (path, dir) = (folder.path().join("lock"), LabDir::at(folder.path()).unwrap());
        let held = open(&path).unwrap();
        flock(&held, FlockOperation::NonBlockingLockExclusive).unwrap();
        let (other, at) = (dir.clone(), path.clone());
        let second = std::thread::spawn(move || take_at(&at, &other).unwrap_err().to_string());
        // A slow writer: the file is empty first, then has a part of the line.
        std::thread::sleep(Duration::from_millis(50));
        held.write_all_at(b"process 7", 0).unwrap();
        std::thread::sleep(Duration::from_millis(50));
        held.write_all_at(b"process 7, in /lab\n", 0).unwrap();
        assert_eq!(second.join().unwrap(), "another lab is up on this machine: process 7, in /lab");
        drop(held);
        drop(take_at(&path, &dir).unwrap());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "", "the line is cleared");
    }
}
