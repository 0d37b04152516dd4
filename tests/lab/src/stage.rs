//! A lab that tests of one program share. Raising one takes longer than most tests do, so a test that finds it as it should
//! be plays on it, and leaves it so for the next one.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use anyhow::{Context, Result};

use crate::rig::Rig;

/// What can be set to go wrong with the API by `lab fail`.
pub const CALLS: [&str; 6] = [
    "ReplaceRoute",
    "CreateRoute",
    "DescribeRouteTables",
    "DescribeInstances",
    "DescribeNetworkInterfaces",
    "CreateTags",
];

type Place<S> = tokio::sync::Mutex<Option<S>>;

/// Tests that wait for their turn hold the place: what is on it is taken down when nobody does any more.
pub struct Stage<S>(Mutex<Weak<Place<S>>>);

impl<S> Stage<S> {
    /// One on which nothing is yet.
    #[expect(clippy::new_without_default, reason = "a static's value is made by a const function")]
    pub const fn new() -> Stage<S> {
        Stage(Mutex::new(Weak::new()))
    }

    /// Plays on what `raise` gives, or on what the test before left, once `mend` found it well. Who fails leaves nothing that
    /// anybody should play on.
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
        mend(&set).context("afterwards, for the next one")?;
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

/// Ends whatever `lab` was told to do to the network, the API and the nodes.
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
