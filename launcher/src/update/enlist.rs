//! Has running nodes be an Auto Scaling group's, or nobody's again, step by step as [`super::convert`] says.

use std::time::{Duration, Instant};

use anyhow::anyhow;

use super::convert::{self, Aim, Step};
use super::roll::Roll;
use crate::apply::{Outcome, apply};
use crate::aws::retry::pause;
use crate::failure::Failure;
use crate::observe::observe;

/// From one look to the next while something comes or goes.
const LOOK: Duration = Duration::from_millis(500);

impl Roll<'_> {
    /// Until nodes come to be as the balancer says.
    pub(super) async fn enlist(&mut self) -> Result<(), Failure> {
        self.until(convert::step).await
    }

    /// Until no group has any node, and would launch or end one.
    pub(super) async fn release(&mut self) -> Result<(), Failure> {
        self.until(convert::release).await
    }

    async fn until(&mut self, aim: Aim) -> Result<(), Failure> {
        let known = self.known;
        let deadline = Instant::now() + self.timeout;
        loop {
            let observed = observe(self.aws, &known.new.name).await?;
            let waiting = match aim(&known.desired, &observed) {
                Step::Done => return Ok(()),
                Step::Wait(why) => why,
                Step::Do(action) => {
                    self.hold().await?;
                    let change = action.change(&known.desired);
                    let outcome = apply(self.aws, &known.desired, &observed, &[action], self.progress).await?;
                    if outcome == Outcome::Done {
                        self.changes.push(change);
                        continue;
                    }
                    format!("waiting to {}", change.what)
                }
            };
            if Instant::now() >= deadline {
                self.progress.clear();
                return Err(Failure::Failed(anyhow!(
                    "{} isn't converted after {} s, and serves on: {waiting}; the same command again goes on",
                    known.new.name,
                    self.timeout.as_secs()
                )));
            }
            self.progress.live(&known.desired.name, &waiting);
            pause(LOOK).await;
        }
    }
}
