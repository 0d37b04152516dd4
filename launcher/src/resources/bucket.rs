//! The bucket of the agents: one for an account and a Region, for all balancers there without `[agent]`. Every request for
//! an existing bucket names its owner, so S3 refuses a bucket that another account made under this name.

use std::collections::BTreeMap;
use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{
    BucketLocationConstraint, CreateBucketConfiguration, PublicAccessBlockConfiguration, ServerSideEncryption,
    ServerSideEncryptionByDefault, ServerSideEncryptionConfiguration, ServerSideEncryptionRule, Tag, Tagging,
};
use aws_smithy_types::timeout::TimeoutConfig;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};
use templates::names;

use crate::aws::error::{CallFailed, Named};

/// The only Region that a bucket's location doesn't name (S3 API reference, CreateBucket).
const UNNAMED: &str = "us-east-1";

/// An upload may be slow: the agent of a debug build has more than 60 MB.
const UPLOAD: Duration = Duration::from_secs(1800);

/// The bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bucket {
    pub name: String,
    /// The account that must own it.
    pub account: String,
    pub region: String,
}

/// An object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    pub key: String,
    /// In bytes.
    pub size: i64,
}

impl Bucket {
    pub fn of(account: &str, region: &str) -> Bucket {
        Bucket { name: names::bucket(account, region), account: account.to_owned(), region: region.to_owned() }
    }

    /// What an error names for this key.
    fn object(&self, key: &str) -> String {
        format!("{}/{key}", self.name)
    }
}

/// The bucket's objects; none if it doesn't exist.
pub async fn objects(s3: &Client, bucket: &Bucket) -> Result<Option<Vec<Object>>, CallFailed> {
    let call = s3.list_objects_v2().bucket(&bucket.name).expected_bucket_owner(&bucket.account);
    let pages = call.into_paginator().send().collect::<Result<Vec<_>, _>>().await.named("s3:ListBucket", &bucket.name);
    let pages = match pages {
        Err(error) if error.is("NoSuchBucket") => return Ok(None),
        pages => pages?,
    };
    let objects = pages.iter().flat_map(|page| page.contents());
    let object = |object: &aws_sdk_s3::types::Object| Object {
        key: object.key().unwrap_or_default().to_owned(),
        size: object.size().unwrap_or_default(),
    };
    Ok(Some(objects.map(object).collect()))
}

/// Creates the bucket, private and encrypted. S3 gives new buckets no ACLs (S3 User Guide, "Controlling ownership of
/// objects"). A bucket of this account gets the settings again.
pub async fn create(s3: &Client, bucket: &Bucket, tags: &BTreeMap<String, String>) -> Result<(), CallFailed> {
    let Bucket { name, account, region } = bucket;
    let constraint = BucketLocationConstraint::from(region.as_str());
    let place = CreateBucketConfiguration::builder().location_constraint(constraint).build();
    let call = s3.create_bucket().bucket(name);
    let call = call.set_create_bucket_configuration(Some(place).filter(|_| region != UNNAMED));
    match call.send().await.named("s3:CreateBucket", name) {
        Err(error) if error.is("BucketAlreadyOwnedByYou") => {}
        outcome => outcome.map(drop)?,
    }
    let block = PublicAccessBlockConfiguration::builder()
        .block_public_acls(true)
        .block_public_policy(true)
        .ignore_public_acls(true)
        .restrict_public_buckets(true)
        .build();
    let call = s3.put_public_access_block().bucket(name).expected_bucket_owner(account);
    let call = call.public_access_block_configuration(block);
    call.send().await.named("s3:PutBucketPublicAccessBlock", name)?;
    let by_default = ServerSideEncryptionByDefault::builder().sse_algorithm(ServerSideEncryption::Aes256);
    let by_default = by_default.build().expect("it has an algorithm");
    let rule = ServerSideEncryptionRule::builder().apply_server_side_encryption_by_default(by_default).build();
    let rules = ServerSideEncryptionConfiguration::builder().rules(rule).build().expect("it has a rule");
    let call = s3.put_bucket_encryption().bucket(name).expected_bucket_owner(account);
    let call = call.server_side_encryption_configuration(rules);
    call.send().await.named("s3:PutEncryptionConfiguration", name)?;
    if tags.is_empty() {
        return Ok(());
    }
    let tag = |(key, value)| Tag::builder().key(key).value(value).build().expect("it has a key and a value");
    let tagging = Tagging::builder().set_tag_set(Some(tags.iter().map(tag).collect())).build().expect("it has tags");
    let call = s3.put_bucket_tagging().bucket(name).expected_bucket_owner(account).tagging(tagging);
    call.send().await.named("s3:PutBucketTagging", name).map(drop)
}

/// Creates an object, and leaves an existing one alone.
pub async fn put(s3: &Client, bucket: &Bucket, key: &str, bytes: Vec<u8>) -> Result<(), CallFailed> {
    let digest = STANDARD.encode(Sha256::digest(&bytes));
    let call = s3.put_object().bucket(&bucket.name).key(key).expected_bucket_owner(&bucket.account);
    let call = call.checksum_sha256(digest).if_none_match("*").body(ByteStream::from(bytes));
    let slow = TimeoutConfig::builder().read_timeout(UPLOAD).operation_timeout(UPLOAD).build();
    let call = call.customize().config_override(aws_sdk_s3::Config::builder().timeout_config(slow));
    match call.send().await.named("s3:PutObject", bucket.object(key)) {
        Err(error) if error.is("PreconditionFailed") => Ok(()),
        outcome => outcome.map(drop),
    }
}

