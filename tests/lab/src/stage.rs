//! A lab that the tests of one program share, because starting one takes longer than most tests. Each test restores it
//! for the next one.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use anyhow::{Context, Result};

use crate::rig::Rig;

/// The actions that tests fail with `lab fail`.
pub const CALLS: [&str; 6] = [
    "ReplaceRoute",
    "CreateRoute",
    "DescribeRouteTables",
    "DescribeInstances",
    "DescribeNetworkInterfaces",
    "CreateTags",
];

type Place<S> = tokio::sync::Mutex<Option<S>>;

/// A shared setup. It is dropped when no running or waiting test holds it.
pub struct Stage<S>(Mutex<Weak<Place<S>>>);

impl<S> Stage<S> {
    /// An empty stage.
    #[expect(clippy::new_without_default, reason = "a static's value is made by a const function")]
    pub const fn new() -> Stage<S> {
        Stage(Mutex::new(Weak::new()))
    }

    /// Runs `act` on the setup of the previous test, or on a new one from `raise`; then `mend` restores it. A test that
    /// fails leaves no setup.
    pub async fn play(
        &self,
        raise: impl FnOnce() -> Result<S>,
        act: impl AsyncFnOnce(&S) -> Result<()>,
        mend: impl FnOnce(&S) -> Result<()>,
    ) -> Result<()> {
        let place = self.place();
        let mut turn = place.lock().await;
        let set = match turn.take() {
            Some(set) => set,
            None => raise()?,
        };
        act(&set).await?;
        mend(&set).context("restoring the setup for the next test")?;
        *turn = Some(set);
        Ok(())
    }

    fn place(&self) -> Arc<Place<S>> {
        let mut shared = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        shared.upgrade().unwrap_or_else(|| {
            let place = Arc::new(Place::new(None));
            *shared = Arc::downgrade(&place);
            place
        })
    }
}

/// Ends all faults of the network, the API and the nodes.
pub fn end_all_faults(rig: &Rig) -> Result<()> {
    for quiet in [["heal", ""], ["hang", "0"], ["latency", "0"], ["stale", "0"]] {
        rig.lab(quiet.into_iter().filter(|word| !word.is_empty()))?;
    }
    rig.lab(["throttle", "0", "0"])?;
    let status = rig.status()?;
    for fault in status.faults.iter().filter_map(|fault| fault.strip_prefix("fail: ")) {
        let code = fault.rsplit(' ').next().unwrap_or_default();
        for call in CALLS.iter().filter(|call| fault.contains(*call)) {
            rig.lab(["fail", call, code, "0"])?;
        }
    }
    for dark in status.instances.iter().filter(|node| node.lab == "off" && node.api == "running") {
        rig.lab(["reboot", &dark.id])?;
    }
    Ok(())
}
