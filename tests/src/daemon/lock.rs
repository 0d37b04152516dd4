//! One lab per machine: namespaces, cgroups and addresses are the machine's. The lock is held for as long as its lab
//! lives and goes with its process, however that ends.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::fs::{FlockOperation, flock};

use crate::dir::LabDir;

const PATH: &str = "/run/elbow-lab.lock";

/// The right to be this machine's lab; given up when dropped.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

/// Takes the lock, or says whose it is.
pub fn take(dir: &LabDir) -> Result<Lock> {
    let mut file = open()?;
    if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
        let mut holder = String::new();
        file.read_to_string(&mut holder).with_context(|| format!("reading {PATH}"))?;
        bail!("another lab is up on this machine: {}", holder.trim());
    }
    note_holder(&mut file, dir)?;
    Ok(Lock { _file: file })
}

/// Takes the lock, and waits for it: for tests, which follow one another.
pub fn wait(dir: &LabDir, most: Duration) -> Result<Lock> {
    let end = std::time::Instant::now() + most;
    loop {
        match take(dir) {
            Ok(lock) => return Ok(lock),
            Err(error) if std::time::Instant::now() >= end => return Err(error),
            // flock has no time limit, and a signal to end it needs more than this does.
            Err(_) => std::thread::sleep(Duration::from_millis(200)),
        }
    }
}

fn open() -> Result<File> {
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(PATH);
    file.with_context(|| format!("opening {PATH}"))
}

fn note_holder(file: &mut File, dir: &LabDir) -> Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "process {}, in {}", std::process::id(), dir.root().display())?;
    file.flush().with_context(|| format!("writing {PATH}"))
}
