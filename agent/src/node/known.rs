//! What the API said last, kept on disk: a node that reboots while the API is out goes on with the peers and the route
//! tables it knew.

use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::aws::ids::InstanceId;
use crate::host::files;
use crate::node::members::Member;
use crate::node::tables::Table;

/// Where it is kept: it outlives a boot.
pub const PATH: &str = "/var/lib/elbow/known.json";

/// What the API said last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Known {
    /// Whom it was said to: an image made of a running node carries its file along.
    pub instance: InstanceId,
    /// The members.
    pub members: Vec<Member>,
    /// The route tables.
    pub tables: Vec<Table>,
}

impl Known {
    /// What `me` was told last; nothing if that was never, or is unreadable.
    pub fn load(path: &Path, me: &InstanceId) -> Option<Known> {
        let known: Known = serde_json::from_str(&std::fs::read_to_string(path).ok()?).ok()?;
        (&known.instance == me).then_some(known)
    }

    async fn save(&self, path: &Path) -> anyhow::Result<()> {
        let text = serde_json::to_string(self).context("writing down what is known")?;
        files::write_aside(path, text).await
    }
}

/// Writes down what it is given, aside and one after another: while the disk is busy only the newest is left to write, and
/// reading the API goes on.
#[derive(Debug)]
pub struct Keeper(watch::Sender<Option<Known>>);

impl Keeper {
    /// Keeps it at `path`.
    pub fn new(path: PathBuf) -> Keeper {
        let (sender, receiver) = watch::channel(None);
        tokio::spawn(write_down(path, receiver));
        Keeper(sender)
    }

    /// Keeps `known` instead of what was before.
    pub fn keep(&self, known: &Known) {
        self.0.send_replace(Some(known.clone()));
    }
}

async fn write_down(path: PathBuf, mut newest: watch::Receiver<Option<Known>>) {
    while newest.changed().await.is_ok() {
        let known = newest.borrow_and_update().clone();
        if let Some(known) = known
            && let Err(error) = known.save(&path).await
        {
            tracing::warn!("a reboot without the API would know nobody: {error:#}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::members::tests::member;

    #[tokio::test]
    async fn what_was_kept_is_for_the_same_instance_only() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("elbow/known.json");
        assert_eq!(Known::load(&path, &"i-a".into()), None);
        let known = Known { instance: "i-a".into(), members: vec![member("i-b", 2)], tables: vec![] };
        known.save(&path).await.unwrap();
        assert_eq!(Known::load(&path, &"i-a".into()), Some(known));
        assert_eq!(Known::load(&path, &"i-b".into()), None);
    }

    #[tokio::test]
    async fn what_is_given_last_is_what_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("known.json");
        let keeper = Keeper::new(path.clone());
        let known = |number| Known { instance: "i-a".into(), members: vec![member("i-b", number)], tables: vec![] };
        for number in 2..200 {
            keeper.keep(&known(number));
            tokio::task::yield_now().await;
        }
        let last = async {
            while Known::load(&path, &"i-a".into()) != Some(known(199)) {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(std::time::Duration::from_secs(10), last).await.expect("the last one is written");
    }
}
