//! Executes a plan stage by stage; the actions of a stage run concurrently.

pub mod wait;

use std::time::Duration;

use futures::future::join_all;
use sha2::{Digest, Sha256};
use templates::names::TAG_REVISION;
use templates::{Order, names};

use crate::aws::Aws;
use crate::aws::error::{CallFailed, Reason};
use crate::aws::retry::{Patience, until};
use crate::model::desired::Desired;
use crate::model::group_settings::Wanted;
use crate::model::local_agents::LocalAgent;
use crate::model::observe::Observed;
use crate::model::tags::{self, Tags};
use crate::model::vip_claims;
use crate::output::progress::Progress;
use crate::plan::{Action, Place, STAGES, Stage};
use crate::resources::bucket::Bucket;
use crate::resources::retag::retag;
use crate::resources::role::NewRole;
use crate::resources::{
    bucket, instance_profile, instances, launch_template, role, scaling_group, security_group, tagging,
};

/// EC2 may not know a new instance profile, or its role, for minutes.
const SPREADING: Patience = Patience { total: Duration::from_secs(180), pause: Duration::from_secs(2) };

/// The result of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Every action succeeded.
    Done,
    /// Another `create` is at work, or AWS shows old data: observe and plan again.
    Overtaken,
    /// Another balancer claims a virtual IP: the refusal. This plan's new group or claims are removed.
    Taken(String),
}

/// Ids that earlier stages created.
#[derive(Debug, Clone, Default)]
struct CreatedIds {
    group: Option<String>,
    template: Option<(String, i64)>,
}

enum Made {
    Group(String),
    Template(String, i64),
    Other,
}

/// Executes the plan.
pub async fn apply(
    aws: &Aws,
    desired: &Desired,
    observed: &Observed,
    actions: &[Action],
    progress: &Progress,
) -> Result<Outcome, CallFailed> {
    let mut known = CreatedIds {
        group: observed.group(&desired.vpc).map(|group| group.id.clone()),
        template: observed.template.as_ref().map(|template| (template.id.clone(), template.version)),
    };
    for stage in STAGES {
        let steps = actions.iter().filter(|action| action.stage() == stage).map(|action| async {
            let step = Task { aws, desired, known: &known, progress };
            let made = step.act(action).await;
            if made.is_ok() {
                progress.done(&action.change(desired).what);
            }
            made
        });
        let mut overtaken = false;
        for outcome in join_all(steps).await {
            match outcome {
                Ok(Made::Group(id)) => known.group = Some(id),
                Ok(Made::Template(id, version)) => known.template = Some((id, version)),
                Ok(Made::Other) => {}
                Err(error) if is_overtaken(&error) => overtaken = true,
                Err(error) => return Err(error),
            }
        }
        if overtaken {
            return Ok(Outcome::Overtaken);
        }
        let claims = |action: &Action| matches!(action, Action::CreateGroup | Action::Claim(_));
        if stage == Stage::Group
            && actions.iter().any(claims)
            && let Some(refusal) = vip_claims::contend(aws, desired).await?
        {
            let group = known.group.as_deref().unwrap_or_default();
            match actions.contains(&Action::CreateGroup) {
                true => security_group::delete(&aws.ec2, group).await?,
                false => vip_claims::give_way(aws, group, &desired.virtual_ips).await?,
            }
            return Ok(Outcome::Taken(refusal));
        }
    }
    Ok(Outcome::Done)
}

/// Whether another `create` was faster, or AWS doesn't show the result of an earlier call yet.
fn is_overtaken(error: &CallFailed) -> bool {
    let full = error.action == "iam:AddRoleToInstanceProfile" && error.is("LimitExceeded");
    let gone = error.action != "ec2:RunInstances" && error.is("InvalidPermission.NotFound");
    let changed = error.action.starts_with("autoscaling:") && scaling_group::has_changed(error);
    let deregistered = error.is("InvalidAMIID.NotFound");
    error.is_already_there() || full || gone || changed || (error.is_absent() && !deregistered)
}

