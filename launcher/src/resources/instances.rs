//! EC2 instances: finds, launches, starts, stops and terminates a balancer's nodes.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_ec2::Client;
use aws_sdk_ec2::types::{Filter, Instance, LaunchTemplateSpecification};
use jiff::Timestamp;
use templates::names::TAG_BALANCER;
use templates::{Slot, names};

use crate::assess::reachability;
use crate::aws::PAGE;
use crate::aws::error::{CallFailed, Named, known};
use crate::model::identity::{Instances, Signs, Standing, TAG_TEMPLATE, sort_out};
use crate::model::node::Node;
use crate::model::tags::Tags;
use crate::resources::launch_template::{self, LAUNCHED};

/// A balancer's nodes in these subnets, ended ones too, by slot.
pub async fn find(ec2: &Client, balancer: &str, subnets: &[String]) -> Result<Vec<Node>, CallFailed> {
    let found = filtered(ec2, by_tag(balancer), balancer).await?;
    let mut nodes = sorted(ec2, balancer, found).await?.nodes;
    number(&mut nodes, subnets);
    Ok(nodes)
}

/// Sets the nodes' slots by their balancer's subnets, and sorts the nodes. Of several live nodes in one subnet the slot
/// names the first by launch index, then by instance.
pub fn number(nodes: &mut [Node], subnets: &[String]) {
    for node in nodes.iter_mut() {
        node.slot = Some(Slot::of(&node.subnet, subnets)).filter(|slot| *slot != Slot::UNLISTED);
    }
    nodes.sort_by(|a, b| (a.slot, a.launch_index, &a.id).cmp(&(b.slot, b.launch_index, &b.id)));
    let mut taken = BTreeSet::new();
    for node in nodes {
        node.named = node.slot.filter(|slot| node.is_live() && taken.insert(*slot));
    }
}

/// A balancer's nodes, untagged ones too, and other instances with its tag or its security group.
pub async fn look(ec2: &Client, balancer: &str) -> Result<Instances, CallFailed> {
    let group = Filter::builder().name("instance.group-name").values(names::regional(balancer)).build();
    let (tagged, grouped) =
        futures::try_join!(filtered(ec2, by_tag(balancer), balancer), filtered(ec2, group, balancer))?;
    sorted(ec2, balancer, tagged.into_iter().chain(grouped).collect()).await
}

fn by_tag(balancer: &str) -> Filter {
    Filter::builder().name(format!("tag:{TAG_BALANCER}")).values(balancer).build()
}

/// Reads the launch template's id only if no other sign tells an instance from a stranger.
async fn sorted(ec2: &Client, balancer: &str, found: Vec<Node>) -> Result<Instances, CallFailed> {
    let region = ec2.config().region().map(|region| region.to_string()).unwrap_or_default();
    let mut signs = Signs::of(&region, balancer);
    let unsure = |node: &Node| {
        matches!(signs.standing(balancer, node), Standing::Stranger | Standing::Guest)
            && node.tags.get(TAG_TEMPLATE).is_some()
    };
    if found.iter().any(unsure) {
        signs.template = launch_template::find(ec2, &names::regional(balancer)).await?.map(|template| template.id);
    }
    Ok(sort_out(balancer, &signs, found))
}

/// Every instance that has a tag with this key.
pub async fn tagged(ec2: &Client, key: &str) -> Result<Vec<Node>, CallFailed> {
    filtered(ec2, Filter::builder().name("tag-key").values(key).build(), key).await
}

/// The balancer's instances that can be read zone by zone, by their network interfaces. The fallback if [`find`] fails:
/// a call with the ids of one zone doesn't depend on other zones.
pub async fn find_by_interfaces(ec2: &Client, balancer: &str) -> Instances {
    let pages =
        ec2.describe_network_interfaces().filters(by_tag(balancer)).into_paginator().page_size(PAGE).items().send();
    let mut zones: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for interface in pages.collect::<Result<Vec<_>, _>>().await.unwrap_or_default() {
        if let Some(id) = interface.attachment().and_then(|attachment| attachment.instance_id()) {
            zones.entry(interface.availability_zone().unwrap_or_default().to_owned()).or_default().push(id.to_owned());
        }
    }
    let of_zone = |ids: Vec<String>| ec2.describe_instances().set_instance_ids(Some(ids)).send();
    let answers = futures::future::join_all(zones.into_values().map(of_zone)).await;
    let reservations = answers.iter().flatten().flat_map(|answer| answer.reservations());
    let found = marked(reservations.flat_map(|group| group.instances()).map(node).collect());
    sorted(ec2, balancer, found).await.unwrap_or_default()
}

async fn filtered(ec2: &Client, filter: Filter, object: &str) -> Result<Vec<Node>, CallFailed> {
    let pages = ec2.describe_instances().filters(filter).into_paginator().page_size(PAGE).items().send();
    let reservations = pages.collect::<Result<Vec<_>, _>>().await.named("ec2:DescribeInstances", object)?;
    Ok(marked(reservations.iter().flat_map(|group| group.instances()).map(node).collect()))
}

/// Sorts the nodes and marks the unreachable ones.
fn marked(mut nodes: Vec<Node>) -> Vec<Node> {
    nodes.sort_by(|a, b| a.id.cmp(&b.id));
    reachability::mark(&mut nodes, Timestamp::now());
    nodes
}

