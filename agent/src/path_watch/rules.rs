//! Keeps the nftables rules loaded that give a probe its way.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use futures::FutureExt;
use templates::files::path_watch_nft;

use crate::host::kernel_events::{KernelEvents, Subject};
use crate::host::nft::{Chain, Found};
use crate::host::process;

const CHAIN: Chain = Chain { family: "ip", table: "elbow_watch", name: "back" };
/// The interval of loads, as another program may change a rule.
const AGAIN: Duration = Duration::from_secs(60);
/// The pause after a failed load.
const RETRY: Duration = Duration::from_secs(5);

/// The rules, as far as they are known to be loaded.
#[derive(Debug)]
pub(super) struct Rules {
    interface: String,
    events: KernelEvents,
    loaded: Vec<Ipv4Addr>,
    due: Instant,
    failed: Option<String>,
}

impl Rules {
    /// None are loaded yet.
    pub(super) fn new(interface: String) -> Rules {
        let events = KernelEvents::about(Subject::Rules);
        Rules { interface, events, loaded: Vec::new(), due: Instant::now(), failed: None }
    }

    /// Loads the rules for `vips` if that is due: they are others, another program removed them, or it is time. The error
    /// is the problem to show.
    pub(super) async fn ensure(&mut self, vips: &[Ipv4Addr]) -> Result<(), String> {
        let gone = self.events.due().now_or_never().is_some() && CHAIN.look().await == Found::Nothing;
        if gone || self.loaded != vips || self.due <= Instant::now() {
            if self.failed.is_some() && self.due > Instant::now() {
                return self.outcome();
            }
            let loaded = process::feed("nft", &["-f", "-"], &path_watch_nft(&self.interface, vips)).await;
            self.failed = loaded.err().map(|error| format!("virtual IPs aren't watched from this node: {error:#}"));
            self.loaded = if self.failed.is_none() { vips.to_vec() } else { Vec::new() };
            self.due = Instant::now() + if self.failed.is_none() { AGAIN } else { RETRY };
        }
        self.outcome()
    }

    fn outcome(&self) -> Result<(), String> {
        self.failed.clone().map_or(Ok(()), Err)
    }
}
