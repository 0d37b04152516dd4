//! Writes files atomically: to a file beside the old one, synced, then renamed over it. The new file keeps the old
//! one's mode, and modes don't depend on the umask. Only `track_file`s are written by the runtime's own thread: they
//! are in memory, and a failover waits for them.

use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::Context;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

/// The mode of a new file: every user may read it.
const NEW: u32 = 0o644;
const NEW_FOLDER: u32 = 0o755;

/// A new file beside the one that it will replace. If it isn't installed, dropping it removes it.
#[derive(Debug)]
pub struct Draft {
    path: PathBuf,
    beside: PathBuf,
}

impl Draft {
    /// Writes `text` beside `path`, and makes the folder if it is missing.
    pub fn new(path: &Path, text: &str) -> anyhow::Result<Draft> {
        let name = path.file_name().with_context(|| format!("{} has no file name", path.display()))?.to_string_lossy();
        let draft = Draft { path: path.to_owned(), beside: path.with_file_name(format!(".{name}.elbow-new")) };
        let mode = fs::metadata(path).map_or(NEW, |there| there.permissions().mode());
        let write = || {
            if let Some(folder) = path.parent() {
                make_folder(folder)?;
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

    /// The draft's own path.
    pub fn beside(&self) -> &Path {
        &self.beside
    }

    /// Renames the draft over the old file.
    pub fn install(self) -> anyhow::Result<()> {
        fs::rename(&self.beside, &self.path).with_context(|| format!("replacing {}", self.path.display()))
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // After an install this fails: the draft was renamed.
        let _ = fs::remove_file(&self.beside);
    }
}

/// Writes `text` to `path` atomically. A disk that hangs blocks this call, not the thread that moves routes.
pub async fn write_aside(path: &Path, text: String) -> anyhow::Result<()> {
    let path = path.to_owned();
    aside(move || Draft::new(&path, &text)?.install()).await
}

/// Makes a draft in a thread of its own.
pub async fn draft_aside(path: &Path, text: String) -> anyhow::Result<Draft> {
    let path = path.to_owned();
    aside(move || Draft::new(&path, &text)).await
}

/// Removes a draft in a thread of its own.
pub async fn discard_aside(draft: Draft) {
    // If this fails, the next draft overwrites the file.
    let _ = aside(move || {
        drop(draft);
        Ok(())
    })
    .await;
}

/// Runs `work`, which may wait for a disk, in a thread of its own. The runtime's thread must not wait, and it has few
/// blocking threads.
pub async fn aside<T: Send + 'static>(work: impl FnOnce() -> anyhow::Result<T> + Send + 'static) -> anyhow::Result<T> {
    let (runtime, (done, outcome)) = (Handle::current(), oneshot::channel());
    let work = move || {
        let _context = runtime.enter();
        // If the caller no longer waits, the outcome is lost.
        drop(done.send(work()));
    };
    std::thread::Builder::new().name("aside".to_owned()).spawn(work).context("starting a thread")?;
    outcome.await.context("the thread ended without a result")?
}

/// Makes a folder and its parents.
pub fn make_folder(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    DirBuilder::new().recursive(true).mode(NEW_FOLDER).create(path)?;
    fs::set_permissions(path, Permissions::from_mode(NEW_FOLDER))
}

/// Writes `value` to a `track_file` of keepalived (keepalived.conf(5)).
pub fn write_track(path: &Path, value: i16) -> anyhow::Result<()> {
    let text = format!("{value}\n");
    let write = || {
        // The text is overwritten, then cut. A full file system allows both, and keepalived never reads an empty file.
        let mut file = OpenOptions::new().write(true).create(true).truncate(false).mode(NEW).open(path)?;
        file.set_permissions(Permissions::from_mode(NEW))?;
        file.write_all(text.as_bytes())?;
        file.set_len(text.len() as u64)
    };
    write().with_context(|| format!("writing {}", path.display()))
}

/// A `track_file` and the value last written to it.
#[derive(Debug)]
pub struct Track {
    path: PathBuf,
    written: Option<i16>,
    failing: bool,
}

impl Track {
    /// The file at `path`, with unknown content.
    pub fn at(path: &Path) -> Track {
        Track { path: path.to_owned(), written: None, failing: false }
    }

    /// Writes `value` if the file doesn't hold it, and returns whether the file holds it now. After a failure the
    /// caller calls again.
    pub fn tell(&mut self, value: i16) -> bool {
        if self.written == Some(value) {
            return true;
        }
        let outcome = write_track(&self.path, value);
        self.written = outcome.is_ok().then_some(value);
        match outcome {
            Err(error) if !self.failing => tracing::error!("cannot update a track file; retrying: {error:#}"),
            Ok(()) if self.failing => {
                tracing::info!(file = %self.path.display(), value, "wrote the track file, after failures")
            }
            _ => {}
        }
        self.failing = self.written.is_none();
        !self.failing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_draft_replaces_its_file_only_when_installed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.cfg");
        let write = |text: &str| Draft::new(&path, text).unwrap().install().unwrap();
        write("old\n");
        let draft = Draft::new(&path, "new\n").unwrap();
        assert_eq!(fs::read_to_string(draft.beside()).unwrap(), "new\n");
        drop(draft);
        assert_eq!(fs::read_to_string(&path).unwrap(), "old\n");
        write("new\n");
        assert_eq!(fs::read_to_string(&path).unwrap(), "new\n");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_new_file_keeps_the_mode_of_the_old_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("balancer.json");
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        Draft::new(&path, "a setting").unwrap().install().unwrap();
        assert_eq!(mode(&path), 0o644);
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        let draft = Draft::new(&path, "a secret").unwrap();
        assert_eq!(mode(draft.beside()), 0o600);
        draft.install().unwrap();
        assert_eq!(mode(&path), 0o600);
    }

    #[test]
    fn modes_do_not_depend_on_the_umask() {
        let folder = tempfile::tempdir().unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let (state, track) = (folder.path().join("elbow/state.json"), folder.path().join("elbow/api.track"));
        let before = rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
        let written = Draft::new(&state, "{}").and_then(Draft::install).and_then(|()| write_track(&track, 1));
        rustix::process::umask(before);
        written.unwrap();
        assert_eq!([mode(state.parent().unwrap()), mode(&state), mode(&track)], [0o755, 0o644, 0o644]);
    }

    #[test]
    fn a_track_that_could_not_be_written_is_written_later() {
        let folder = tempfile::tempdir().unwrap();
        let run = folder.path().join("run");
        let mut track = Track::at(&run.join("haproxy.track"));
        assert!(!track.tell(1));
        fs::create_dir(&run).unwrap();
        assert!(track.tell(1));
        fs::write(run.join("haproxy.track"), "untouched\n").unwrap();
        assert!(track.tell(1));
        assert_eq!(fs::read_to_string(run.join("haproxy.track")).unwrap(), "untouched\n");
        assert!(track.tell(-90) && track.tell(0));
        assert_eq!(fs::read_to_string(run.join("haproxy.track")).unwrap(), "0\n");
    }
}
