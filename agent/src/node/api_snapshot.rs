//! The last answers of the API, saved on disk: a node that reboots during an API outage continues with the peers and
//! route tables that it knew.

use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::aws::ids::InstanceId;
use crate::host::files;
use crate::node::members::Member;
use crate::node::tables::Table;

/// The file, which survives a reboot.
pub const PATH: &str = "/var/lib/elbow/known.json";

/// The last answers of the API.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiSnapshot {
    /// The instance that received them: an image made of a running node contains its file.
    pub instance: InstanceId,
    pub members: Vec<Member>,
    /// The route tables.
    pub tables: Vec<Table>,
}

impl ApiSnapshot {
    /// The last answers that `me` received; `None` if there are none, or they are unreadable.
    pub fn load(path: &Path, me: &InstanceId) -> Option<ApiSnapshot> {
        let known: ApiSnapshot = serde_json::from_str(&std::fs::read_to_string(path).ok()?).ok()?;
        (&known.instance == me).then_some(known)
    }

    async fn save(&self, path: &Path) -> anyhow::Result<()> {
        let text = serde_json::to_string(self).context("serializing the API snapshot")?;
        files::write_aside(path, text).await
    }
}

/// Saves snapshots in the background, so that reads of the API don't wait for the disk. While the disk is busy, only
/// the newest snapshot waits.
#[derive(Debug)]
pub struct Keeper(watch::Sender<Option<ApiSnapshot>>);

impl Keeper {
    /// Saves to `path`.
    pub fn new(path: PathBuf) -> Keeper {
        let (sender, receiver) = watch::channel(None);
        tokio::spawn(write_down(path, receiver));
        Keeper(sender)
    }

    /// Saves `known` in place of the last one.
    pub fn keep(&self, known: &ApiSnapshot) {
        self.0.send_replace(Some(known.clone()));
    }
}

async fn write_down(path: PathBuf, mut newest: watch::Receiver<Option<ApiSnapshot>>) {
    while newest.changed().await.is_ok() {
        let known = newest.borrow_and_update().clone();
        if let Some(known) = known
            && let Err(error) = known.save(&path).await
        {
            tracing::warn!("cannot save the API snapshot, which a reboot during an API outage needs: {error:#}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::members::tests::member;

    #[tokio::test]
    async fn a_snapshot_is_loaded_by_the_same_instance_only() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("elbow/known.json");
        assert_eq!(ApiSnapshot::load(&path, &"i-a".into()), None);
        let known = ApiSnapshot { instance: "i-a".into(), members: vec![member("i-b", 2)], tables: vec![] };
        known.save(&path).await.unwrap();
        assert_eq!(ApiSnapshot::load(&path, &"i-a".into()), Some(known));
        assert_eq!(ApiSnapshot::load(&path, &"i-b".into()), None);
    }

    #[tokio::test]
    async fn the_last_snapshot_is_saved() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("known.json");
        let keeper = Keeper::new(path.clone());
        let known =
            |number| ApiSnapshot { instance: "i-a".into(), members: vec![member("i-b", number)], tables: vec![] };
        for number in 2..200 {
            keeper.keep(&known(number));
            tokio::task::yield_now().await;
        }
        let last = async {
            while ApiSnapshot::load(&path, &"i-a".into()) != Some(known(199)) {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(std::time::Duration::from_secs(10), last).await.expect("the last one is written");
    }
}