struct Task<'a> {
    aws: &'a Aws,
    desired: &'a Desired,
    known: &'a CreatedIds,
    progress: &'a Progress,
}

impl Task<'_> {
    async fn act(&self, action: &Action) -> Result<Made, CallFailed> {
        let Task { aws: Aws { auto_scaling, ec2, iam, .. }, desired, known, .. } = *self;
        let Desired { name, global_name, tags, .. } = desired;
        let group = known.group.as_deref().unwrap_or_default();
        let description = format!("Nodes of the Elbow balancer {}", desired.balancer);
        match action {
            Action::CreateGroup => {
                let tags = desired.group_tags();
                security_group::create(ec2, name, &description, &desired.vpc, &tags).await.map(Made::Group)
            }
            Action::Claim(vips) => {
                for vip in vips {
                    tagging::set(ec2, &[group.to_owned()], &tags::claim(*vip), "").await?;
                }
                Ok(Made::Other)
            }
            Action::Allow(rules) => security_group::allow(ec2, group, rules).await.map(|()| Made::Other),
            Action::Revoke(rules) => security_group::revoke(ec2, group, rules).await.map(|()| Made::Other),
            Action::CreateBucket => {
                bucket::create(&self.aws.s3, self.bucket(), &desired.operator_tags).await.map(|()| Made::Other)
            }
            Action::UploadAgent(agent) => self.upload(agent).await.map(|()| Made::Other),
            Action::CreateRole => {
                let new = NewRole {
                    name: global_name,
                    path: desired.iam.path(),
                    trust: &desired.trust,
                    description: &description,
                    boundary: desired.iam.permissions_boundary.as_deref(),
                    tags,
                };
                role::create(iam, new).await.map(|()| Made::Other)
            }
            Action::SetBoundary(arn) => role::set_boundary(iam, global_name, arn).await.map(|()| Made::Other),
            Action::SetTrust => role::set_trust(iam, global_name, &desired.trust).await.map(|()| Made::Other),
            Action::SetPolicy => role::set_policy(iam, global_name, &desired.policy).await.map(|()| Made::Other),
            Action::CreateProfile => {
                let path = desired.iam.path();
                instance_profile::create(iam, global_name, path, tags).await.map(|()| Made::Other)
            }
            Action::AddRole => {
                let role = desired.iam.role(global_name);
                instance_profile::add_role(iam, global_name, role).await.map(|()| Made::Other)
            }
            Action::CreateTemplate => {
                let contents = desired.contents(group, None);
                let made = launch_template::create(ec2, name, &desired.revision, &contents, tags).await?;
                Ok(Made::Template(made.0, made.1))
            }
            Action::AddVersion(template) => {
                let contents = desired.contents(group, Some(&template.contents.image));
                let (id, revision) = (&template.id, &desired.revision);
                let version = launch_template::add_version(ec2, id, &revision.0, &contents).await?;
                let to = Order { version, revision: revision.clone() };
                let defaults = template.defaults().moved(&template.order(), &to);
                launch_template::set_default(ec2, id, &defaults).await?;
                Ok(Made::Template(id.clone(), version))
            }
            Action::CreateScaling => self.create_scaling().await.map(|()| Made::Other),
            Action::SetScaling(_) => {
                scaling_group::set(auto_scaling, name, &self.scaling().settings).await.map(|()| Made::Other)
            }
            Action::Pin => scaling_group::pin(auto_scaling, name, self.template()).await.map(|()| Made::Other),
            Action::SetHook(hook) => scaling_group::set_hook(auto_scaling, name, hook).await.map(|()| Made::Other),
            Action::SuspendRebalance => {
                scaling_group::suspend_rebalance(auto_scaling, name).await.map(|()| Made::Other)
            }
            Action::Launch(place) => {
                let (template, version) = self.template();
                let launching = Launching { aws: self.aws, desired, template, version, progress: self.progress };
                launching.node(place).await.map(|_| Made::Other)
            }
            Action::Retag(it) => retag(self.aws, it).await.map(|()| Made::Other),
            Action::Start { id, .. } => instances::start(ec2, id).await.map(|()| Made::Other),
        }
    }

    fn bucket(&self) -> &Bucket {
        &self.desired.store.as_ref().expect("only a balancer without [agent] has such actions").bucket
    }

    async fn upload(&self, agent: &LocalAgent) -> Result<(), CallFailed> {
        let LocalAgent { path, sha256, size, .. } = agent;
        let failed = |code: &str, message: String| CallFailed {
            action: "s3:PutObject",
            object: path.display().to_string(),
            reason: Reason::Refused { code: code.to_owned(), message },
        };
        let bytes = std::fs::read(path).map_err(|error| failed("the file can't be read", error.to_string()))?;
        if hex::encode(Sha256::digest(&bytes)) != *sha256 {
            return Err(failed("the file has changed meanwhile", "run the same command again".to_owned()));
        }
        let (megabytes, bucket) = (*size as f64 / 1e6, &self.bucket().name);
        self.progress.say(&format!("  … uploading the agent, {megabytes:.1} MB, to bucket {bucket}"));
        bucket::put(&self.aws.s3, self.bucket(), &names::agent_key(sha256), bytes).await
    }

    fn scaling(&self) -> &Wanted {
        self.desired.scaling.as_ref().expect("only a balancer that has a group has such actions")
    }

    /// The launch template's id, and the version to launch.
    fn template(&self) -> (&str, i64) {
        self.known.template.as_ref().map_or(("", 0), |(id, version)| (id, *version))
    }

    /// Waits for a new instance profile, and for the deletion of a group of the same name.
    async fn create_scaling(&self) -> Result<(), CallFailed> {
        let Desired { name, tags, .. } = self.desired;
        let Wanted { settings, hooks } = self.scaling();
        let tags = tags.clone().with("Name", name.as_str());
        let waiting = |error: &CallFailed| {
            let what =
                if is_spreading(error) { "IAM to propagate the instance profile" } else { "the old group's deletion" };
            self.progress.live(name, &format!("waiting for {what}"));
        };
        let passes = |error: &CallFailed| is_spreading(error) || scaling_group::is_pending_delete(error);
        let call = || scaling_group::create(&self.aws.auto_scaling, name, self.template(), settings, hooks, &tags);
        until(SPREADING, passes, waiting, call).await
    }
}

