//! Takes the lease of an update, renews it, and releases it.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use anyhow::anyhow;
use futures::channel::oneshot;
use futures::future::{Either, select};
use templates::names::TAG_UPDATE;
use tokio::time::timeout;

use super::{Lease, SIGN, Standing};
use crate::aws::Aws;
use crate::aws::error::CallFailed;
use crate::aws::retry::pause;
use crate::output::failure::Failure;
use crate::resources::{launch_template, tagging};
use crate::update::execute::RollingUpdate;

/// How long a tag that this update wrote may be missing from AWS's answers.
const SPREADING: Duration = Duration::from_secs(10);
/// How long AWS's answers may show a released lease.
const VANISHING: Duration = Duration::from_secs(3);
/// The longest time between the writes of two updates that both saw no lease; also between two reads.
const LOOK: Duration = Duration::from_millis(300);
/// How long each of a renewal's two calls may take, and when a failed renewal is repeated.
const TRY: Duration = Duration::from_secs(5);
const AGAIN: Duration = Duration::from_secs(1);

/// Refuses to change a balancer while another update holds its lease.
pub async fn free(aws: &Aws, balancer: &str, template: &str) -> Result<(), Failure> {
    match blocking(aws, template).await? {
        Some(other) => Err(Failure::bad_input(other.refusal(balancer))),
        None => Ok(()),
    }
}

/// Takes the lease, also from another update. Of two that take it at the same moment, both see which wrote last.
pub async fn begin(aws: &Aws, balancer: &str, template: &str, lease: &Lease) -> Result<(), Failure> {
    tagging::set(&aws.ec2, &[template.to_owned()], TAG_UPDATE, &lease.to_string()).await?;
    pause(LOOK).await;
    match held(aws, template, lease).await? {
        Standing::Mine => Ok(()),
        Standing::Theirs(other) => Err(Failure::bad_input(other.refusal(balancer))),
        Standing::Unseen => Err(Failure::Failed(anyhow!(
            "launch template {template} doesn't show the tag {TAG_UPDATE} {} s after it was written: try again",
            SPREADING.as_secs()
        ))),
    }
}

/// The live lease of another update, if there is one.
pub async fn blocking(aws: &Aws, template: &str) -> Result<Option<Lease>, CallFailed> {
    let deadline = Instant::now() + VANISHING;
    loop {
        let tags = launch_template::tags(&aws.ec2, template).await?;
        let lease = Lease::in_the_way(tags.get(TAG_UPDATE));
        if lease.is_none() || Instant::now() >= deadline {
            return Ok(lease);
        }
        pause(LOOK).await;
    }
}

/// Reads who holds the lease. Retries while the answer is older than this update's write.
async fn held(aws: &Aws, template: &str, lease: &Lease) -> Result<Standing, CallFailed> {
    let deadline = Instant::now() + SPREADING;
    loop {
        let tags = launch_template::tags(&aws.ec2, template).await?;
        match lease.standing(tags.get(TAG_UPDATE).and_then(|tag| tag.parse().ok())) {
            Standing::Unseen if Instant::now() < deadline => pause(LOOK).await,
            standing => return Ok(standing),
        }
    }
}

/// Releases the lease, unless another update has taken it.
pub async fn end(aws: &Aws, template: &str, lease: &Lease) -> Result<(), CallFailed> {
    tagging::remove_one(&aws.ec2, template, TAG_UPDATE, &lease.to_string()).await
}

/// Does the work and renews the lease meanwhile, so that it doesn't lapse during a long call. A lost lease ends the work.
pub async fn beside<T>(
    aws: &Aws,
    template: &str,
    lease: &RefCell<Lease>,
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    let (over, mut is_over) = oneshot::channel::<()>();
    let renewing = async {
        let mut pause = SIGN;
        while timeout(pause, &mut is_over).await.is_err() {
            pause = match renew(aws, template, lease).await {
                Ok(true) => SIGN,
                Ok(false) => AGAIN,
                Err(lost) => return Err(lost),
            };
        }
        Ok(())
    };
    match select(std::pin::pin!(work), std::pin::pin!(renewing)).await {
        Either::Left((outcome, renewing)) => {
            // Wait for a renewal under way: it would write the released lease again.
            drop(over);
            renewing.await.ok();
            outcome
        }
        Either::Right((lost, work)) => match lost {
            Err(lost) => Err(lost),
            Ok(()) => work.await,
        },
    }
}

/// Renews the lease. Returns whether it was written in time; other API errors are left to the work.
async fn renew(aws: &Aws, template: &str, lease: &RefCell<Lease>) -> Result<bool, Failure> {
    let mine = lease.borrow().clone();
    match timeout(TRY, held(aws, template, &mine)).await {
        Ok(Ok(standing)) => still_mine(template, standing)?,
        Ok(Err(_)) | Err(_) => return Ok(false),
    }
    let renewed = mine.renewed();
    let value = renewed.to_string();
    let ids = [template.to_owned()];
    // From here on the tag may have this value, even if the call fails.
    *lease.borrow_mut() = renewed;
    Ok(matches!(timeout(TRY, tagging::set(&aws.ec2, &ids, TAG_UPDATE, &value)).await, Ok(Ok(()))))
}

fn still_mine(template: &str, standing: Standing) -> Result<(), Failure> {
    match standing {
        Standing::Mine => Ok(()),
        Standing::Theirs(other) => Err(Failure::Failed(anyhow!("the update was taken over {}", other.described()))),
        Standing::Unseen => Err(Failure::Failed(anyhow!(
            "the lease of this update is gone: another update took it and has ended, or the tag {TAG_UPDATE} of launch \
             template {template} was deleted; run `launcher update` again to continue"
        ))),
    }
}

impl RollingUpdate<'_> {
    /// Fails unless this update still holds the lease. Called before every change.
    pub(in crate::update) async fn keep_lease(&mut self) -> Result<(), Failure> {
        let (id, lease) = (&self.snapshot.template.id, self.lease.borrow().clone());
        still_mine(id, held(self.aws, id, &lease).await?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::update::lease::DEAD;

    #[test]
    fn a_renewal_that_fails_once_is_repeated_before_the_lease_lapses() {
        assert!(SIGN + 2 * TRY + AGAIN + 2 * TRY < DEAD);
    }
}
