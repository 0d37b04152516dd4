//! The launch template, which holds what nodes of one revision have in common.

use std::collections::BTreeMap;

use aws_sdk_ec2::Client;
use aws_sdk_ec2::types::{
    Filter, InstanceType, LaunchTemplate, LaunchTemplateBlockDeviceMappingRequest, LaunchTemplateEbsBlockDeviceRequest,
    LaunchTemplateHttpTokensState, LaunchTemplateIamInstanceProfileSpecificationRequest,
    LaunchTemplateInstanceMetadataEndpointState, LaunchTemplateInstanceMetadataOptionsRequest,
    LaunchTemplateInstanceMetadataTagsState, LaunchTemplateTagSpecificationRequest, LaunchTemplateVersion,
    RequestLaunchTemplateData, ResourceType, ResponseLaunchTemplateData, VolumeType,
};

use jiff::Timestamp;
use templates::Order;
use templates::balancer::{Revision, Volume};
use templates::names::TAG_DEFAULT;

use crate::aws::PAGE;
use crate::aws::error::{CallFailed, Named, found};
use crate::model::tags::Tags;
use crate::resources::tagging;
use crate::update::elbow_defaults::Defaults;

/// The resources that EC2 creates with an instance and that get its tags.
pub const LAUNCHED: [ResourceType; 3] = [ResourceType::Instance, ResourceType::NetworkInterface, ResourceType::Volume];

/// A launch template with the version that nodes boot: its default, or the one that the Auto Scaling group launches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    /// `lt-…`
    pub id: String,
    /// `elbow-…`
    pub name: String,
    /// Its tags, which name its balancer.
    pub tags: Tags,
    /// The default version's number.
    pub default: i64,
    /// The number of the version that nodes boot.
    pub version: i64,
    /// Its description: the revision that nodes launched from it run.
    pub revision: String,
    /// What it launches.
    pub contents: Contents,
}

/// A version of a launch template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    pub number: i64,
    /// Its description: the revision that it holds.
    pub revision: String,
    /// When it was made.
    pub made: Option<Timestamp>,
    /// What it launches.
    pub contents: Contents,
}

/// What a version launches. The rest is the same for every node of every balancer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contents {
    /// `ami-…`, pinned: a node that is launched later boots the same image as its peers.
    pub image: String,
    /// For example `t3.small`.
    pub instance_type: String,
    /// `sg-…`, Elbow's first.
    pub groups: Vec<String>,
    /// The instance profile's name.
    pub profile: String,
    /// The root volume, unless it is as the image says.
    pub volume: Option<Volume>,
    /// Base64 of gzip of cloud-config.
    pub user_data: String,
    /// IMDSv2 only, within the instance only, with the instance's tags.
    pub metadata: Metadata,
    /// The tags of what is launched, by its kind.
    pub launched: BTreeMap<String, Tags>,
}

impl Template {
    /// The versions that Elbow made the default.
    pub fn defaults(&self) -> Defaults {
        self.tags.get(TAG_DEFAULT).map(Defaults::read).unwrap_or_default()
    }

    /// Replaces the default by this version, if there is one.
    pub fn boot(&mut self, version: Option<Version>) {
        if let Some(Version { number, revision, contents, .. }) = version {
            (self.version, self.revision, self.contents) = (number, revision, contents);
        }
    }

    /// The version that nodes boot, as its description says.
    pub fn order(&self) -> Order {
        Order { version: self.version, revision: Revision(self.revision.clone()) }
    }
}

/// How IMDS answers on the instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metadata {
    /// `HttpEndpoint=enabled`. An account's default may be `disabled` (EC2 API reference,
    /// ModifyInstanceMetadataDefaults).
    pub endpoint: bool,
    /// `HttpTokens=required`
    pub tokens_required: bool,
    /// `InstanceMetadataTags=enabled`
    pub tags: bool,
    /// `HttpPutResponseHopLimit`
    pub hop_limit: i32,
}

/// What the agent needs of IMDS. The hop limit excludes containers on the node.
pub const METADATA: Metadata = Metadata { endpoint: true, tokens_required: true, tags: true, hop_limit: 1 };

/// The template of this name with its default version, if it exists.
pub async fn find(ec2: &Client, name: &str) -> Result<Option<Template>, CallFailed> {
    let filter = Filter::builder().name("launch-template-name").values(name).build();
    let default = async {
        let call = ec2.describe_launch_template_versions().launch_template_name(name).versions("$Default");
        found(call.send().await.named("ec2:DescribeLaunchTemplateVersions", name))
    };
    let (templates, default) = futures::try_join!(describe(ec2, filter, name), default)?;
    let version = default.and_then(|output| output.launch_template_versions.unwrap_or_default().into_iter().next());
    Ok(templates.first().zip(version.as_ref().map(read)).map(|(template, version)| Template {
        id: template.launch_template_id().unwrap_or_default().to_owned(),
        name: template.launch_template_name().unwrap_or_default().to_owned(),
        tags: Tags::from(template.tags()),
        default: version.number,
        version: version.number,
        revision: version.revision,
        contents: version.contents,
    }))
}

