//! A node's part, played by the test: no instance runs here, so the reports and routes that a booted node would make are made
//! by the AWS CLI, with the instance's own credentials and so with no more rights than a node has.

use std::process::Command;

use lab::dir::LabDir;
use lab::world::Instance;

use crate::rig::{Rig, succeeded};

/// Says that the node runs this revision in this role, as its agent would.
pub fn report(rig: &Rig, node: &Instance, revision: &str, role: &str) {
    let tags = [format!("Key=elbow:running,Value={revision}"), format!("Key=elbow:role,Value={role}")];
    let slot = format!("Key=elbow:claim,Value={}", node.tags["elbow:slot"]);
    aws(rig, node, &["ec2", "create-tags", "--resources", &node.id, "--tags", &tags[0], &tags[1], &slot]);
}

/// Makes the virtual IP's route in every table that can hold it.
pub fn take_over(rig: &Rig, node: &Instance) {
    for table in rig.world().route_tables {
        if node.vpc.as_ref() == Some(&table.vpc) && table.gateways.is_empty() {
            route(rig, node, &table.id);
        }
    }
}

/// Makes the virtual IP's route in one table.
pub fn route(rig: &Rig, node: &Instance, table: &str) {
    let interface = node.interface.as_deref().expect("a running instance has an interface");
    let to = ["--destination-cidr-block", "10.255.0.10/32", "--network-interface-id", interface];
    aws(rig, node, &[&["ec2", "create-route", "--route-table-id", table][..], &to].concat());
}

/// Both nodes as they are when all is well.
pub fn serve(rig: &Rig) {
    let nodes = rig.nodes();
    let revision = revision(rig);
    take_over(rig, &nodes[0]);
    report(rig, &nodes[0], &revision, "active");
    report(rig, &nodes[1], &revision, "standby");
}

/// What the launch template says that its nodes run.
pub fn revision(rig: &Rig) -> String {
    let query = ["--query", "LaunchTemplateVersions[0].VersionDescription", "--output", "text"];
    rig.aws(
        &[&["ec2", "describe-launch-template-versions", "--launch-template-name", "elbow-web"][..], &query].concat(),
    )
}

fn aws(rig: &Rig, node: &Instance, arguments: &[&str]) {
    let credentials = rig.api.credentials_of(&node.id).expect("the instance has a role");
    let program = LabDir::open().expect("the lab's folder").venv().join("bin/aws");
    let output = Command::new(program)
        .args(arguments)
        .envs(rig.api.environment())
        .env("AWS_ACCESS_KEY_ID", credentials.access_key_id)
        .env("AWS_SECRET_ACCESS_KEY", credentials.secret_access_key)
        .env("AWS_SESSION_TOKEN", credentials.token)
        .output();
    succeeded(output.expect("the AWS CLI starts"));
}
