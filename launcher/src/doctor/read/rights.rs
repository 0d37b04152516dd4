//! Asks AWS whether the caller may make the calls of `create`, without making them.

use aws_sdk_ec2::types::{InstanceType, LaunchTemplateSpecification, RequestLaunchTemplateData, ResourceType};
use aws_sdk_iam::types::{ContextEntry, ContextKeyTypeEnum, EvaluationResult, PolicyEvaluationDecisionType};
use templates::balancer::Launch;
use templates::{Balancer, names};

use crate::aws::Aws;
use crate::aws::error::{CallFailed, Named};
use crate::doctor::facts::{Answer, Permission};
use crate::doctor::permissions::{Identity, dry_run, identity, launch_without_template};
use crate::model::discover::Surroundings;
use crate::model::observe::Observed;
use crate::model::tags::Tags;
use crate::resources::launch_template::LAUNCHED;
use crate::resources::network::Caller;

/// The calls that make the nodes' role, and pass it.
const ROLE: [&str; 4] = ["iam:CreateRole", "iam:TagRole", "iam:PutRolePolicy", "iam:PassRole"];
/// The calls that make the instance profile.
const PROFILE: [&str; 3] = ["iam:CreateInstanceProfile", "iam:TagInstanceProfile", "iam:AddRoleToInstanceProfile"];

/// The permissions for what `create` would make.
pub async fn permissions(aws: &Aws, balancer: &Balancer, place: &Surroundings, observed: &Observed) -> Vec<Permission> {
    let (group, template, launch, iam) = futures::join!(
        security_group(aws, balancer, observed),
        launch_template(aws, balancer, observed),
        launch(aws, balancer, place, observed),
        roles(aws, balancer, place, observed),
    );
    let ec2 =
        [("ec2:CreateSecurityGroup", group), ("ec2:CreateLaunchTemplate", template), ("ec2:RunInstances", launch)];
    let ec2 =
        ec2.into_iter().filter_map(|(action, answer)| Some(Permission { action: action.to_owned(), answer: answer? }));
    ec2.chain(iam).collect()
}

async fn security_group(aws: &Aws, balancer: &Balancer, observed: &Observed) -> Option<Answer> {
    if observed.group(&balancer.vpc).is_some() {
        return None;
    }
    let name = names::regional(&balancer.name);
    let tags = Tags::of(&balancer.name, &balancer.vpc).and(&balancer.tags).specification(ResourceType::SecurityGroup);
    let call = aws.ec2.create_security_group().group_name(&name).description(&name).vpc_id(&balancer.vpc);
    let outcome = call.tag_specifications(tags).dry_run(true).send().await;
    Some(dry_run(outcome.named("ec2:CreateSecurityGroup", name).map(drop)))
}

async fn launch_template(aws: &Aws, balancer: &Balancer, observed: &Observed) -> Option<Answer> {
    if observed.template.is_some() {
        return None;
    }
    let name = names::regional(&balancer.name);
    let tags = Tags::of(&balancer.name, &balancer.vpc).and(&balancer.tags).specification(ResourceType::LaunchTemplate);
    let kind = InstanceType::from(balancer.instance_type.as_str());
    let data = RequestLaunchTemplateData::builder().instance_type(kind).build();
    let call = aws.ec2.create_launch_template().launch_template_name(&name).launch_template_data(data);
    let outcome = call.tag_specifications(tags).dry_run(true).send().await;
    Some(dry_run(outcome.named("ec2:CreateLaunchTemplate", name).map(drop)))
}

/// A group launches nodes with the rights of the caller, too, but only the launcher's own launches can be tried.
async fn launch(aws: &Aws, balancer: &Balancer, place: &Surroundings, observed: &Observed) -> Option<Answer> {
    let empty = |subnet: &&String| !observed.live().any(|node| node.subnet == **subnet);
    let subnet = balancer.subnets.iter().find(empty).filter(|_| balancer.launch == Launch::Instances)?;
    let tags = Tags::of(&balancer.name, &balancer.vpc).and(&balancer.tags);
    let call = aws.ec2.run_instances().subnet_id(subnet).min_count(1).max_count(1).dry_run(true);
    let call = call.set_tag_specifications(Some(LAUNCHED.map(|kind| tags.specification(kind)).to_vec()));
    let template = observed.template.as_ref().map(|template| {
        let specification = LaunchTemplateSpecification::builder().launch_template_id(&template.id);
        specification.version(template.version.to_string()).build()
    });
    Some(match template {
        Some(template) => {
            let outcome = call.launch_template(template).send().await;
            dry_run(outcome.named("ec2:RunInstances", subnet).map(drop))
        }
        None => {
            let kind = InstanceType::from(balancer.instance_type.as_str());
            let outcome = call.image_id(place.image_id.as_deref()?).instance_type(kind).send().await;
            launch_without_template(dry_run(outcome.named("ec2:RunInstances", subnet).map(drop)))
        }
    })
}

