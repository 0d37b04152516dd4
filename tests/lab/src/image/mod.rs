//! The lab's machine images: a node's and a bare one, and the package repository that the bare one installs from.
//!
//! They are built once from Debian's packages and treated as read-only; every instance is an overlay on one of them. A
//! stamp with the recipe's hash, written last, makes building again a matter of reading one file.

pub mod sources;
pub mod tools;

use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use rustix::fs::{FlockOperation, flock};
use sha2::{Digest, Sha256};

use crate::dir::LabDir;

const RECIPE: &str = include_str!("../../image/build.sh");

/// What is laid over both images: path under the root, content.
const FILES: [(&str, &str); 3] = [
    ("etc/apt/sources.list", include_str!("../../image/files/etc/apt/sources.list")),
    ("etc/cloud/cloud.cfg.d/90_lab.cfg", include_str!("../../image/files/etc/cloud/cloud.cfg.d/90_lab.cfg")),
    ("etc/hosts", include_str!("../../image/files/etc/hosts")),
];

/// The folders that a build leaves, under the lab's own.
const RESULTS: [&str; 3] = ["image", "plain", "repository"];

/// Builds the images and the repository if they aren't there or their recipe has changed; needs root and Debian's
/// packages (about 40 seconds). Says on standard error what it does.
pub fn ensure(dir: &LabDir) -> Result<()> {
    let root = dir.root();
    // Two at once would build into the same place; the second one finds everything done.
    let lock = fs::File::create(root.join("image.lock")).context("making image.lock in the lab's folder")?;
    flock(&lock, FlockOperation::LockExclusive).context("waiting for another build of the lab's image")?;
    if is_current(root) {
        return Ok(());
    }
    ensure!(rustix::process::geteuid().is_root(), "building the lab's image needs root: use `sudo make setup`");
    build(root)
}

/// Whether the images are there and as the recipe would make them.
fn is_current(root: &Path) -> bool {
    let stamp = fs::read_to_string(root.join("image.stamp")).unwrap_or_default();
    stamp.trim() == recipe_hash() && RESULTS.iter().all(|name| root.join(name).is_dir())
}

/// The SHA-256 of everything that decides what an image holds, in hex.
fn recipe_hash() -> String {
    let mut hash = Sha256::new();
    hash.update(RECIPE);
    for (path, content) in FILES {
        hash.update(path);
        hash.update(content);
    }
    hex::encode(hash.finalize())
}

fn build(root: &Path) -> Result<()> {
    let work = root.join("image.building");
    discard(&work)?;
    fs::create_dir_all(&work).context("making the folder to build the lab's image in")?;
    for (path, content) in FILES {
        let path = work.join("files").join(path);
        fs::create_dir_all(path.parent().context("an image file has a folder")?)?;
        fs::write(&path, content).with_context(|| format!("writing {}", path.display()))?;
    }
    fs::write(work.join("build.sh"), RECIPE)?;
    fs::write(work.join("sources.list"), sources::of_this_host()?)?;

    run_recipe(&work, &["build.sh".as_ref(), "sources.list".as_ref(), "files".as_ref(), work.as_os_str()])?;

    for name in RESULTS {
        discard(&root.join(name))?;
        fs::rename(work.join(name), root.join(name)).with_context(|| format!("putting {name} into its place"))?;
    }
    discard(&work)?;
    fs::write(root.join("image.stamp"), recipe_hash()).context("writing the image's stamp")
}

/// Runs a script in its folder, in a mount namespace of its own, so that one that is killed leaves no mount behind.
fn run_recipe(work: &Path, script: &[&OsStr]) -> Result<()> {
    let status = Command::new("unshare")
        .args(["--mount", "--propagation", "private", "sh"])
        .args(script)
        .current_dir(work)
        .status()
        .context("starting unshare for the image's recipe")?;
    ensure!(status.success(), "building the lab's image failed ({status}): see the lines above");
    Ok(())
}

/// Removes a folder of an image, by a rename first: an image is there whole or not at all.
fn discard(path: &Path) -> Result<()> {
    let doomed = path.with_extension("doomed");
    remove(&doomed)?;
    if path.exists() {
        fs::rename(path, &doomed).with_context(|| format!("moving {} away", path.display()))?;
    }
    remove(&doomed)
}

fn remove(tree: &Path) -> Result<()> {
    if !tree.exists() {
        return Ok(());
    }
    fs::remove_dir_all(tree).with_context(|| format!("removing {}", tree.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_of_another_recipe_is_not_current() {
        let dir = tempfile::tempdir().unwrap();
        for name in RESULTS {
            fs::create_dir(dir.path().join(name)).unwrap();
        }
        fs::write(dir.path().join("image.stamp"), "0000").unwrap();
        assert!(!is_current(dir.path()));
        fs::write(dir.path().join("image.stamp"), recipe_hash()).unwrap();
        assert!(is_current(dir.path()));
    }

    #[test]
    fn a_stamp_without_its_images_is_not_current() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("image.stamp"), recipe_hash()).unwrap();
        assert!(!is_current(dir.path()));
    }

    #[test]
    fn every_file_of_the_image_folder_is_laid_over_it() {
        fn walk(folder: &Path, found: &mut Vec<std::path::PathBuf>) {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() { walk(&path, found) } else { found.push(path) }
            }
        }
        let files = Path::new(env!("CARGO_MANIFEST_DIR")).join("image/files");
        let mut found = Vec::new();
        walk(&files, &mut found);
        let mut found: Vec<_> = found.iter().map(|p| p.strip_prefix(&files).unwrap().to_str().unwrap()).collect();
        found.sort_unstable();
        assert_eq!(found, FILES.map(|(path, _)| path));
    }
}
