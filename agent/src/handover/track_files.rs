//! The two `track_file`s of each virtual IP that control keepalived in a handover (keepalived.conf(5)). One makes this
//! node yield; the other holds a number that is added to its priority. keepalived reads a change within milliseconds
//! (inotify).

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use templates::paths::{self, preference_track, yield_track};

use super::policy::{self, Prospect, Tenure};
use crate::host::files::write_track;

/// How long a chosen successor keeps its raised priority; the handover is over by then.
const CHOSEN: Duration = Duration::from_secs(10);

/// Pause between two attempts to end a yield.
const AGAIN: Duration = Duration::from_millis(200);

/// The values of a yield file: keepalived takes part, or yields.
const NOT: i16 = 0;
const YIELDS: i16 = 1;

/// Resets the files of `vips` before keepalived reads them, as an earlier agent may have left a handover unfinished. A
/// negative preference stays: a leaving node leaves until it is known to stay.
pub fn prepare(vips: &[Ipv4Addr]) -> anyhow::Result<()> {
    vips.iter().try_for_each(|vip| prepare_in(Path::new(paths::RUN), *vip))
}

fn prepare_in(folder: &Path, vip: Ipv4Addr) -> anyhow::Result<()> {
    write_track(&folder.join(yield_track(vip)), NOT)?;
    let preference = folder.join(preference_track(vip));
    let left = std::fs::read_to_string(&preference).ok().and_then(|text| text.trim().parse().ok());
    write_track(&preference, left.filter(|value| *value < 0).unwrap_or(0))
}

/// keepalived yields some virtual IPs while this is held. A drop ends the yield, so that an agent that ends can't leave
/// keepalived in FAULT.
#[derive(Debug)]
pub(super) struct Yielding {
    files: Vec<PathBuf>,
}

impl Yielding {
    /// Begins the yield. If a write fails, the yield ends before the error is returned.
    pub(super) async fn begin(vips: &[Ipv4Addr]) -> anyhow::Result<Self> {
        Yielding::at(vips.iter().map(|vip| Path::new(paths::RUN).join(yield_track(*vip))).collect()).await
    }

    async fn at(files: Vec<PathBuf>) -> anyhow::Result<Self> {
        let yielding = Yielding { files };
        match yielding.write(YIELDS) {
            Ok(()) => Ok(yielding),
            Err(error) => {
                yielding.end().await;
                Err(error)
            }
        }
    }

    /// Ends the yield; retries until the files can be written.
    pub(super) async fn end(self) {
        while let Err(error) = self.write(NOT) {
            tracing::error!(
                "keepalived stays in FAULT: cannot clear a yield file after a handover; retrying: {error:#}"
            );
            tokio::time::sleep(AGAIN).await;
        }
    }

    /// Writes every file, even if one fails.
    fn write(&self, value: i16) -> anyhow::Result<()> {
        self.files.iter().map(|file| write_track(file, value)).fold(Ok(()), Result::and)
    }
}

impl Drop for Yielding {
    fn drop(&mut self) {
        if let Err(error) = self.write(NOT) {
            tracing::error!("keepalived stays in FAULT: cannot clear a yield file after a handover: {error:#}");
        }
    }
}

/// The number added to this node's priority, for each virtual IP.
#[derive(Debug)]
pub struct Preference {
    folder: PathBuf,
    vips: Mutex<BTreeMap<Ipv4Addr, Added>>,
}

#[derive(Debug, Default)]
struct Added {
    chosen: Option<Instant>,
    written: Option<i16>,
}

impl Default for Preference {
    fn default() -> Self {
        Preference::at(paths::RUN.into())
    }
}

impl Preference {
    fn at(folder: PathBuf) -> Self {
        Preference { folder, vips: Mutex::default() }
    }

    /// Raises this node's priority so that it is elected next for `vips`.
    pub fn choose(&self, vips: &[Ipv4Addr]) -> anyhow::Result<()> {
        let mut known = self.vips.lock().unwrap_or_else(PoisonError::into_inner);
        vips.iter().try_for_each(|vip| {
            let added = known.entry(*vip).or_default();
            added.chosen = Some(Instant::now());
            self.put(*vip, added, policy::preference(true, Tenure::Standby, Prospect::Stays))
        })
    }

