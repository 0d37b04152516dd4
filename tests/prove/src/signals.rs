//! Ctrl-C and the other signals that end a program.

use anyhow::{Context, Result};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// SIGINT, SIGTERM and SIGHUP, each of which ends the current phase.
pub struct Signals(Signal, Signal, Signal);

impl Signals {
    /// From now on, these signals don't end the process.
    pub fn open() -> Result<Signals> {
        let open = |kind| signal(kind).context("handling signals");
        Ok(Signals(open(SignalKind::interrupt())?, open(SignalKind::terminate())?, open(SignalKind::hangup())?))
    }

    /// Waits for the next one.
    pub async fn next(&mut self) {
        tokio::select! {
            _ = self.0.recv() => {}
            _ = self.1.recv() => {}
            _ = self.2.recv() => {}
        }
    }
}