/// Removes the bucket with these objects.
pub async fn delete(s3: &Client, bucket: &Bucket, objects: &[Object]) -> Result<(), CallFailed> {
    let Bucket { name, account, .. } = bucket;
    for Object { key, .. } in objects {
        let call = s3.delete_object().bucket(name).key(key).expected_bucket_owner(account);
        call.send().await.named("s3:DeleteObject", bucket.object(key))?;
    }
    let call = s3.delete_bucket().bucket(name).expected_bucket_owner(account);
    call.send().await.named("s3:DeleteBucket", name).map(drop)
}

#[cfg(test)]
mod tests {
    use aws_sdk_s3::operation::create_bucket::CreateBucketOutput;
    use aws_sdk_s3::operation::list_objects_v2::ListObjectsV2Output;
    use aws_sdk_s3::operation::put_bucket_encryption::PutBucketEncryptionOutput;
    use aws_sdk_s3::operation::put_object::PutObjectOutput;
    use aws_sdk_s3::operation::put_public_access_block::PutPublicAccessBlockOutput;
    use aws_smithy_mocks::{Rule, mock};

    use super::*;
    use crate::aws::error::Reason;
    use crate::aws::mock::{s3, s3_error};

    const ACCOUNT: &str = "123456789012";

    fn bucket() -> Bucket {
        Bucket::of(ACCOUNT, "eu-west-1")
    }

    fn settings() -> [Rule; 2] {
        [
            mock!(Client::put_public_access_block)
                .match_requests(|request| request.expected_bucket_owner() == Some(ACCOUNT))
                .then_output(|| PutPublicAccessBlockOutput::builder().build()),
            mock!(Client::put_bucket_encryption)
                .match_requests(|request| request.expected_bucket_owner() == Some(ACCOUNT))
                .then_output(|| PutBucketEncryptionOutput::builder().build()),
        ]
    }

    #[tokio::test]
    async fn an_absent_bucket_and_one_of_another_account_are_distinguished() {
        let listed = mock!(Client::list_objects_v2)
            .match_requests(|request| request.expected_bucket_owner() == Some(ACCOUNT))
            .then_output(|| {
                let object = aws_sdk_s3::types::Object::builder().key("agent/1").size(7).build();
                ListObjectsV2Output::builder().contents(object).build()
            });
        let found = objects(&s3(&[&listed]), &bucket()).await.unwrap();
        assert_eq!(found, Some(vec![Object { key: "agent/1".to_owned(), size: 7 }]));
        let absent = mock!(Client::list_objects_v2).then_http_response(|| s3_error(404, "NoSuchBucket", "No."));
        assert_eq!(objects(&s3(&[&absent]), &bucket()).await.unwrap(), None);
        let foreign = mock!(Client::list_objects_v2).then_http_response(|| s3_error(403, "AccessDenied", "No."));
        let error = objects(&s3(&[&foreign]), &bucket()).await.unwrap_err();
        assert_eq!(error.reason, Reason::Denied("No.".to_owned()));
    }

    #[tokio::test]
    async fn an_own_bucket_is_settled_and_the_name_in_another_account_is_an_error() {
        let made = mock!(Client::create_bucket)
            .match_requests(|request| {
                let place = request.create_bucket_configuration().and_then(|place| place.location_constraint());
                place.is_some_and(|place| place.as_str() == "eu-west-1")
            })
            .then_output(|| CreateBucketOutput::builder().build());
        let own =
            mock!(Client::create_bucket).then_http_response(|| s3_error(409, "BucketAlreadyOwnedByYou", "It's yours."));
        for first in [made, own] {
            let [block, encryption] = settings();
            assert!(create(&s3(&[&first, &block, &encryption]), &bucket(), &BTreeMap::new()).await.is_ok());
            assert_eq!((block.num_calls(), encryption.num_calls()), (1, 1));
        }
        let taken = mock!(Client::create_bucket).then_http_response(|| s3_error(409, "BucketAlreadyExists", "Taken."));
        let error = create(&s3(&[&taken]), &bucket(), &BTreeMap::new()).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "s3:CreateBucket elbow-123456789012-eu-west-1: BucketAlreadyExists: Taken; another account has a bucket of this \
             name: write [agent] with a source in the balancer's file"
        );
    }

    #[tokio::test]
    async fn an_object_is_created_once_with_its_digest() {
        let created = mock!(Client::put_object)
            .match_requests(|request| {
                let owner = request.expected_bucket_owner() == Some(ACCOUNT) && request.if_none_match() == Some("*");
                let digest = "ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=";
                owner && request.key() == Some("agent/1") && request.checksum_sha256() == Some(digest)
            })
            .then_output(|| PutObjectOutput::builder().build());
        assert!(put(&s3(&[&created]), &bucket(), "agent/1", b"abc".to_vec()).await.is_ok());
        let there =
            mock!(Client::put_object).then_http_response(|| s3_error(412, "PreconditionFailed", "It is there."));
        assert!(put(&s3(&[&there]), &bucket(), "agent/1", b"abc".to_vec()).await.is_ok());
    }
}
