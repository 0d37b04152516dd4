//! Files are written beside, synced, renamed: whoever reads one sees the old or the new, never half of it, and whoever
//! couldn't read the old one can't read the new.

use std::fs::{self, OpenOptions, Permissions};
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::Context;

/// What a file is that wasn't there: anybody may read it.
const NEW: u32 = 0o644;

/// A file that is written but isn't in its place yet. Dropped before that, it is removed.
#[derive(Debug)]
pub struct Draft {
    path: PathBuf,
    beside: PathBuf,
}

impl Draft {
    /// Writes `text` beside `path`, making the folder if need be.
    pub fn new(path: &Path, text: &str) -> anyhow::Result<Draft> {
        let name = path.file_name().with_context(|| format!("{} names no file", path.display()))?.to_string_lossy();
        let draft = Draft { path: path.to_owned(), beside: path.with_file_name(format!(".{name}.elbow-new")) };
        let mode = fs::metadata(path).map_or(NEW, |there| there.permissions().mode());
        let write = || {
            if let Some(folder) = path.parent() {
                fs::create_dir_all(folder)?;
            }
            let mut file =
                OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft.beside)?;
            file.set_permissions(Permissions::from_mode(mode))?;
            file.write_all(text.as_bytes())?;
            file.sync_all()
        };
        write().with_context(|| format!("writing {}", draft.beside.display()))?;
        Ok(draft)
    }

    /// Where it is now.
    pub fn beside(&self) -> &Path {
        &self.beside
    }

    /// Puts it in its place.
    pub fn install(self) -> anyhow::Result<()> {
        fs::rename(&self.beside, &self.path).with_context(|| format!("replacing {}", self.path.display()))
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // Once installed there is nothing here any more.
        let _ = fs::remove_file(&self.beside);
    }
}

/// Writes `text` to `path`, whole or not at all.
pub fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    Draft::new(path, text)?.install()
}

/// The same for the running agent: a disk that is slow, or hangs, holds up who waits for this, and not what moves routes.
pub async fn write_aside(path: &Path, text: String) -> anyhow::Result<()> {
    let path = path.to_owned();
    aside(move || write(&path, &text)).await
}

/// A draft, likewise.
pub async fn draft_aside(path: &Path, text: String) -> anyhow::Result<Draft> {
    let path = path.to_owned();
    aside(move || Draft::new(&path, &text)).await
}

async fn aside<T: Send + 'static>(work: impl FnOnce() -> anyhow::Result<T> + Send + 'static) -> anyhow::Result<T> {
    tokio::task::spawn_blocking(work).await.context("the agent ends")?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_draft_replaces_its_file_only_when_installed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.cfg");
        write(&path, "old\n").unwrap();
        let draft = Draft::new(&path, "new\n").unwrap();
        assert_eq!(fs::read_to_string(draft.beside()).unwrap(), "new\n");
        drop(draft);
        assert_eq!(fs::read_to_string(&path).unwrap(), "old\n");
        Draft::new(&path, "new\n").unwrap().install().unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "new\n");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_only_its_owner_may_read_stays_so() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("balancer.json");
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        write(&path, "a setting").unwrap();
        assert_eq!(mode(&path), 0o644);
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        let draft = Draft::new(&path, "a secret").unwrap();
        assert_eq!(mode(draft.beside()), 0o600);
        draft.install().unwrap();
        assert_eq!(mode(&path), 0o600);
    }
}
