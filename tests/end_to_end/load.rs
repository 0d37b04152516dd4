//! The load on a balancer during a test. No request may fail, and no connection may be lost.

use std::time::Duration;

use anyhow::{Result, ensure};
use lab::clients::{Crowd, Kind};
use lab::rig::Rig;

/// 200 requests a second, half of which take 500 ms, and these numbers of long connections.
#[derive(Default)]
pub struct Load {
    pub keep_alive: usize,
    /// From an answer to the next request on a connection that is kept alive.
    pub pause: Duration,
    pub uploads: usize,
    pub idle: usize,
    pub downloads: usize,
}

impl Load {
    /// Starts clients of the first virtual IP; waits up to `limit` until all their connections are open.
    pub async fn begin(self, rig: &Rig, limit: Duration) -> Result<Crowd> {
        let crowd = rig.crowd(self.kinds())?;
        crowd.ready(limit).await?;
        Ok(crowd)
    }

    pub fn kinds(self) -> Vec<Kind> {
        let every = Duration::from_millis(10);
        vec![
            Kind::Requests { every, path: "/" },
            Kind::Requests { every, path: "/slow?ms=500" },
            Kind::KeepAlive { connections: self.keep_alive, pause: self.pause, path: "/" },
            Kind::Upload { connections: self.uploads, every: Duration::from_millis(100) },
            Kind::Idle { connections: self.idle },
            Kind::Download { connections: self.downloads, seconds: 20 },
        ]
    }
}

/// Ends the load; fails if a request failed or a connection was lost.
pub fn judge(rig: &Rig, crowd: Crowd, what: &str) -> Result<()> {
    let report = crowd.finish()?;
    let (failed, lost) = (&report.failed, &report.lost);
    rig.figure(
        what,
        format!(
            "{} of {} requests failed, {} of {} connections lost, longest gap {:.0?}",
            failed.len(),
            report.requests,
            lost.len(),
            report.connections,
            report.longest_gap()
        ),
    )?;
    ensure!(report.requests > 200, "too few requests to tell: {}", report.requests);
    ensure!(failed.is_empty() && lost.is_empty(), "failed: {failed:?}, lost: {lost:?}");
    Ok(())
}