/// Id, name and tags of every template that has a tag with this key.
pub async fn tagged(ec2: &Client, key: &str) -> Result<Vec<(String, String, Tags)>, CallFailed> {
    let found = describe(ec2, Filter::builder().name("tag-key").values(key).build(), key).await?;
    let text = |text: Option<&str>| text.unwrap_or_default().to_owned();
    let template = |template: &LaunchTemplate| {
        (text(template.launch_template_id()), text(template.launch_template_name()), Tags::from(template.tags()))
    };
    Ok(found.iter().map(template).collect())
}

async fn describe(ec2: &Client, filter: Filter, object: &str) -> Result<Vec<LaunchTemplate>, CallFailed> {
    let pages = ec2.describe_launch_templates().filters(filter).into_paginator().page_size(PAGE).items().send();
    pages.collect::<Result<Vec<_>, _>>().await.named("ec2:DescribeLaunchTemplates", object)
}

/// Every version of the template.
pub async fn versions(ec2: &Client, id: &str) -> Result<Vec<Version>, CallFailed> {
    let call = ec2.describe_launch_template_versions().launch_template_id(id).into_paginator().page_size(PAGE);
    let versions = call.items().send().collect::<Result<Vec<_>, _>>().await;
    Ok(versions.named("ec2:DescribeLaunchTemplateVersions", id)?.iter().map(read).collect())
}

/// A version of the template, if EC2 shows it.
pub async fn version(ec2: &Client, id: &str, number: i64) -> Result<Option<Version>, CallFailed> {
    let call = ec2.describe_launch_template_versions().launch_template_id(id).versions(number.to_string());
    let output =
        found(call.send().await.named("ec2:DescribeLaunchTemplateVersions", format!("{id} version {number}")))?;
    let versions = output.map(|output| output.launch_template_versions.unwrap_or_default()).unwrap_or_default();
    Ok(versions.iter().map(read).find(|version| version.number == number))
}

/// The template's own tags, as they are now.
pub async fn tags(ec2: &Client, id: &str) -> Result<Tags, CallFailed> {
    let call = ec2.describe_launch_templates().launch_template_ids(id);
    let output = call.send().await.named("ec2:DescribeLaunchTemplates", id)?;
    Ok(output.launch_templates().first().map(|template| Tags::from(template.tags())).unwrap_or_default())
}

/// Makes the newest of `defaults` the default version. Writes their tag first: see [`Defaults`].
pub async fn set_default(ec2: &Client, id: &str, defaults: &Defaults) -> Result<(), CallFailed> {
    tagging::set(ec2, &[id.to_owned()], TAG_DEFAULT, &defaults.to_string()).await?;
    let version = defaults.newest().map(|order| order.version.to_string());
    let call = ec2.modify_launch_template().client_token(token()).launch_template_id(id).set_default_version(version);
    call.send().await.named("ec2:ModifyLaunchTemplate", id).map(drop)
}

/// A `ClientToken` for one request. The SDK's own depends on the time and the thread only: launchers that start together may
/// send the same one for different requests, and EC2 answers `IdempotentParameterMismatch`.
fn token() -> String {
    format!("{:032x}", rand::random::<u128>())
}

fn read(version: &LaunchTemplateVersion) -> Version {
    Version {
        number: version.version_number().unwrap_or_default(),
        revision: version.version_description().unwrap_or_default().to_owned(),
        made: version.create_time().and_then(|time| Timestamp::from_second(time.secs()).ok()),
        contents: contents(version.launch_template_data().unwrap_or(&ResponseLaunchTemplateData::builder().build())),
    }
}

fn contents(data: &ResponseLaunchTemplateData) -> Contents {
    let metadata = data.metadata_options();
    Contents {
        image: data.image_id().unwrap_or_default().to_owned(),
        instance_type: data.instance_type().map(|kind| kind.as_str().to_owned()).unwrap_or_default(),
        groups: data.security_group_ids().to_vec(),
        profile: data.iam_instance_profile().and_then(|profile| profile.name()).unwrap_or_default().to_owned(),
        volume: data.block_device_mappings().first().map(|mapping| Volume {
            device: mapping.device_name().unwrap_or_default().to_owned(),
            size: mapping.ebs().and_then(|ebs| u32::try_from(ebs.volume_size()?).ok()),
            kms_key: mapping.ebs().and_then(|ebs| ebs.kms_key_id()).map(str::to_owned),
        }),
        user_data: data.user_data().unwrap_or_default().to_owned(),
        metadata: Metadata {
            endpoint: metadata.and_then(|options| options.http_endpoint())
                == Some(&LaunchTemplateInstanceMetadataEndpointState::Enabled),
            tokens_required: metadata.and_then(|options| options.http_tokens())
                == Some(&LaunchTemplateHttpTokensState::Required),
            tags: metadata.and_then(|options| options.instance_metadata_tags())
                == Some(&LaunchTemplateInstanceMetadataTagsState::Enabled),
            hop_limit: metadata.and_then(|options| options.http_put_response_hop_limit()).unwrap_or_default(),
        },
        launched: data
            .tag_specifications()
            .iter()
            .map(|one| {
                let kind = one.resource_type().map(|kind| kind.as_str().to_owned()).unwrap_or_default();
                (kind, Tags::from(one.tags()))
            })
            .collect(),
    }
}

