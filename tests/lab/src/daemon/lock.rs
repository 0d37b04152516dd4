//! One lab per machine: namespaces, cgroups and addresses are the machine's. The lock is held for as long as its lab
//! lives and goes with its process, however that ends.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::fs::{FlockOperation, flock};

use crate::dir::LabDir;

const PATH: &str = "/run/elbow-lab.lock";

/// The right to be this machine's lab; given up when dropped.
#[derive(Debug)]
pub struct Lock {
    file: File,
}

/// How long a holder may take from getting the lock to having written who it is.
const WRITING: Duration = Duration::from_secs(1);

/// Takes the lock, or says whose it is.
pub fn take(dir: &LabDir) -> Result<Lock> {
    take_at(Path::new(PATH), dir)
}

/// Takes the lock, and waits for it: for tests, which follow one another.
pub fn wait(dir: &LabDir, most: Duration) -> Result<Lock> {
    let end = Instant::now() + most;
    loop {
        match take(dir) {
            Ok(lock) => return Ok(lock),
            Err(error) if Instant::now() >= end => return Err(error),
            // flock has no time limit, and a signal to end it needs more than this does.
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
        // Without its newline it is of a holder that is writing, or of one that has given the lock up since.
        if holder.ends_with('\n') {
            bail!("another lab is up on this machine: {}", holder.trim());
        }
        ensure!(Instant::now() < end, "another lab is up on this machine, and {} doesn't say whose", path.display());
        std::thread::sleep(Duration::from_millis(5));
    }
}

impl Drop for Lock {
    /// Who had it last is nobody's business: the next holder must not be taken for this one.
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
    fn whoever_comes_second_hears_who_has_it_even_while_that_is_being_written() {
        let folder = tempfile::tempdir().unwrap();
        let (path, dir) = (folder.path().join("lock"), LabDir::at(folder.path()).unwrap());
        let held = open(&path).unwrap();
        flock(&held, FlockOperation::NonBlockingLockExclusive).unwrap();
        let (other, at) = (dir.clone(), path.clone());
        let second = std::thread::spawn(move || take_at(&at, &other).unwrap_err().to_string());
        // What a slow writer leaves for others to read meanwhile: nothing, then a part.
        std::thread::sleep(Duration::from_millis(50));
        held.write_all_at(b"process 7", 0).unwrap();
        std::thread::sleep(Duration::from_millis(50));
        held.write_all_at(b"process 7, in /lab\n", 0).unwrap();
        assert_eq!(second.join().unwrap(), "another lab is up on this machine: process 7, in /lab");
        drop(held);
        drop(take_at(&path, &dir).unwrap());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "", "nobody has it");
    }
}
