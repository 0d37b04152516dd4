//! Where the lab keeps what: one folder, so that a person can look at it, and a dead lab's remains are found.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// The lab's folder: `$ELBOW_LAB_DIR`, or `target/lab` of this checkout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabDir {
    root: PathBuf,
}

impl LabDir {
    /// The folder that the environment names, made if it isn't there.
    pub fn open() -> Result<LabDir> {
        let root = match std::env::var_os("ELBOW_LAB_DIR") {
            Some(dir) => PathBuf::from(dir),
            None => checkout()?.join("target/lab"),
        };
        LabDir::at(root)
    }

    /// This folder, made if it isn't there.
    pub fn at(root: impl Into<PathBuf>) -> Result<LabDir> {
        let root = root.into();
        std::fs::create_dir_all(&root).with_context(|| format!("making the lab's folder {}", root.display()))?;
        let root = root.canonicalize().with_context(|| format!("finding the lab's folder {}", root.display()))?;
        Ok(LabDir { root })
    }

    /// The folder itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Root file system of the main image, read-only: HAProxy, keepalived and rsyslog are in it.
    pub fn image(&self) -> PathBuf {
        self.root.join("image")
    }

    /// Root file system of the plain image, read-only: without them.
    pub fn plain(&self) -> PathBuf {
        self.root.join("plain")
    }

    /// The package repository that the plain image installs from.
    pub fn repository(&self) -> PathBuf {
        self.root.join("repository")
    }

    /// Programs that check files, and that no node runs.
    pub fn tools(&self) -> PathBuf {
        self.root.join("tools")
    }

    /// Prometheus' checker of rules and metrics.
    pub fn promtool(&self) -> PathBuf {
        self.tools().join("promtool")
    }

    /// The lab's certificate authority, `ca.pem` and `ca.key`.
    pub fn ca(&self) -> PathBuf {
        self.root.join("ca")
    }

    /// The Python environment that moto and the AWS CLI live in.
    pub fn venv(&self) -> PathBuf {
        self.root.join("venv")
    }

    /// What belongs to the lab that is up: sockets, logs, overlays. Gone after `lab down`, but for its logs.
    pub fn run(&self) -> PathBuf {
        self.root.join("run")
    }

    /// Where a running lab listens for the `lab` command.
    pub fn socket(&self) -> PathBuf {
        self.run().join("lab.sock")
    }
}

/// The checkout that this program was built in or stands in: the folder with `tests/lab`.
pub fn checkout() -> Result<PathBuf> {
    let built_in = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).map(Path::to_owned);
    let stands_in = std::env::current_exe().ok().and_then(|exe| exe.ancestors().nth(3).map(Path::to_owned));
    for place in [stands_in, built_in].into_iter().flatten() {
        if place.join("tests/lab/moto").is_dir() {
            return Ok(place);
        }
    }
    bail!("the checkout with tests/lab/moto isn't where this program was built: build it again there")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lab_dir_is_made_and_absolute() {
        let temporary = tempfile::tempdir().unwrap();
        let dir = LabDir::at(temporary.path().join("a/b")).unwrap();
        assert!(dir.root().is_dir() && dir.run().is_absolute());
    }
}
