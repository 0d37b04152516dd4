//! The nodes' IAM role and its one policy.

use aws_sdk_iam::Client;
use serde_json::Value;

use crate::aws::error::{CallFailed, Named, found};
use crate::model::tags::Tags;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Role {
    /// `elbow-<region>-…`
    pub name: String,
    /// Its tags, which name its balancer.
    pub tags: Tags,
    /// Its trust policy.
    pub trust: Value,
    /// Its inline policy of the same name.
    pub policy: Option<Value>,
    /// The ARN of its permissions boundary.
    pub boundary: Option<String>,
}

/// A role to create.
#[derive(Debug, Clone, Copy)]
pub struct NewRole<'a> {
    pub name: &'a str,
    /// `/`, or `/elbow/`
    pub path: &'a str,
    /// The trust policy (JSON).
    pub trust: &'a str,
    pub description: &'a str,
    /// The ARN of its permissions boundary.
    pub boundary: Option<&'a str>,
    pub tags: &'a Tags,
}

/// The role of this name, if it exists.
pub async fn find(iam: &Client, name: &str) -> Result<Option<Role>, CallFailed> {
    let role = async { found(iam.get_role().role_name(name).send().await.named("iam:GetRole", name)) };
    let policy = async {
        let call = iam.get_role_policy().role_name(name).policy_name(name);
        found(call.send().await.named("iam:GetRolePolicy", name))
    };
    let (role, policy) = futures::try_join!(role, policy)?;
    Ok(role.and_then(|output| output.role).map(|role| Role {
        name: name.to_owned(),
        tags: Tags::from(role.tags()),
        trust: document(role.assume_role_policy_document().unwrap_or_default()),
        policy: policy.map(|output| document(output.policy_document())),
        boundary: role.permissions_boundary().and_then(|it| it.permissions_boundary_arn()).map(str::to_owned),
    }))
}

/// Decodes IAM's URL-encoded documents (RFC 3986; IAM API reference, GetRolePolicy). Invalid JSON becomes null.
fn document(encoded: &str) -> Value {
    let text = percent_encoding::percent_decode_str(encoded).decode_utf8_lossy();
    serde_json::from_str(&text).unwrap_or(Value::Null)
}

/// Creates the role, with its tags in the same call.
pub async fn create(iam: &Client, new: NewRole<'_>) -> Result<(), CallFailed> {
    iam.create_role()
        .role_name(new.name)
        .path(new.path)
        .assume_role_policy_document(new.trust)
        .description(new.description)
        .set_permissions_boundary(new.boundary.map(str::to_owned))
        .set_tags(Some(new.tags.iam()))
        .send()
        .await
        .named("iam:CreateRole", new.name)
        .map(drop)
}

/// Sets the permissions boundary.
pub async fn set_boundary(iam: &Client, name: &str, arn: &str) -> Result<(), CallFailed> {
    let call = iam.put_role_permissions_boundary().role_name(name).permissions_boundary(arn);
    call.send().await.named("iam:PutRolePermissionsBoundary", name).map(drop)
}

/// Sets tags.
pub async fn tag(iam: &Client, name: &str, tags: &Tags) -> Result<(), CallFailed> {
    let call = iam.tag_role().role_name(name).set_tags(Some(tags.iam()));
    call.send().await.named("iam:TagRole", name).map(drop)
}

/// Removes the tags with these keys.
pub async fn untag(iam: &Client, name: &str, keys: &[String]) -> Result<(), CallFailed> {
    let call = iam.untag_role().role_name(name).set_tag_keys(Some(keys.to_vec()));
    call.send().await.named("iam:UntagRole", name).map(drop)
}

/// Sets the trust policy.
pub async fn set_trust(iam: &Client, name: &str, trust: &str) -> Result<(), CallFailed> {
    let call = iam.update_assume_role_policy().role_name(name).policy_document(trust);
    call.send().await.named("iam:UpdateAssumeRolePolicy", name).map(drop)
}

/// Sets the permission policy.
pub async fn set_policy(iam: &Client, name: &str, policy: &str) -> Result<(), CallFailed> {
    let call = iam.put_role_policy().role_name(name).policy_name(name).policy_document(policy);
    call.send().await.named("iam:PutRolePolicy", name).map(drop)
}

/// Removes every policy of the role, also foreign ones: AWS doesn't delete a role that has any.
pub async fn strip(iam: &Client, name: &str) -> Result<(), CallFailed> {
    let inline = iam.list_role_policies().role_name(name).into_paginator().items().send();
    let inline = found(inline.collect::<Result<Vec<_>, _>>().await.named("iam:ListRolePolicies", name))?;
    for policy in inline.unwrap_or_default() {
        let call = iam.delete_role_policy().role_name(name).policy_name(&policy);
        found(call.send().await.named("iam:DeleteRolePolicy", name))?;
    }
    let attached = iam.list_attached_role_policies().role_name(name).into_paginator().items().send();
    let attached = found(attached.collect::<Result<Vec<_>, _>>().await.named("iam:ListAttachedRolePolicies", name))?;
    for arn in attached.unwrap_or_default().iter().filter_map(|policy| policy.policy_arn()) {
        let call = iam.detach_role_policy().role_name(name).policy_arn(arn);
        found(call.send().await.named("iam:DetachRolePolicy", name))?;
    }
    Ok(())
}

/// Deletes the role; [`strip`] it first.
pub async fn delete(iam: &Client, name: &str) -> Result<(), CallFailed> {
    found(iam.delete_role().role_name(name).send().await.named("iam:DeleteRole", name)).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_compared_by_meaning_not_by_spelling() {
        assert_eq!(document("%7B%22a%22%3A%20%5B1%5D%7D"), serde_json::json!({"a": [1]}));
        assert_eq!(document("{\"a\":[1]}"), serde_json::json!({"a": [1]}));
        assert_eq!(document("no json"), Value::Null);
    }
}
