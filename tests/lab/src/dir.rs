//! The lab's folder. All of the lab's files are in it, so that a sweep finds what a dead lab left.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// The lab's folder: `$ELBOW_LAB_DIR`, or `target/lab` of this checkout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabDir {
    root: PathBuf,
}

impl LabDir {
    /// Opens the folder that the environment names, and creates it if it is missing.
    pub fn open() -> Result<LabDir> {
        let root = match std::env::var_os("ELBOW_LAB_DIR") {
            Some(dir) => PathBuf::from(dir),
            None => checkout()?.join("target/lab"),
        };
        LabDir::at(root)
    }

    /// Opens this folder, and creates it if it is missing.
    pub fn at(root: impl Into<PathBuf>) -> Result<LabDir> {
        let root = root.into();
        std::fs::create_dir_all(&root).with_context(|| format!("creating the lab's folder {}", root.display()))?;
        let root = root.canonicalize().with_context(|| format!("finding the lab's folder {}", root.display()))?;
        Ok(LabDir { root })
    }

    /// The folder itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Root file system of the main image, read-only, with HAProxy, keepalived and rsyslog.
    pub fn image(&self) -> PathBuf {
        self.root.join("image")
    }

    /// Root file system of the plain image, read-only, without these programs.
    pub fn plain(&self) -> PathBuf {
        self.root.join("plain")
    }

    /// Root file system of the image with dnf, read-only: plain, and without apt-get.
    pub fn dnf(&self) -> PathBuf {
        self.root.join("dnf")
    }

    /// The package repository that the plain image and the one with dnf install from.
    pub fn repository(&self) -> PathBuf {
        self.root.join("repository")
    }

    /// Programs with which tests check files; no node runs them.
    pub fn tools(&self) -> PathBuf {
        self.root.join("tools")
    }

    /// Prometheus's checker of rules and metrics.
    pub fn promtool(&self) -> PathBuf {
        self.tools().join("promtool")
    }

    /// The lab's certificate authority, `ca.pem` and `ca.key`.
    pub fn ca(&self) -> PathBuf {
        self.root.join("ca")
    }

    /// The Python environment of moto and the AWS CLI.
    pub fn venv(&self) -> PathBuf {
        self.root.join("venv")
    }

    /// Files of the running lab: sockets, logs, overlays. `lab down` removes all but the logs.
    pub fn run(&self) -> PathBuf {
        self.root.join("run")
    }

    /// The running lab's control socket.
    pub fn socket(&self) -> PathBuf {
        self.run().join("lab.sock")
    }
}

/// The checkout that contains this program, or else the one where it was built: a folder with `tests/lab`.
pub fn checkout() -> Result<PathBuf> {
    let built_in = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).map(Path::to_owned);
    let stands_in = std::env::current_exe().ok().and_then(|exe| exe.ancestors().nth(3).map(Path::to_owned));
    for place in [stands_in, built_in].into_iter().flatten() {
        if place.join("tests/lab/moto").is_dir() {
            return Ok(place);
        }
    }
    bail!("no checkout with tests/lab/moto where this program is or was built; build it again in the checkout")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lab_dir_is_created_and_absolute() {
        let temporary = tempfile::tempdir().unwrap();
        let dir = LabDir::at(temporary.path().join("a/b")).unwrap();
        assert!(dir.root().is_dir() && dir.run().is_absolute());
    }
}