fn node(instance: &Instance) -> Node {
    let state = instance.state().and_then(|state| state.name()).map(|name| name.as_str()).unwrap_or("pending");
    let zone = instance.placement().and_then(|placement| placement.availability_zone());
    let interfaces = instance.network_interfaces().iter();
    let of_interfaces = instance.network_interfaces().iter().flat_map(|eni| eni.groups());
    let groups = instance.security_groups().iter().chain(of_interfaces).filter_map(|group| group.group_name());
    let volumes = instance.block_device_mappings().iter().filter_map(|device| device.ebs()?.volume_id());
    // arn:aws:iam::123456789012:instance-profile/path/name
    let profile = instance.iam_instance_profile().and_then(|profile| profile.arn()?.rsplit('/').next());
    Node {
        id: instance.instance_id().unwrap_or_default().to_owned(),
        state: state.to_owned(),
        reason: instance.state_reason().and_then(|reason| reason.message()).map(str::to_owned),
        image: instance.image_id().unwrap_or_default().to_owned(),
        vpc: instance.vpc_id().unwrap_or_default().to_owned(),
        zone: zone.unwrap_or_default().to_owned(),
        subnet: instance.subnet_id().unwrap_or_default().to_owned(),
        launch_index: instance.ami_launch_index().unwrap_or_default(),
        slot: None,
        named: None,
        address: instance.private_ip_address().map(str::to_owned),
        interfaces: interfaces.filter_map(|eni| eni.network_interface_id()).map(str::to_owned).collect(),
        volumes: volumes.map(str::to_owned).collect(),
        groups: groups.map(str::to_owned).collect(),
        profile: profile.map(str::to_owned),
        tags: Tags::from(instance.tags()),
        launched: instance.launch_time().and_then(|time| Timestamp::from_second(time.secs()).ok()),
        unreachable: None,
    }
}

/// What to launch and where.
#[derive(Debug, Clone)]
pub struct Launch<'a> {
    /// The launch template's id.
    pub template: &'a str,
    pub version: i64,
    pub subnet: &'a str,
    /// The tags of the instance, its interfaces and volumes.
    pub tags: &'a Tags,
}

/// Launches one instance and returns its id. `token` is the idempotency token.
pub async fn launch(ec2: &Client, launch: &Launch<'_>, token: &str) -> Result<String, CallFailed> {
    let template = LaunchTemplateSpecification::builder()
        .launch_template_id(launch.template)
        .version(launch.version.to_string())
        .build();
    let made = ec2
        .run_instances()
        .launch_template(template)
        .subnet_id(launch.subnet)
        .min_count(1)
        .max_count(1)
        .client_token(token)
        .set_tag_specifications(Some(LAUNCHED.map(|kind| launch.tags.specification(kind)).to_vec()))
        .send()
        .await
        .named("ec2:RunInstances", launch.subnet)?;
    Ok(made.instances().first().and_then(|instance| instance.instance_id()).unwrap_or_default().to_owned())
}

/// Starts a stopped instance.
pub async fn start(ec2: &Client, id: &str) -> Result<(), CallFailed> {
    ec2.start_instances().instance_ids(id).send().await.named("ec2:StartInstances", id).map(drop)
}

/// Shuts instances down. Their agents hand over.
pub async fn stop(ec2: &Client, ids: &[String]) -> Result<(), CallFailed> {
    let call = ec2.stop_instances().set_instance_ids(Some(ids.to_vec()));
    call.send().await.named("ec2:StopInstances", ids.join(" ")).map(drop)
}

/// Terminates instances. Absent ones are no error.
pub async fn terminate(ec2: &Client, ids: &[String]) -> Result<(), CallFailed> {
    let call = async |ids: Vec<String>| {
        let object = ids.join(" ");
        ec2.terminate_instances().set_instance_ids(Some(ids)).send().await.named("ec2:TerminateInstances", object)
    };
    known(ids, call).await
}

/// An instance's console output, as far as AWS has it.
pub async fn console(ec2: &Client, id: &str) -> Result<String, CallFailed> {
    use base64::Engine;
    let output =
        ec2.get_console_output().instance_id(id).latest(true).send().await.named("ec2:GetConsoleOutput", id)?;
    let bytes = base64::engine::general_purpose::STANDARD.decode(output.output().unwrap_or_default().trim());
    Ok(String::from_utf8_lossy(&bytes.unwrap_or_default()).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_is_a_subnets_index_and_names_the_first_node_by_launch_index_and_instance() {
        let node = |id: &str, subnet: &str, launch_index: i32, state: &str| Node {
            id: id.into(),
            subnet: subnet.into(),
            launch_index,
            state: state.into(),
            ..Node::default()
        };
        let mut nodes = [
            node("i-d", "subnet-c", 0, "running"),
            node("i-a", "subnet-b", 1, "running"),
            node("i-c", "subnet-b", 0, "running"),
            node("i-b", "subnet-b", 0, "terminated"),
            node("i-e", "subnet-a", 0, "running"),
            node("i-0", "", 0, "terminated"),
        ];
        number(&mut nodes, &["subnet-a".into(), "subnet-b".into()]);
        let found = nodes.map(|node| (node.id, node.slot.map(|slot| slot.0), node.named.map(|slot| slot.0)));
        let expected = [
            ("i-0", None, None),
            ("i-d", None, None),
            ("i-e", Some(0), Some(0)),
            ("i-b", Some(1), None),
            ("i-c", Some(1), Some(1)),
            ("i-a", Some(1), None),
        ];
        assert_eq!(found, expected.map(|(id, slot, named)| (id.to_owned(), slot, named)));
    }
}
