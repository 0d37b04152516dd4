//! Sets and removes tags of existing EC2 resources.

use aws_sdk_ec2::Client;
use aws_sdk_ec2::types::Tag;

use crate::aws::error::{CallFailed, Named, found, known};
use crate::model::tags::Tags;

/// Sets a tag on all of `ids`.
pub async fn set(ec2: &Client, ids: &[String], key: &str, value: &str) -> Result<(), CallFailed> {
    let tag = Tag::builder().key(key).value(value).build();
    let call = ec2.create_tags().set_resources(Some(ids.to_vec())).tags(tag);
    call.send().await.named("ec2:CreateTags", ids.join(" ")).map(drop)
}

/// Sets these tags on all of `ids`.
pub async fn set_all(ec2: &Client, ids: &[String], tags: &Tags) -> Result<(), CallFailed> {
    let call = ec2.create_tags().set_resources(Some(ids.to_vec())).set_tags(Some(tags.ec2()));
    call.send().await.named("ec2:CreateTags", ids.join(" ")).map(drop)
}

/// Removes the tags with these keys from all of `ids`.
pub async fn remove_all(ec2: &Client, ids: &[String], keys: &[String]) -> Result<(), CallFailed> {
    let tags = keys.iter().map(|key| Tag::builder().key(key).build()).collect();
    let call = ec2.delete_tags().set_resources(Some(ids.to_vec())).set_tags(Some(tags));
    call.send().await.named("ec2:DeleteTags", ids.join(" ")).map(drop)
}

/// Removes a tag from all of `ids`. An absent tag or resource is no error.
pub async fn remove(ec2: &Client, ids: &[String], key: &str) -> Result<(), CallFailed> {
    let call = async |ids: Vec<String>| {
        let object = ids.join(" ");
        let call = ec2.delete_tags().set_resources(Some(ids)).tags(Tag::builder().key(key).build());
        call.send().await.named("ec2:DeleteTags", object)
    };
    known(ids, call).await
}

/// Removes a tag from `id` if it has exactly this value (EC2 API reference, DeleteTags).
pub async fn remove_one(ec2: &Client, id: &str, key: &str, value: &str) -> Result<(), CallFailed> {
    let call = ec2.delete_tags().resources(id).tags(Tag::builder().key(key).value(value).build());
    found(call.send().await.named("ec2:DeleteTags", id)).map(drop)
}
