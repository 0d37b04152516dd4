//! Taking the lease on an update, keeping it, and giving it back.

use std::time::Duration;

use anyhow::anyhow;
use jiff::Timestamp;
use templates::names::TAG_UPDATE;

use super::lease::{Lease, SIGN};
use super::roll::Roll;
use crate::aws::Aws;
use crate::aws::error::CallFailed;
use crate::aws::retry::pause;
use crate::failure::Failure;
use crate::resources::{launch_template, tagging};

/// Takes the lease, if nobody else has it: who wrote last has it, and both see who that was.
pub async fn begin(aws: &Aws, template: &str, lease: &Lease) -> Result<(), Failure> {
    tagging::set(&aws.ec2, &[template.to_owned()], TAG_UPDATE, &lease.to_string()).await?;
    // As long as two who saw nobody at the same moment may be apart.
    pause(Duration::from_millis(300)).await;
    let tags = launch_template::tags(&aws.ec2, template).await?;
    match tags.get(TAG_UPDATE).and_then(|tag| tag.parse::<Lease>().ok()) {
        Some(other) if other.who != lease.who => {
            Err(Failure::bad_input(format!("an update is under way, {}", other.described())))
        }
        _ => Ok(()),
    }
}

/// Gives the lease back, unless it is somebody else's by now.
pub async fn end(aws: &Aws, template: &str, lease: &Lease) -> Result<(), CallFailed> {
    tagging::remove_one(&aws.ec2, template, TAG_UPDATE, &lease.to_string()).await
}

impl Roll<'_> {
    /// Says that this update lives, unless somebody else took it over.
    pub(super) async fn renew(&mut self) -> Result<(), Failure> {
        if Timestamp::now().duration_since(self.lease.seen) < SIGN {
            return Ok(());
        }
        let tag = launch_template::tags(&self.aws.ec2, &self.known.template.id).await?;
        let holder = tag.get(TAG_UPDATE).and_then(|tag| tag.parse::<Lease>().ok());
        if let Some(other) = holder.filter(|lease| lease.who != self.lease.who) {
            return Err(Failure::Failed(anyhow!("the update was taken over {}", other.described())));
        }
        let lease = self.lease.renewed();
        let id = std::slice::from_ref(&self.known.template.id);
        tagging::set(&self.aws.ec2, id, TAG_UPDATE, &lease.to_string()).await?;
        self.lease = lease;
        Ok(())
    }
}
