//! Files are written beside, synced, renamed: a reader sees the old or the new file, never half of one, and a reader that
//! couldn't read the old file can't read the new one. Modes don't depend on the umask. Only `track_file`s are written by
//! the runtime's own thread: they are in memory, and a failover waits for them.

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

/// Writes `text` to `path`, whole or not at all. A disk that hangs blocks this call, not the thread that moves routes.
pub async fn write_aside(path: &Path, text: String) -> anyhow::Result<()> {
    let path = path.to_owned();
    aside(move || Draft::new(&path, &text)?.install()).await
}

/// A draft, likewise.
pub async fn draft_aside(path: &Path, text: String) -> anyhow::Result<Draft> {
    let path = path.to_owned();
    aside(move || Draft::new(&path, &text)).await
}

/// Removes a draft, likewise.
pub async fn discard_aside(draft: Draft) {
    // What can't be removed is overwritten by the next draft.
    let _ = aside(move || {
        drop(draft);
        Ok(())
    })
    .await;
}

/// Runs `work`, which may wait for a disk, on a thread of its own: neither the runtime's, nor one of its pool, which may be
/// busy with names that a resolver doesn't answer.
pub async fn aside<T: Send + 'static>(work: impl FnOnce() -> anyhow::Result<T> + Send + 'static) -> anyhow::Result<T> {
    let (runtime, (done, outcome)) = (Handle::current(), oneshot::channel());
    let work = move || {
        let _context = runtime.enter();
        // Where the caller has stopped to wait, the outcome is lost.
        drop(done.send(work()));
    };
    std::thread::Builder::new().name("aside".to_owned()).spawn(work).context("starting a thread")?;
    outcome.await.context("the thread ended without an answer")?
}

/// Makes a folder, and those above it.
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
        // Overwritten, then cut: a full file system refuses neither, and keepalived never reads an empty file.
        let mut file = OpenOptions::new().write(true).create(true).truncate(false).mode(NEW).open(path)?;
        file.set_permissions(Permissions::from_mode(NEW))?;
        file.write_all(text.as_bytes())?;
        file.set_len(text.len() as u64)
    };
    write().with_context(|| format!("writing {}", path.display()))
}

/// A `track_file` that holds what it was told last, as soon as it can be written.
#[derive(Debug)]
pub struct Track {
    path: PathBuf,
    written: Option<i16>,
    failing: bool,
}

impl Track {
    /// The file at `path`; what is in it is unknown.
    pub fn at(path: &Path) -> Track {
        Track { path: path.to_owned(), written: None, failing: false }
    }

    /// Writes `value` if the file doesn't hold it. The caller calls again, soon, also after a failure; whether it is written.
    pub fn tell(&mut self, value: i16) -> bool {
        if self.written == Some(value) {
            return true;
        }
        let outcome = write_track(&self.path, value);
        self.written = outcome.is_ok().then_some(value);
        match outcome {
            Err(error) if !self.failing => tracing::error!("keepalived isn't told, trying again: {error:#}"),
            Ok(()) if self.failing => tracing::info!(file = %self.path.display(), "keepalived is told again"),
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
    fn what_only_its_owner_may_read_stays_so() {
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
