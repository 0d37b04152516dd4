//! Tags on what EC2 has already: for instances to be told something, and for the launch template to say who is at work.

use aws_sdk_ec2::Client;
use aws_sdk_ec2::types::Tag;

use crate::aws::error::{CallFailed, Named, found};

/// Sets a tag on all of `ids`.
pub async fn set(ec2: &Client, ids: &[String], key: &str, value: &str) -> Result<(), CallFailed> {
    let tag = Tag::builder().key(key).value(value).build();
    let call = ec2.create_tags().set_resources(Some(ids.to_vec())).tags(tag);
    call.send().await.named("ec2:CreateTags", ids.join(" ")).map(drop)
}

/// Takes a tag off all of `ids`; one that isn't there is fine.
pub async fn remove(ec2: &Client, ids: &[String], key: &str) -> Result<(), CallFailed> {
    let call = ec2.delete_tags().set_resources(Some(ids.to_vec())).tags(Tag::builder().key(key).build());
    found(call.send().await.named("ec2:DeleteTags", ids.join(" "))).map(drop)
}
