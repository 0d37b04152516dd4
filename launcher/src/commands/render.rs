//! `render`: prints the files of a balancer without a call to AWS.

use std::path::Path;

use templates::files::{self, HaproxyNode, KeepalivedNode, USER_DATA_LIMIT};

use crate::aws::check_region;
use crate::cli::{Cli, NodeArgs, Render};
use crate::model::balancer_file::read_balancer;
use crate::output;
use crate::output::failure::Failure;

pub fn run(cli: &Cli, what: &Render) -> Result<(), Failure> {
    match what {
        Render::UserData { file, gzip: true } => {
            let bytes = files::user_data_gzip(&read_balancer(file)?).map_err(|big| too_big(file, &big))?;
            output::write(&bytes)
        }
        Render::UserData { file, gzip: false } => {
            let plain = files::user_data(&read_balancer(file)?);
            if plain.len() > USER_DATA_LIMIT {
                let size = plain.len();
                output::warn(&format!("user-data is {size} bytes, and EC2 accepts {USER_DATA_LIMIT}: use --gzip"));
            }
            text(plain)
        }
        Render::LaunchTemplate { file, security_group } => {
            let balancer = read_balancer(file)?;
            let rendered = files::launch_template(&balancer, &region(cli)?, security_group);
            text(rendered.map_err(|big| too_big(file, &big))?)
        }
        Render::Install { file } => text(files::install_script(&read_balancer(file)?)),
        Render::Unit { file } => read_balancer(file).and_then(|balancer| text(files::agent_unit(&balancer))),
        Render::Haproxy { file, node, memory } => {
            let balancer = read_balancer(file)?;
            let alone = HaproxyNode::typical(&balancer);
            let address = if node.members.is_empty() { alone.address } else { member(node)? };
            let memory_mb = memory.unwrap_or(alone.memory_mb);
            text(files::haproxy_cfg(&HaproxyNode { address, peers: &node.members, memory_mb, ..alone }))
        }
        Render::Keepalived { file, node, interface } => {
            let balancer = read_balancer(file)?;
            let address = member(node)?;
            let peers: Vec<_> = node.members.iter().copied().filter(|peer| *peer != address).collect();
            let node = KeepalivedNode { balancer: &balancer, slot: node.slot, address, peers: &peers, interface };
            text(files::keepalived_conf(&node))
        }
        Render::Policy { file } => text(files::permission_policy(&read_balancer(file)?, &region(cli)?)),
        Render::OperatorPolicy { file } => text(files::operator_policy(&read_balancer(file)?, &region(cli)?)),
        Render::TrustPolicy { file } => read_balancer(file).and_then(|_| text(files::trust_policy())),
    }
}

/// The failure for user-data that EC2 would reject.
pub fn too_big(file: &Path, big: &files::TooBig) -> Failure {
    Failure::bad_input(format!("{}: {big}", file.display()))
}

fn text(text: String) -> Result<(), Failure> {
    output::file(&text)
}

fn member(node: &NodeArgs) -> Result<std::net::Ipv4Addr, Failure> {
    let twice = node.members.iter().enumerate().find(|(index, member)| node.members[..*index].contains(member));
    if let Some((_, member)) = twice {
        return Err(Failure::bad_input(format!("--members: {member} is there twice")));
    }
    node.members.get(usize::from(node.slot.0)).copied().ok_or_else(|| {
        Failure::bad_input(format!(
            "--slot {} needs --members with at least {} addresses, one for each slot",
            node.slot,
            node.slot.0 + 1
        ))
    })
}

/// The Region from the command line or the environment; `render` makes no AWS call and reads no profile.
fn region(cli: &Cli) -> Result<String, Failure> {
    let variables = ["AWS_REGION", "AWS_DEFAULT_REGION"].into_iter();
    let environment = variables.filter_map(|name| std::env::var(name).ok()).find(|region| !region.is_empty());
    let region = cli.region.clone().or(environment);
    let region = region.ok_or_else(|| Failure::bad_input("no region: use --region or set AWS_REGION"))?;
    check_region(&region).map(|()| region)
}