async fn roles(aws: &Aws, balancer: &Balancer, place: &Surroundings, observed: &Observed) -> Vec<Permission> {
    let unclear = |why: String| {
        let action = "iam:CreateRole and what else IAM needs".to_owned();
        vec![Permission { action, answer: Answer::Unclear(why) }]
    };
    let actions = |is_made: bool, actions: &'static [&'static str]| if is_made { actions } else { &[] };
    let role = actions(balancer.iam.owns_role() && observed.role.is_none(), &ROLE);
    let profile = actions(balancer.iam.owns_profile() && observed.profile.is_none(), &PROFILE);
    if role.is_empty() && profile.is_empty() {
        return Vec::new();
    }
    let Caller { account, arn: caller } = &place.caller;
    let source = match identity(caller) {
        Some(Identity::Arn(arn)) => arn,
        Some(Identity::Root) => return Vec::new(),
        None => return unclear(format!("IAM doesn't simulate {caller}")),
    };
    let partition = caller.split(':').nth(1).unwrap_or("aws");
    let name = names::global(&place.region, &balancer.name);
    let arn = |kind: &str| format!("arn:{partition}:iam::{account}:{kind}{}{name}", balancer.iam.path());
    let boundary = balancer.iam.permissions_boundary.as_deref();
    let (role, profile) = futures::join!(
        simulate(aws, &source, arn("role"), role, boundary),
        simulate(aws, &source, arn("instance-profile"), profile, None)
    );
    match (role, profile) {
        (Ok(role), Ok(profile)) => role.into_iter().chain(profile).collect(),
        (Err(error), _) | (_, Err(error)) => unclear(error.to_string()),
    }
}

/// IAM's answers for these actions on a resource (IAM API reference, SimulatePrincipalPolicy).
async fn simulate(
    aws: &Aws,
    source: &str,
    resource: String,
    actions: &[&str],
    boundary: Option<&str>,
) -> Result<Vec<Permission>, CallFailed> {
    if actions.is_empty() {
        return Ok(Vec::new());
    }
    let entry = |(key, value): (&str, &str)| {
        let entry = ContextEntry::builder().context_key_name(key).context_key_values(value);
        entry.context_key_type(ContextKeyTypeEnum::String).build()
    };
    let keys = [("iam:PassedToService", Some("ec2.amazonaws.com")), ("iam:PermissionsBoundary", boundary)];
    let entries = keys.into_iter().filter_map(|(key, value)| Some(entry((key, value?))));
    let call = aws.iam.simulate_principal_policy().policy_source_arn(source).resource_arns(resource);
    let call = call.set_action_names(Some(actions.iter().map(|action| (*action).to_owned()).collect()));
    let pages = call.set_context_entries(Some(entries.collect())).into_paginator().items().send();
    let results = pages.collect::<Result<Vec<_>, _>>().await.named("iam:SimulatePrincipalPolicy", source)?;
    Ok(results.iter().map(permission).collect())
}

fn permission(result: &EvaluationResult) -> Permission {
    let missing = result.missing_context_values();
    let answer = match result.eval_decision() {
        PolicyEvaluationDecisionType::Allowed => Answer::Allowed,
        PolicyEvaluationDecisionType::ExplicitDeny if missing.is_empty() => {
            Answer::Denied("a policy denies it".to_owned())
        }
        _ if missing.is_empty() => Answer::Denied("no policy allows it".to_owned()),
        _ => Answer::Unclear(format!("it depends on {}", missing.join(", "))),
    };
    Permission { action: result.eval_action_name().to_owned(), answer }
}
