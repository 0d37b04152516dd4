//! The image of all instances in the benchmark: the lab's image with the AWS CLI, Pacemaker's resource agents, nginx
//! and wrk. Nothing is installed on the host.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use lab::dir::LabDir;
use lab::image::{self, sources};
use sha2::{Digest, Sha256};

const RECIPE: &str = include_str!("image/build.sh");

/// The image's root below `place`. Builds it if it is missing, or if its recipe or the lab's image has changed.
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
    // In a mount namespace, so that a killed build leaves no mount behind.
    let status = Command::new("unshare")
        .args(["--mount", "--propagation", "private", "sh"])
        .args([&recipe, &lab.image(), &list, &work])
        .status()
        .context("starting unshare for the image's recipe")?;
    ensure!(status.success(), "building the benchmark's image failed ({status}): see the lines above");
    fs::rename(&work, &image).with_context(|| format!("moving the image to {}", image.display()))?;
    fs::write(&stamp, wanted)?;
    Ok(image)
}

fn fingerprint(base: &str) -> String {
    hex::encode(Sha256::new().chain_update(RECIPE).chain_update(base.trim()).finalize())
}
