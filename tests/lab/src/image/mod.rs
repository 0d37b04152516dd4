//! Builds the lab's machine images: one with a node's programs, a plain one, one with dnf instead of apt-get, and the
//! repository that the latter two install from.
//!
//! They are built once from Debian's packages and are read-only; each instance is an overlay on one of them. A stamp
//! with the recipes' hash is written last and shows that they are current.

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

/// The scripts, in this order, and the specs of the second one's RPMs.
const RECIPES: [(&str, &str); 4] = [
    ("build.sh", include_str!("../../image/build.sh")),
    ("rpms.sh", include_str!("../../image/rpms.sh")),
    ("package.spec", include_str!("../../image/package.spec")),
    ("base.spec", include_str!("../../image/base.spec")),
];

/// Files that are copied over all images: path under the root, content.
const FILES: [(&str, &str); 3] = [
    ("etc/apt/sources.list", include_str!("../../image/files/etc/apt/sources.list")),
    ("etc/cloud/cloud.cfg.d/90_lab.cfg", include_str!("../../image/files/etc/cloud/cloud.cfg.d/90_lab.cfg")),
    ("etc/hosts", include_str!("../../image/files/etc/hosts")),
];

/// The folders that a build creates in the lab's folder.
const RESULTS: [&str; 4] = ["image", "plain", "dnf", "repository"];

/// Builds the images and the repository if they are missing or a recipe has changed. Needs root and Debian's
/// packages, takes about a minute, and prints progress on standard error.
pub fn ensure(dir: &LabDir) -> Result<()> {
    let root = dir.root();
    // Two builds at once would use the same folder.
    let lock = fs::File::create(root.join("image.lock")).context("creating image.lock in the lab's folder")?;
    flock(&lock, FlockOperation::LockExclusive).context("waiting for another build of the lab's image")?;
    if is_current(root) {
        return Ok(());
    }
    ensure!(rustix::process::geteuid().is_root(), "building the lab's image needs root; run `sudo make setup`");
    build(root)
}

/// Whether the images exist and match the recipes.
fn is_current(root: &Path) -> bool {
    let stamp = fs::read_to_string(root.join("image.stamp")).unwrap_or_default();
    stamp.trim() == recipe_hash() && RESULTS.iter().all(|name| root.join(name).is_dir())
}

/// The SHA-256 of the recipes and the files, in hex.
fn recipe_hash() -> String {
    let mut hash = Sha256::new();
    for (path, content) in RECIPES.iter().chain(&FILES) {
        hash.update(path);
        hash.update(content);
    }
    hex::encode(hash.finalize())
}

fn build(root: &Path) -> Result<()> {
    let work = root.join("image.building");
    discard(&work)?;
    fs::create_dir_all(&work).context("creating the folder to build the lab's image in")?;
    for (path, content) in FILES {
        let path = work.join("files").join(path);
        fs::create_dir_all(path.parent().context("an image file has no folder")?)?;
        fs::write(&path, content).with_context(|| format!("writing {}", path.display()))?;
    }
    for (name, content) in RECIPES {
        fs::write(work.join(name), content)?;
    }
    fs::write(work.join("sources.list"), sources::of_this_host()?)?;

    run_recipe(&work, &["build.sh".as_ref(), "sources.list".as_ref(), "files".as_ref(), work.as_os_str()])?;
    run_recipe(&work, &["rpms.sh".as_ref(), work.as_os_str()])?;

    for name in RESULTS {
        discard(&root.join(name))?;
        fs::rename(work.join(name), root.join(name)).with_context(|| format!("moving {name} into place"))?;
    }
    discard(&work)?;
    fs::write(root.join("image.stamp"), recipe_hash()).context("writing the image's stamp")
}

/// Runs a script in its folder and in its own mount namespace, so that a killed script leaves no mounts.
fn run_recipe(work: &Path, script: &[&OsStr]) -> Result<()> {
    let status = Command::new("unshare")
        .args(["--mount", "--propagation", "private", "sh"])
        .args(script)
        .current_dir(work)
        .status()
        .context("starting unshare for the image's recipe")?;
    ensure!(status.success(), "building the lab's image failed ({status}); see the lines above");
    Ok(())
}

/// Removes an image's folder. It is renamed first, so that an image is complete or missing.
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
    fn every_file_of_the_image_folder_is_copied_over_the_image() {
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
