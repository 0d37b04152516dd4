//! What the API said last, kept on disk: a node that reboots while the API is out goes on with the peers and the route
//! tables it knew.

use std::path::Path;

use anyhow::Context;
use serde::{Deserialize, Serialize};

use crate::files;
use crate::ids::InstanceId;
use crate::members::Member;
use crate::tables::Table;

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

    /// Keeps it.
    pub fn save(&self, path: &Path) -> anyhow::Result<()> {
        let text = serde_json::to_string(self).context("writing down what is known")?;
        files::write(path, &text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::members::tests::member;

    #[test]
    fn what_was_kept_is_for_the_same_instance_only() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("elbow/known.json");
        assert_eq!(Known::load(&path, &"i-a".into()), None);
        let known = Known { instance: "i-a".into(), members: vec![member("i-b", 2)], tables: vec![] };
        known.save(&path).unwrap();
        assert_eq!(Known::load(&path, &"i-a".into()), Some(known));
        assert_eq!(Known::load(&path, &"i-b".into()), None);
    }
}
