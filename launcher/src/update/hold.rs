//! Taking the lease on an update, keeping it, and giving it back.

use std::time::{Duration, Instant};

use anyhow::anyhow;
use jiff::Timestamp;
use templates::names::TAG_UPDATE;

use super::lease::{Lease, SIGN, Standing};
use super::roll::Roll;
use crate::aws::Aws;
use crate::aws::error::CallFailed;
use crate::aws::retry::pause;
use crate::failure::Failure;
use crate::resources::{launch_template, tagging};

/// How long what this update wrote may be missing where it is read.
const SPREADING: Duration = Duration::from_secs(10);
/// As long as two who saw nobody at the same moment may be apart; and from one look to the next.
const LOOK: Duration = Duration::from_millis(300);

/// Whether to take the lease from somebody who has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Take {
    /// Only if nobody has it.
    Free,
    /// In any case.
    Over,
}

/// Takes the lease: who wrote last has it, and both see who that was.
pub async fn begin(aws: &Aws, balancer: &str, template: &str, lease: &Lease, take: Take) -> Result<(), Failure> {
    let tags = launch_template::tags(&aws.ec2, template).await?;
    if let Some(other) = Lease::in_the_way(tags.get(TAG_UPDATE)).filter(|_| take == Take::Free) {
        return Err(Failure::bad_input(other.refusal(balancer)));
    }
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

impl Roll<'_> {
    /// Says now and then that this update lives.
    pub(super) async fn renew(&mut self) -> Result<(), Failure> {
        if Timestamp::now().duration_since(self.lease.seen) < SIGN { Ok(()) } else { self.hold().await }
    }

    /// Goes on only if this update still has the lease: before every change.
    pub(super) async fn hold(&mut self) -> Result<(), Failure> {
        let id = &self.known.template.id;
        match held(self.aws, id, &self.lease).await? {
            Standing::Mine => {}
            Standing::Theirs(other) => {
                return Err(Failure::Failed(anyhow!("the update was taken over {}", other.described())));
            }
            Standing::Unseen => {
                return Err(Failure::Failed(anyhow!(
                    "the update was taken over by somebody who is done, or its tag {TAG_UPDATE} was taken off {id}: \
                     `launcher update` again goes on from what is there"
                )));
            }
        }
        if Timestamp::now().duration_since(self.lease.seen) >= SIGN {
            let lease = self.lease.renewed();
            tagging::set(&self.aws.ec2, std::slice::from_ref(id), TAG_UPDATE, &lease.to_string()).await?;
            self.lease = lease;
        }
        Ok(())
    }
}
