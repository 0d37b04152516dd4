//! Taking the lease on an update, keeping it, and giving it back.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use anyhow::anyhow;
use futures::channel::oneshot;
use futures::future::{Either, select};
use templates::names::TAG_UPDATE;
use tokio::time::timeout;

use super::lease::{Lease, SIGN, Standing};
use super::roll::Roll;
use crate::aws::Aws;
use crate::aws::error::CallFailed;
use crate::aws::retry::pause;
use crate::output::failure::Failure;
use crate::resources::{launch_template, tagging};

/// How long what this update wrote may be missing where it is read.
const SPREADING: Duration = Duration::from_secs(10);
/// How long a lease that was given back may still be read.
const VANISHING: Duration = Duration::from_secs(3);
/// As long as two who saw nobody at the same moment may be apart; and from one look to the next.
const LOOK: Duration = Duration::from_millis(300);
/// How long each of a renewal's two calls may take, and when a renewal that failed is tried again.
const TRY: Duration = Duration::from_secs(5);
const AGAIN: Duration = Duration::from_secs(1);

/// Refuses to change a balancer that another update is changing.
pub async fn free(aws: &Aws, balancer: &str, template: &str) -> Result<(), Failure> {
    match blocking(aws, template).await? {
        Some(other) => Err(Failure::bad_input(other.refusal(balancer))),
        None => Ok(()),
    }
}

/// Takes the lease, from another update as well. Of two that take it at the same moment, both see which wrote last.
pub async fn begin(aws: &Aws, balancer: &str, template: &str, lease: &Lease) -> Result<(), Failure> {
    tagging::set(&aws.ec2, &[template.to_owned()], TAG_UPDATE, &lease.to_string()).await?;
    pause(LOOK).await;
    match held(aws, template, lease).await? {
        Standing::Mine => Ok(()),
        Standing::Theirs(other) => Err(Failure::bad_input(other.refusal(balancer))),
        Standing::Unseen => Err(Failure::Failed(anyhow!(
            "{template} doesn't show the tag {TAG_UPDATE} that was written {} s ago: try again",
            SPREADING.as_secs()
        ))),
    }
}

/// The live lease of another update, if there is one. A lease that was given back may still be read for a moment.
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

/// Who has the lease; whoever may have been there before is given time to vanish.
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

/// Gives the lease back, unless it is somebody else's by now.
pub async fn end(aws: &Aws, template: &str, lease: &Lease) -> Result<(), CallFailed> {
    tagging::remove_one(&aws.ec2, template, TAG_UPDATE, &lease.to_string()).await
}

/// Does the work and renews the lease beside it, so that a call that takes long lets no lease lapse. A lease that is lost ends
/// the work.
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
            // A renewal under way is waited for: it would write the lease again that is given back.
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

/// Gives a sign of life. Answers whether it was written in time; an API that fails is the work's own business.
async fn renew(aws: &Aws, template: &str, lease: &RefCell<Lease>) -> Result<bool, Failure> {
    let mine = lease.borrow().clone();
    match timeout(TRY, held(aws, template, &mine)).await {
        Ok(Ok(standing)) => still_mine(template, standing)?,
        Ok(Err(_)) | Err(_) => return Ok(false),
    }
    let renewed = mine.renewed();
    let value = renewed.to_string();
    let ids = [template.to_owned()];
    // From here on the tag may have this value, whatever comes of the call.
    *lease.borrow_mut() = renewed;
    Ok(matches!(timeout(TRY, tagging::set(&aws.ec2, &ids, TAG_UPDATE, &value)).await, Ok(Ok(()))))
}

fn still_mine(template: &str, standing: Standing) -> Result<(), Failure> {
    match standing {
        Standing::Mine => Ok(()),
        Standing::Theirs(other) => Err(Failure::Failed(anyhow!("the update was taken over {}", other.described()))),
        Standing::Unseen => Err(Failure::Failed(anyhow!(
            "the update was taken over by somebody who is done, or its tag {TAG_UPDATE} was taken off {template}: \
             `launcher update` again goes on from what is there"
        ))),
    }
}

impl Roll<'_> {
    /// Goes on only if this update still has the lease: before every change.
    pub(super) async fn hold(&mut self) -> Result<(), Failure> {
        let (id, lease) = (&self.known.template.id, self.lease.borrow().clone());
        still_mine(id, held(self.aws, id, &lease).await?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::update::lease::DEAD;

    #[test]
    fn a_renewal_that_the_api_cuts_off_once_comes_before_the_lease_lapses() {
        assert!(SIGN + 2 * TRY + AGAIN + 2 * TRY < DEAD);
    }
}