    /// Writes the preferences of these virtual IPs where they changed, and forgets all other virtual IPs.
    pub fn keep(
        &self,
        tenures: impl IntoIterator<Item = (Ipv4Addr, Tenure)>,
        prospect: Prospect,
    ) -> anyhow::Result<()> {
        let mut known = self.vips.lock().unwrap_or_else(PoisonError::into_inner);
        let mut before = std::mem::take(&mut *known);
        let mut outcome = Ok(());
        for (vip, tenure) in tenures {
            let mut added = before.remove(&vip).unwrap_or_default();
            // An elected node is no longer chosen.
            added.chosen = added.chosen.filter(|since| tenure == Tenure::Standby && since.elapsed() < CHOSEN);
            let value = policy::preference(added.chosen.is_some(), tenure, prospect);
            outcome = outcome.and(self.put(vip, &mut added, value));
            known.insert(vip, added);
        }
        outcome
    }

    fn put(&self, vip: Ipv4Addr, added: &mut Added, value: i16) -> anyhow::Result<()> {
        if added.written == Some(value) {
            return Ok(());
        }
        added.written = None;
        write_track(&self.folder.join(preference_track(vip)), value)?;
        added.written = Some(value);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Ipv4Addr = Ipv4Addr::new(10, 255, 0, 10);
    const OTHER: Ipv4Addr = Ipv4Addr::new(10, 255, 0, 11);

    #[tokio::test]
    async fn a_yield_ends_with_the_agent_and_when_the_files_can_be_written_again() {
        let folder = tempfile::tempdir().unwrap();
        let run = folder.path().join("run");
        std::fs::create_dir(&run).unwrap();
        let files = [ONE, OTHER].map(|vip| run.join(yield_track(vip)));
        let read = || files.clone().map(|file| std::fs::read_to_string(file).unwrap());
        let yielding = Yielding::at(files.to_vec()).await.unwrap();
        assert_eq!(read(), ["1\n", "1\n"]);
        drop(yielding);
        assert_eq!(read(), ["0\n", "0\n"]);

        let yielding = Yielding::at(files.to_vec()).await.unwrap();
        let away = folder.path().join("away");
        std::fs::rename(&run, &away).unwrap();
        let ends = tokio::spawn(yielding.end());
        tokio::time::sleep(AGAIN).await;
        assert!(!ends.is_finished());
        std::fs::rename(&away, &run).unwrap();
        tokio::time::timeout(Duration::from_secs(10), ends).await.expect("it ends").unwrap();
        assert_eq!(read(), ["0\n", "0\n"]);
    }

    #[test]
    fn a_chosen_node_has_the_highest_priority_for_that_virtual_ip_until_it_is_elected() {
        let folder = tempfile::tempdir().unwrap();
        let preference = Preference::at(folder.path().into());
        let read = |vip| std::fs::read_to_string(folder.path().join(preference_track(vip))).unwrap();
        let keep = |tenure, prospect| preference.keep([(ONE, tenure), (OTHER, Tenure::Standby)], prospect).unwrap();
        keep(Tenure::Standby, Prospect::Stays);
        preference.choose(&[ONE]).unwrap();
        assert_eq!([read(ONE), read(OTHER)], ["50\n", "0\n"]);
        keep(Tenure::Standby, Prospect::Leaves);
        assert_eq!([read(ONE), read(OTHER)], ["50\n", "-90\n"]);
        keep(Tenure::Active, Prospect::Stays);
        assert_eq!([read(ONE), read(OTHER)], ["0\n", "0\n"]);
        keep(Tenure::Standby, Prospect::Leaves);
        assert_eq!(read(ONE), "-90\n");
    }

    #[test]
    fn a_virtual_ip_that_is_added_again_begins_with_its_files() {
        let folder = tempfile::tempdir().unwrap();
        let preference = Preference::at(folder.path().into());
        let read = |vip| std::fs::read_to_string(folder.path().join(preference_track(vip))).unwrap();
        preference.keep([(ONE, Tenure::Settled), (OTHER, Tenure::Settled)], Prospect::Stays).unwrap();
        preference.keep([(ONE, Tenure::Settled)], Prospect::Stays).unwrap();
        prepare_in(folder.path(), OTHER).unwrap();
        assert_eq!([read(ONE), read(OTHER)], ["50\n", "0\n"]);
        preference.keep([(ONE, Tenure::Settled), (OTHER, Tenure::Settled)], Prospect::Stays).unwrap();
        assert_eq!(read(OTHER), "50\n");
        preference.keep([(OTHER, Tenure::Standby)], Prospect::Leaves).unwrap();
        prepare_in(folder.path(), OTHER).unwrap();
        assert_eq!(read(OTHER), "-90\n", "the node is still leaving");
    }
}