/// Launches nodes from a version of a launch template.
pub struct Launching<'a> {
    /// The clients.
    pub aws: &'a Aws,
    /// The desired balancer.
    pub desired: &'a Desired,
    /// The launch template's id.
    pub template: &'a str,
    pub version: i64,
    /// Shows what a launch waits for.
    pub progress: &'a Progress,
}

impl Launching<'_> {
    /// Launches a node and returns its instance id.
    pub async fn node(&self, place: &Place) -> Result<String, CallFailed> {
        let tags = node_tags(self.desired, place);
        let mut ended = place.ended;
        loop {
            let Launching { template, version, .. } = *self;
            let launch = instances::Launch { template, version, subnet: &place.subnet, tags: &tags };
            let token = token(&launch, ended, place.replaces.as_deref());
            let waiting = |_: &CallFailed| {
                self.progress
                    .live(&format!("node {}", place.slot), "waiting for IAM to propagate the instance profile");
            };
            let call = || instances::launch(&self.aws.ec2, &launch, &token);
            match until(SPREADING, is_spreading, waiting, call).await {
                // An ended instance that EC2 doesn't list any more used this token: try the next one.
                Err(error) if error.is("IdempotentInstanceTerminated") && ended < place.ended + 20 => ended += 1,
                outcome => return outcome,
            }
        }
    }
}

/// The tags of a node to launch. They name its slot and its order.
fn node_tags(desired: &Desired, place: &Place) -> Tags {
    let tags = desired.tags.clone().with("Name", format!("{}-{}", desired.name, place.slot));
    match &place.order {
        Some(order) => tags.with(TAG_REVISION, order.to_string()),
        None => tags,
    }
}

