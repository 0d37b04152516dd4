//! An instance's disk: a tmpfs for the overlay's writes, so that it can be full while this machine's disk isn't. An
//! instance writes about 15 MB.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rustix::mount::{MountFlags, UnmountFlags, mount, mount_remount, unmount};

/// Enough to install a node's packages.
const KILOBYTES: u64 = 2 << 20;

/// Creates an empty disk.
pub(super) fn make(folder: &Path) -> Result<()> {
    let disk = at(folder);
    fs::create_dir_all(&disk).with_context(|| format!("creating {}", disk.display()))?;
    mount("elbow-lab-disk", &disk, "tmpfs", MountFlags::empty(), Some(options(KILOBYTES).as_c_str()))
        .with_context(|| format!("mounting {}", disk.display()))
}

/// Resizes the disk to this much free space, or to its original size. Its files stay.
pub(super) fn resize(folder: &Path, room: Option<u64>) -> Result<()> {
    let disk = at(folder);
    let now = rustix::fs::statvfs(&disk).with_context(|| format!("reading the size of {}", disk.display()))?;
    let used = (now.f_blocks - now.f_bfree) * now.f_frsize / 1024;
    let size = room.map_or(KILOBYTES, |room| used + room);
    mount_remount(&disk, MountFlags::empty(), options(size).as_c_str())
        .with_context(|| format!("resizing {} to {size} kilobytes", disk.display()))
}

/// Removes the disk and its files.
pub(super) fn remove(folder: &Path) -> Result<()> {
    match unmount(at(folder), UnmountFlags::DETACH) {
        // It isn't mounted.
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
    std::ffi::CString::new(format!("size={kilobytes}k,mode=755")).expect("the options have no zero byte")
}