fn request(contents: &Contents) -> RequestLaunchTemplateData {
    let metadata = LaunchTemplateInstanceMetadataOptionsRequest::builder()
        .http_endpoint(match contents.metadata.endpoint {
            true => LaunchTemplateInstanceMetadataEndpointState::Enabled,
            false => LaunchTemplateInstanceMetadataEndpointState::Disabled,
        })
        .http_tokens(match contents.metadata.tokens_required {
            true => LaunchTemplateHttpTokensState::Required,
            false => LaunchTemplateHttpTokensState::Optional,
        })
        .instance_metadata_tags(match contents.metadata.tags {
            true => LaunchTemplateInstanceMetadataTagsState::Enabled,
            false => LaunchTemplateInstanceMetadataTagsState::Disabled,
        })
        .http_put_response_hop_limit(contents.metadata.hop_limit)
        .build();
    let profile = LaunchTemplateIamInstanceProfileSpecificationRequest::builder().name(&contents.profile).build();
    let mut data = RequestLaunchTemplateData::builder()
        .set_block_device_mappings(contents.volume.as_ref().map(|volume| vec![root(volume)]))
        .image_id(&contents.image)
        .instance_type(InstanceType::from(contents.instance_type.as_str()))
        .set_security_group_ids(Some(contents.groups.clone()))
        .iam_instance_profile(profile)
        .metadata_options(metadata)
        .user_data(&contents.user_data);
    for (kind, tags) in &contents.launched {
        let kind = ResourceType::from(kind.as_str());
        let tags = LaunchTemplateTagSpecificationRequest::builder().resource_type(kind).set_tags(Some(tags.ec2()));
        data = data.tag_specifications(tags.build());
    }
    data.build()
}

/// The root volume of new nodes. It ends with its instance.
fn root(volume: &Volume) -> LaunchTemplateBlockDeviceMappingRequest {
    let ebs = LaunchTemplateEbsBlockDeviceRequest::builder()
        .volume_type(VolumeType::Gp3)
        .delete_on_termination(true)
        .set_volume_size(volume.size.and_then(|size| i32::try_from(size).ok()))
        .set_encrypted(volume.kms_key.as_ref().map(|_| true))
        .set_kms_key_id(volume.kms_key.clone());
    LaunchTemplateBlockDeviceMappingRequest::builder().device_name(&volume.device).ebs(ebs.build()).build()
}

/// Creates the template, with its tags in the same call. Returns its id and its version, which is the default.
pub async fn create(
    ec2: &Client,
    name: &str,
    revision: &Revision,
    contents: &Contents,
    tags: &Tags,
) -> Result<(String, i64), CallFailed> {
    let defaults = Defaults::first(Order { version: 1, revision: revision.clone() });
    let tags = tags.clone().with(TAG_DEFAULT, defaults.to_string());
    let made = ec2
        .create_launch_template()
        .client_token(token())
        .launch_template_name(name)
        .version_description(&revision.0)
        .launch_template_data(request(contents))
        .tag_specifications(tags.specification(ResourceType::LaunchTemplate))
        .send()
        .await
        .named("ec2:CreateLaunchTemplate", name)?;
    let template = made.launch_template();
    let id = template.and_then(|template| template.launch_template_id()).unwrap_or_default();
    Ok((id.to_owned(), template.and_then(|template| template.latest_version_number()).unwrap_or(1)))
}

/// Adds a version and returns its number.
pub async fn add_version(ec2: &Client, id: &str, revision: &str, contents: &Contents) -> Result<i64, CallFailed> {
    let made = ec2
        .create_launch_template_version()
        .client_token(token())
        .launch_template_id(id)
        .version_description(revision)
        .launch_template_data(request(contents))
        .send()
        .await
        .named("ec2:CreateLaunchTemplateVersion", id)?;
    Ok(made.launch_template_version().and_then(|version| version.version_number()).unwrap_or_default())
}

/// Deletes the template with all its versions.
pub async fn delete(ec2: &Client, id: &str) -> Result<(), CallFailed> {
    let call = ec2.delete_launch_template().launch_template_id(id);
    found(call.send().await.named("ec2:DeleteLaunchTemplate", id)).map(drop)
}
