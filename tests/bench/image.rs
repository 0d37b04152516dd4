//! The image that everybody boots here: the lab's own, with the AWS CLI and Pacemaker's resource agents. What is measured
//! on it runs in the same kind of instance; nothing of it is ever installed on the host.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use lab::dir::LabDir;
use lab::image::{self, sources};
use sha2::{Digest, Sha256};

const RECIPE: &str = include_str!("image/build.sh");

/// The image's root under `place`, built if it isn't there or if what it is made from has changed.
pub fn ensure(lab: &LabDir, place: &Path) -> Result<PathBuf> {
    image::ensure(lab).context("building the lab's image")?;
    let (image, stamp) = (place.join("image"), place.join("image.stamp"));
    let wanted = fingerprint(&fs::read_to_string(lab.root().join("image.stamp"))?);
    if image.is_dir() && fs::read_to_string(&stamp).is_ok_and(|found| found.trim() == wanted) {
        return Ok(image);
    }
    let work = place.join("image.building");
    for old in [&work, &image] {
        if old.exists() {
            fs::remove_dir_all(old).with_context(|| format!("removing {}", old.display()))?;
        }
    }
    let (recipe, list) = (place.join("build.sh"), place.join("sources.list"));
    fs::write(&recipe, RECIPE)?;
    fs::write(&list, sources::of_this_host()?)?;
    // In a mount namespace of its own, so that a build that is killed leaves no mount behind.
    let status = Command::new("unshare")
        .args(["--mount", "--propagation", "private", "sh"])
        .args([&recipe, &lab.image(), &list, &work])
        .status()
        .context("starting unshare for the image's recipe")?;
    ensure!(status.success(), "building the benchmark's image failed ({status}): see the lines above");
    fs::rename(&work, &image).with_context(|| format!("putting {} into its place", image.display()))?;
    fs::write(&stamp, wanted)?;
    Ok(image)
}

fn fingerprint(base: &str) -> String {
    hex::encode(Sha256::new().chain_update(RECIPE).chain_update(base.trim()).finalize())
}
