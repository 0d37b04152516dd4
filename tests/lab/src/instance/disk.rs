//! An instance's disk: what it writes over its image, in a file system of its own, so that it can be full while this
//! machine's isn't. It is kept in memory, which an instance takes some 15 MB of.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rustix::mount::{MountFlags, UnmountFlags, mount, mount_remount, unmount};

/// Room for a plain image to install everything.
const KILOBYTES: u64 = 2 << 20;

/// Makes it, empty.
pub(super) fn make(folder: &Path) -> Result<()> {
    let disk = at(folder);
    fs::create_dir_all(&disk).with_context(|| format!("making {}", disk.display()))?;
    mount("elbow-lab-disk", &disk, "tmpfs", MountFlags::empty(), Some(options(KILOBYTES).as_c_str()))
        .with_context(|| format!("mounting {}", disk.display()))
}

/// Leaves so much room on it, or as much as it was made with. What is on it stays.
pub(super) fn resize(folder: &Path, room: Option<u64>) -> Result<()> {
    let disk = at(folder);
    let now = rustix::fs::statvfs(&disk).with_context(|| format!("looking at {}", disk.display()))?;
    let used = (now.f_blocks - now.f_bfree) * now.f_frsize / 1024;
    let size = room.map_or(KILOBYTES, |room| used + room);
    mount_remount(&disk, MountFlags::empty(), options(size).as_c_str())
        .with_context(|| format!("making {} {size} kilobytes large", disk.display()))
}

/// Removes it, with all that is on it.
pub(super) fn remove(folder: &Path) -> Result<()> {
    match unmount(at(folder), UnmountFlags::DETACH) {
        // Nothing is mounted there any more, or it never was made.
        Err(error)
            if [io::ErrorKind::InvalidInput, io::ErrorKind::NotFound].contains(&io::Error::from(error).kind()) =>
        {
            Ok(())
        }
        done => done.with_context(|| format!("unmounting {}", at(folder).display())),
    }
}

fn at(folder: &Path) -> PathBuf {
    folder.join("disk")
}

fn options(kilobytes: u64) -> std::ffi::CString {
    std::ffi::CString::new(format!("size={kilobytes}k,mode=755")).expect("no zero byte is in it")
}
