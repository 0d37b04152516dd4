//! The two `track_file`s by which a handover speaks to keepalived (keepalived.conf(5)): one that makes this node yield,
//! one that is added to its priority. keepalived hears of a change by inotify, within milliseconds.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use templates::paths::{PREFERENCE_TRACK, YIELD_TRACK};

use super::policy::{self, Prospect, Tenure};
use crate::files::write_track as write;

/// How long a node that was chosen stands above the others: the handover that it was chosen for is over by then.
const CHOSEN: Duration = Duration::from_secs(10);

/// From one attempt to end a yield to the next.
const AGAIN: Duration = Duration::from_millis(200);

/// Before keepalived reads them: nothing that an earlier agent was in the middle of holds any more, but for a node that
/// leaves, which goes on leaving until it is known to stay.
pub fn prepare() -> anyhow::Result<()> {
    write(Path::new(YIELD_TRACK), NOT)?;
    let left = std::fs::read_to_string(PREFERENCE_TRACK).ok().and_then(|text| text.trim().parse().ok());
    write(Path::new(PREFERENCE_TRACK), left.filter(|value| *value < 0).unwrap_or(0))
}

/// In `yield.track`: keepalived takes part, or doesn't.
const NOT: i16 = 0;
const YIELDS: i16 = 1;

/// keepalived gives up every virtual IP, for as long as this is held: an agent that ends meanwhile mustn't leave it in
/// FAULT.
#[derive(Debug)]
pub(super) struct Yielding {
    file: PathBuf,
}

impl Yielding {
    /// From now on. After a failed write keepalived takes part again before this returns.
    pub(super) async fn begin() -> anyhow::Result<Self> {
        Yielding::at(YIELD_TRACK.into()).await
    }

    async fn at(file: PathBuf) -> anyhow::Result<Self> {
        let yielding = Yielding { file };
        match write(&yielding.file, YIELDS) {
            Ok(()) => Ok(yielding),
            Err(error) => {
                yielding.end().await;
                Err(error)
            }
        }
    }

    /// keepalived takes part again, as soon as it can be told.
    pub(super) async fn end(self) {
        while let Err(error) = write(&self.file, NOT) {
            tracing::error!("keepalived stays in FAULT until it can be told to take part again: {error:#}");
            tokio::time::sleep(AGAIN).await;
        }
    }
}

impl Drop for Yielding {
    fn drop(&mut self) {
        if let Err(error) = write(&self.file, NOT) {
            tracing::error!("keepalived stays in FAULT: {error:#}");
        }
    }
}

/// What is added to this node's priority.
#[derive(Debug)]
pub struct Preference {
    file: PathBuf,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    chosen: Option<Instant>,
    written: Option<i16>,
}

impl Default for Preference {
    fn default() -> Self {
        Preference::at(PREFERENCE_TRACK.into())
    }
}

impl Preference {
    fn at(file: PathBuf) -> Self {
        Preference { file, inner: Mutex::new(Inner { chosen: None, written: None }) }
    }

    /// This node is to be elected next.
    pub fn choose(&self) -> anyhow::Result<()> {
        let mut inner = self.lock();
        inner.chosen = Some(Instant::now());
        self.put(&mut inner, policy::preference(true, Tenure::Standby, Prospect::Stays))
    }

    /// Writes what holds now, if it isn't written.
    pub fn keep(&self, tenure: Tenure, prospect: Prospect) -> anyhow::Result<()> {
        let mut inner = self.lock();
        // Once elected it is chosen no more.
        inner.chosen = inner.chosen.filter(|since| tenure == Tenure::Standby && since.elapsed() < CHOSEN);
        let value = policy::preference(inner.chosen.is_some(), tenure, prospect);
        self.put(&mut inner, value)
    }

    fn put(&self, inner: &mut Inner, value: i16) -> anyhow::Result<()> {
        if inner.written == Some(value) {
            return Ok(());
        }
        inner.written = None;
        write(&self.file, value)?;
        inner.written = Some(value);
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_yield_ends_with_the_agent_and_when_the_file_can_be_written_again() {
        let folder = tempfile::tempdir().unwrap();
        let (run, file) = (folder.path().join("run"), folder.path().join("run/yield.track"));
        std::fs::create_dir(&run).unwrap();
        let read = || std::fs::read_to_string(&file).unwrap();
        let yielding = Yielding::at(file.clone()).await.unwrap();
        assert_eq!(read(), "1\n");
        drop(yielding);
        assert_eq!(read(), "0\n");

        let yielding = Yielding::at(file.clone()).await.unwrap();
        let away = folder.path().join("away");
        std::fs::rename(&run, &away).unwrap();
        let ends = tokio::spawn(yielding.end());
        tokio::time::sleep(AGAIN).await;
        assert!(!ends.is_finished());
        std::fs::rename(&away, &run).unwrap();
        tokio::time::timeout(Duration::from_secs(10), ends).await.expect("it ends").unwrap();
        assert_eq!(read(), "0\n");
    }

    #[test]
    fn a_chosen_node_stands_above_until_it_is_elected() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("preference.track");
        let preference = Preference::at(file.clone());
        let read = || std::fs::read_to_string(&file).unwrap();
        preference.choose().unwrap();
        assert_eq!(read(), "50\n");
        preference.keep(Tenure::Standby, Prospect::Leaves).unwrap();
        assert_eq!(read(), "50\n");
        preference.keep(Tenure::Active, Prospect::Stays).unwrap();
        assert_eq!(read(), "0\n");
        preference.keep(Tenure::Standby, Prospect::Leaves).unwrap();
        assert_eq!(read(), "-90\n");
    }
}
