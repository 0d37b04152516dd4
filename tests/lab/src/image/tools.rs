//! Fetches programs from Debian's packages with which tests check files; no node runs them.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

use super::{discard, run_recipe, sources};
use crate::dir::LabDir;

const RECIPE: &str = include_str!("../../image/tools.sh");

/// Fetches the programs if they are missing or their recipe has changed. Needs root and Debian's packages.
pub fn ensure(dir: &LabDir) -> Result<()> {
    let stamp = dir.tools().with_extension("stamp");
    if fs::read_to_string(&stamp).is_ok_and(|made| made == recipe_hash()) && dir.promtool().exists() {
        return Ok(());
    }
    let work = dir.root().join("tools.building");
    discard(&work)?;
    fs::create_dir_all(&work).context("creating the folder to unpack tools in")?;
    fs::write(work.join("tools.sh"), RECIPE)?;
    fs::write(work.join("sources.list"), sources::of_this_host()?)?;
    run_recipe(&work, &["tools.sh".as_ref(), "sources.list".as_ref(), work.as_os_str()])?;
    discard(&dir.tools())?;
    fs::rename(work.join("tools"), dir.tools()).context("moving the tools into place")?;
    discard(&work)?;
    fs::write(&stamp, recipe_hash()).with_context(|| format!("writing {}", Path::new(&stamp).display()))
}

fn recipe_hash() -> String {
    hex::encode(Sha256::digest(RECIPE))
}
