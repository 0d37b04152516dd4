//! The instance profile, which gives the nodes their role.

use aws_sdk_iam::Client;

use crate::aws::error::{CallFailed, Named, found};
use crate::model::tags::Tags;

/// An instance profile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    /// `elbow-<region>-…`
    pub name: String,
    /// Its tags, which name its balancer.
    pub tags: Tags,
    /// The role in it; IAM allows one.
    pub role: Option<String>,
}

/// The profile of this name, if there is one.
pub async fn find(iam: &Client, name: &str) -> Result<Option<Profile>, CallFailed> {
    let call = iam.get_instance_profile().instance_profile_name(name);
    let output = found(call.send().await.named("iam:GetInstanceProfile", name))?;
    Ok(output.and_then(|output| output.instance_profile).map(|profile| Profile {
        name: name.to_owned(),
        tags: Tags::from(profile.tags()),
        role: profile.roles().first().map(|role| role.role_name().to_owned()),
    }))
}

/// Sets tags.
pub async fn tag(iam: &Client, name: &str, tags: &Tags) -> Result<(), CallFailed> {
    let call = iam.tag_instance_profile().instance_profile_name(name).set_tags(Some(tags.iam()));
    call.send().await.named("iam:TagInstanceProfile", name).map(drop)
}

/// Removes the tags with these keys.
pub async fn untag(iam: &Client, name: &str, keys: &[String]) -> Result<(), CallFailed> {
    let call = iam.untag_instance_profile().instance_profile_name(name).set_tag_keys(Some(keys.to_vec()));
    call.send().await.named("iam:UntagInstanceProfile", name).map(drop)
}

/// Creates the profile, with its tags in the same call.
pub async fn create(iam: &Client, name: &str, path: &str, tags: &Tags) -> Result<(), CallFailed> {
    let call = iam.create_instance_profile().instance_profile_name(name).path(path).set_tags(Some(tags.iam()));
    call.send().await.named("iam:CreateInstanceProfile", name).map(drop)
}

/// Adds the role to the profile.
pub async fn add_role(iam: &Client, name: &str, role: &str) -> Result<(), CallFailed> {
    let call = iam.add_role_to_instance_profile().instance_profile_name(name).role_name(role);
    call.send().await.named("iam:AddRoleToInstanceProfile", name).map(drop)
}

/// Removes the role from the profile.
pub async fn remove_role(iam: &Client, name: &str, role: &str) -> Result<(), CallFailed> {
    let call = iam.remove_role_from_instance_profile().instance_profile_name(name).role_name(role);
    found(call.send().await.named("iam:RemoveRoleFromInstanceProfile", name)).map(drop)
}

/// Deletes the profile; call [`remove_role`] first.
pub async fn delete(iam: &Client, name: &str) -> Result<(), CallFailed> {
    let call = iam.delete_instance_profile().instance_profile_name(name);
    found(call.send().await.named("iam:DeleteInstanceProfile", name)).map(drop)
}
