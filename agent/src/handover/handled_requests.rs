//! Saves the last handled request and the request limit on disk. The tag may outlive a launcher that was killed, and a
//! restarted agent or a rebooted node must not handle its request again.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;

use super::request_limit::RequestLimit;
use crate::host::files;

/// Survives a reboot, as the tag does.
const PATH: &str = "/var/lib/elbow/followed";

/// Limit for a write to a slow disk.
const LIMIT: Duration = Duration::from_secs(1);

/// The last handled request, as the tag held it, and the limit for the next ones.
#[derive(Debug)]
pub(super) struct HandledRequests {
    path: PathBuf,
    last: Option<String>,
    pub limit: RequestLimit,
}

impl HandledRequests {
    pub(super) fn load() -> Self {
        HandledRequests::load_from(PATH.into())
    }

    fn load_from(path: PathBuf) -> Self {
        let text = std::fs::read_to_string(&path).ok();
        let mut lines = text.iter().flat_map(|text| text.lines()).map(str::trim);
        let last = lines.next().map(str::to_owned);
        let limit = lines.next().and_then(|line| line.parse().ok()).map(RequestLimit).unwrap_or_default();
        HandledRequests { path, last, limit }
    }

    pub(super) fn last(&self) -> Option<&str> {
        self.last.as_deref()
    }

    pub(super) fn is_new(&self, asked: &str) -> bool {
        self.last.as_deref() != Some(asked)
    }

    /// Saves the request before it is handled. If the disk is full or hangs, only the running agent remembers it.
    pub(super) async fn note(&mut self, asked: &str) {
        self.last = Some(asked.to_owned());
        let text = format!("{asked}\n{}\n", self.limit.0);
        let written = tokio::time::timeout(LIMIT, files::write_aside(&self.path, text)).await;
        if let Err(error) = written.context("the disk takes too long").flatten() {
            tracing::warn!(
                "cannot save the handled handover request {asked:?}; a restarted agent may hand over again: {error:#}"
            );
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
        let mut handled = HandledRequests::load_from(path.clone());
        assert!(handled.is_new("1 to 2"));
        handled.limit.take("2026-11-29T14:03:12Z".parse().unwrap()).unwrap();
        handled.note("1 to 2").await;
        assert!(!handled.is_new("1 to 2"));
        let restarted = HandledRequests::load_from(path);
        assert!(!restarted.is_new("1 to 2") && restarted.is_new("2 to 2"));
        assert_eq!(restarted.limit, handled.limit);
    }
}
