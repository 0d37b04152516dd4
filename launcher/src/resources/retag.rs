//! Sets and removes the operator's tags of existing resources.

use crate::aws::Aws;
use crate::aws::error::CallFailed;
use crate::model::operator_tags::{Resource, Retag};
use crate::resources::{instance_profile, role, scaling_group, tagging};

/// Sets tags, then removes others.
pub async fn retag(aws: &Aws, retag: &Retag) -> Result<(), CallFailed> {
    let Retag { resource, set, remove } = retag;
    if !set.0.is_empty() {
        match resource {
            Resource::Ec2(_, ids) => tagging::set_all(&aws.ec2, ids, set).await,
            Resource::Role(name) => role::tag(&aws.iam, name, set).await,
            Resource::Profile(name) => instance_profile::tag(&aws.iam, name, set).await,
            Resource::Scaling(name) => scaling_group::tag(&aws.auto_scaling, name, set).await,
        }?;
    }
    if remove.is_empty() {
        return Ok(());
    }
    match resource {
        Resource::Ec2(_, ids) => tagging::remove_all(&aws.ec2, ids, remove).await,
        Resource::Role(name) => role::untag(&aws.iam, name, remove).await,
        Resource::Profile(name) => instance_profile::untag(&aws.iam, name, remove).await,
        Resource::Scaling(name) => scaling_group::untag(&aws.auto_scaling, name, remove).await,
    }
}