fn is_spreading(error: &CallFailed) -> bool {
    // The second message: EC2 knows the profile, but not its role yet.
    const MESSAGES: [&str; 2] = ["Invalid IAM Instance Profile", "has no associated IAM Roles"];
    let line = error.to_string();
    // EC2's code, and Auto Scaling's.
    (error.is("InvalidParameterValue") || error.is("ValidationError"))
        && MESSAGES.iter().any(|message| line.contains(message))
}

/// The idempotency token of a launch: equal for concurrent `create`s, new for a replacement or a new balancer. It covers
/// every parameter, because EC2 refuses a used token with other parameters: IdempotentParameterMismatch (EC2 API
/// reference, "Ensuring idempotency"). EC2 accepts 64 ASCII characters.
fn token(launch: &instances::Launch<'_>, ended: usize, replaces: Option<&str>) -> String {
    hex::encode(Sha256::digest(format!("{launch:?} {ended} {}", replaces.unwrap_or_default())))
}

#[cfg(test)]
mod tests {
    use templates::Slot;

    use super::*;
    use crate::aws::mock::{ec2, ec2_error};
    use crate::model::desired::tests::desired;

    #[tokio::test]
    async fn a_profile_that_ec2_does_not_know_yet_is_waited_for_and_other_errors_are_not() {
        let answers = |message: &'static str| {
            aws_smithy_mocks::mock!(aws_sdk_ec2::Client::run_instances)
                .then_http_response(move || ec2_error(400, "InvalidParameterValue", message))
        };
        let tags = Tags::default();
        let launch = instances::Launch { template: "lt-1", version: 1, subnet: "subnet-a", tags: &tags };
        for message in [
            "Value (elbow-eu-west-1-web) for parameter iamInstanceProfile.name is invalid. Invalid IAM Instance Profile name",
            "IAM Instance Profile \"arn:aws:iam::1:instance-profile/elbow-eu-west-1-web\" has no associated IAM Roles",
        ] {
            let error = instances::launch(&ec2(&[&answers(message)]), &launch, "t").await.unwrap_err();
            assert!(is_spreading(&error), "{error}");
        }
        let other = answers("Value () for parameter subnetId is invalid");
        let error = instances::launch(&ec2(&[&other]), &launch, "t").await.unwrap_err();
        assert!(!is_spreading(&error), "{error}");
        assert!(!is_overtaken(&error), "{error}");
        let deregistered = || ec2_error(400, "InvalidAMIID.NotFound", "The image id '[ami-1]' does not exist");
        let deregistered = aws_smithy_mocks::mock!(aws_sdk_ec2::Client::run_instances).then_http_response(deregistered);
        let error = instances::launch(&ec2(&[&deregistered]), &launch, "t").await.unwrap_err();
        assert!(!is_overtaken(&error) && error.to_string().contains("--new-image"), "{error}");
    }

    #[test]
    fn a_token_is_the_same_for_the_same_launch_only() {
        let place = Place { slot: Slot(0), subnet: "subnet-a".into(), ended: 0, order: None, replaces: None };
        let tags = |place: &Place| node_tags(&desired(), place);
        let (mine, of_slot_1) = (tags(&place), tags(&Place { slot: Slot(1), ..place.clone() }));
        let ordered = tags(&Place { order: "1:0123456789ab".parse().ok(), ..place });
        let launch = instances::Launch { template: "lt-1", version: 1, subnet: "subnet-a", tags: &mine };
        let first = token(&launch, 0, None);
        assert_eq!(first, token(&launch.clone(), 0, None));
        assert_eq!(first.len(), 64);
        for other in [
            token(&instances::Launch { template: "lt-2", ..launch.clone() }, 0, None),
            token(&instances::Launch { version: 2, ..launch.clone() }, 0, None),
            token(&instances::Launch { subnet: "subnet-b", ..launch.clone() }, 0, None),
            token(&instances::Launch { tags: &of_slot_1, ..launch.clone() }, 0, None),
            token(&instances::Launch { tags: &ordered, ..launch.clone() }, 0, None),
            token(&launch, 1, None),
            // A rollback to what the slot's first node was launched from.
            token(&launch, 0, Some("i-0")),
        ] {
            assert_ne!(first, other);
        }
    }
}
