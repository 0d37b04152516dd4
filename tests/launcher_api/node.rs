//! Stands in for nodes, as no instance boots here: writes their tags and routes with the instances' own credentials,
//! and so with the rights of a node.

use aws_config::{BehaviorVersion, Region};
use aws_credential_types::Credentials;
use aws_sdk_ec2::types::Tag;
use lab::world::Instance;

use crate::rig::Rig;

/// The first tag in which an active node reports on the targets.
pub const TARGETS: &str = "elbow:targets-1";

/// Writes the tags of a node that runs this revision in this role, and reaches each virtual IP as a standby. An active one
/// reports that the example's targets are healthy, unless it has reported otherwise.
pub fn report(rig: &Rig, node: &Instance, revision: &str, role: &str) {
    let reached = role.split(' ').map(|role| if role == "standby" { "yes" } else { "-" });
    let reached = reached.collect::<Vec<_>>().join(" ");
    let targets = node.tags.get(TARGETS).map_or("http=2/2", String::as_str);
    let active = [(TARGETS, targets)].into_iter().filter(|_| role.contains("active"));
    let tags = [("elbow:running", revision), ("elbow:role", role), ("elbow:reached", reached.as_str())];
    tag(rig, node, &tags.into_iter().chain(active).collect::<Vec<_>>());
}

/// Writes tags of the node.
pub fn tag(rig: &Rig, node: &Instance, tags: &[(&str, &str)]) {
    let tags = tags.iter().map(|(key, value)| Tag::builder().key(*key).value(*value).build()).collect();
    done(client(rig, node).create_tags().resources(&node.id).set_tags(Some(tags)).send());
}

/// Deletes tags of the node.
pub fn untag(rig: &Rig, node: &Instance, keys: &[&str]) {
    let tags = keys.iter().map(|key| Tag::builder().key(*key).build()).collect();
    done(client(rig, node).delete_tags().resources(&node.id).set_tags(Some(tags)).send());
}

/// Creates the virtual IP's route in each table of the VPC that isn't a gateway's.
pub fn take_over(rig: &Rig, node: &Instance) {
    for table in rig.world().route_tables {
        if node.vpc.as_ref() == Some(&table.vpc) && table.gateways.is_empty() {
            route(rig, node, &table.id);
        }
    }
}

/// Creates the virtual IP's route in one table.
pub fn route(rig: &Rig, node: &Instance, table: &str) {
    let interface = node.interface.as_deref().expect("a running instance has an interface");
    let call = client(rig, node).create_route().route_table_id(table).network_interface_id(interface);
    done(call.destination_cidr_block("10.255.0.10/32").send());
}

/// Replaces the virtual IP's routes, so that all of them lead to this node.
pub fn succeed(rig: &Rig, node: &Instance) {
    let interface = node.interface.as_deref().expect("a running instance has an interface");
    for table in rig.world().route_tables {
        if node.vpc.as_ref() == Some(&table.vpc) && table.gateways.is_empty() {
            let call = client(rig, node).replace_route().route_table_id(&table.id).network_interface_id(interface);
            done(call.destination_cidr_block("10.255.0.10/32").send());
        }
    }
}

/// Completes the lifecycle hook, if the node's Auto Scaling group waits at it.
pub fn complete(rig: &Rig, node: &Instance, hook: &str) {
    let client = aws_sdk_autoscaling::Client::from_conf(
        aws_sdk_autoscaling::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(rig.api.access().region.clone()))
            .endpoint_url(&rig.api.access().endpoint)
            .credentials_provider(credentials(rig, node))
            .http_client(aws_smithy_http_client::Builder::new().build_http())
            .build(),
    );
    let call = client.complete_lifecycle_action().auto_scaling_group_name("elbow-web").lifecycle_hook_name(hook);
    let call = call.lifecycle_action_result("CONTINUE").instance_id(&node.id).send();
    done(async {
        match call.await {
            Err(error) if format!("{error:?}").contains("No active Lifecycle Action") => Ok(()),
            outcome => outcome.map(drop),
        }
    });
}

/// Whether the node is in an Auto Scaling group.
pub fn is_grouped(node: &Instance) -> bool {
    node.tags.contains_key("aws:autoscaling:groupName")
}

/// Whether the node's group is terminating it.
pub fn is_ending(node: &Instance) -> bool {
    node.target_lifecycle_state.as_deref() == Some("Terminated")
}

/// Makes both nodes healthy: the first is active, the second standby.
pub fn serve(rig: &Rig) {
    let nodes = rig.nodes();
    let revision = revision(rig);
    take_over(rig, &nodes[0]);
    report(rig, &nodes[0], &revision, "active");
    report(rig, &nodes[1], &revision, "standby");
    nodes.iter().filter(|node| is_grouped(node)).for_each(|node| complete(rig, node, "standby"));
}

/// The revision of the launch template's default version.
pub fn revision(rig: &Rig) -> String {
    let query =
        ["--versions", "$Default", "--query", "LaunchTemplateVersions[0].VersionDescription", "--output", "text"];
    rig.aws(
        &[&["ec2", "describe-launch-template-versions", "--launch-template-name", "elbow-web"][..], &query].concat(),
    )
}

fn credentials(rig: &Rig, node: &Instance) -> Credentials {
    let role = rig.api.credentials_of(&node.id).expect("the instance has a role");
    Credentials::new(role.access_key_id, role.secret_access_key, Some(role.token), None, "role")
}

fn client(rig: &Rig, node: &Instance) -> aws_sdk_ec2::Client {
    let access = rig.api.access();
    let config = aws_sdk_ec2::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(access.region.clone()))
        .endpoint_url(&access.endpoint)
        .credentials_provider(credentials(rig, node))
        .http_client(aws_smithy_http_client::Builder::new().build_http());
    aws_sdk_ec2::Client::from_conf(config.build())
}

fn done<T, E: std::error::Error>(call: impl Future<Output = Result<T, E>>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    if let Err(error) = runtime.block_on(call) {
        panic!("a node's call failed: {error:?}");
    }
}
