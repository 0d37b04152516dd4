//! Which request was followed last, and how many may follow: the tag that carries it may stay after a launcher that was
//! killed, and an agent that is restarted, or a node that is rebooted, must not follow it again.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;

use super::limit::Limit;
use crate::host::files;

/// It outlives a boot, as the tag does.
const PATH: &str = "/var/lib/elbow/followed";

/// A disk that takes longer isn't waited for.
const LIMIT: Duration = Duration::from_secs(1);

/// The last request that was followed, as the tag had it.
#[derive(Debug)]
pub(super) struct Followed {
    path: PathBuf,
    last: Option<String>,
    /// How many requests are followed from now on.
    pub limit: Limit,
}

impl Followed {
    /// What is on disk.
    pub(super) fn load() -> Self {
        Followed::load_from(PATH.into())
    }

    fn load_from(path: PathBuf) -> Self {
        let text = std::fs::read_to_string(&path).ok();
        let mut lines = text.iter().flat_map(|text| text.lines()).map(str::trim);
        let last = lines.next().map(str::to_owned);
        let limit = lines.next().and_then(|line| line.parse().ok()).map(Limit).unwrap_or_default();
        Followed { path, last, limit }
    }

    /// The last one.
    pub(super) fn last(&self) -> Option<&str> {
        self.last.as_deref()
    }

    /// Whether `asked` is news.
    pub(super) fn is_new(&self, asked: &str) -> bool {
        self.last.as_deref() != Some(asked)
    }

    /// Notes it, before it is followed. Where the disk is full, or hangs, it is known until the agent ends.
    pub(super) async fn note(&mut self, asked: &str) {
        self.last = Some(asked.to_owned());
        let text = format!("{asked}\n{}\n", self.limit.0);
        let written = tokio::time::timeout(LIMIT, files::write_aside(&self.path, text)).await;
        if let Err(error) = written.context("the disk takes too long").flatten() {
            tracing::warn!("a restarted agent may follow the request {asked:?} again: {error:#}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_request_is_followed_once_even_by_an_agent_that_was_restarted() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("followed");
        let mut followed = Followed::load_from(path.clone());
        assert!(followed.is_new("1 to 2"));
        followed.limit.take("2026-11-29T14:03:12Z".parse().unwrap()).unwrap();
        followed.note("1 to 2").await;
        assert!(!followed.is_new("1 to 2"));
        let restarted = Followed::load_from(path);
        assert!(!restarted.is_new("1 to 2") && restarted.is_new("2 to 2"));
        assert_eq!(restarted.limit, followed.limit);
    }
}
