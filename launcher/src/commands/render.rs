//! `render`: prints the files of a balancer without a call to AWS.

use std::net::Ipv4Addr;
use std::path::Path;

use templates::Balancer;
use templates::files::{self, HaproxyNode, KeepalivedNode, USER_DATA_LIMIT};

use crate::aws::check_region;
use crate::cli::{Cli, NodeArgs, Render};
use crate::model::balancer_file::read_balancer;
use crate::output;
use crate::output::failure::Failure;

/// The longest policies that IAM accepts, in characters without white space (IAM User Guide, "IAM and AWS STS quotas").
const MANAGED_POLICY_LIMIT: usize = 6_144;
const ROLE_POLICY_LIMIT: usize = 10_240;

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
            let address = match node.members.is_empty() && !balancer.shares_tables() {
                true => check_slot(&balancer, node).map(|()| alone.address)?,
                false => member(&balancer, node)?,
            };
            let memory_mb = memory.unwrap_or(alone.memory_mb);
            text(files::haproxy_cfg(&HaproxyNode { address, peers: &node.members, memory_mb, ..alone }))
        }
        Render::Keepalived { file, node, interface } => {
            let balancer = read_balancer(file)?;
            let address = member(&balancer, node)?;
            let peers: Vec<_> = node.members.iter().copied().filter(|peer| *peer != address).collect();
            let node = KeepalivedNode { balancer: &balancer, slot: node.slot, address, peers: &peers, interface };
            text(files::keepalived_conf(&node))
        }
        Render::Policy { file } => text(files::permission_policy(&read_balancer(file)?, &region(cli)?)),
        Render::OperatorPolicy { file } => {
            let policy = files::operator_policy(&read_balancer(file)?, &region(cli)?);
            too_long(&policy).iter().for_each(|warning| output::warn(warning));
            text(policy)
        }
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

/// The address of the node in `--slot`.
fn member(balancer: &Balancer, node: &NodeArgs) -> Result<Ipv4Addr, Failure> {
    check_slot(balancer, node)?;
    let (members, number) = (&node.members, balancer.subnets.len());
    let repeated = members.iter().enumerate().find(|(index, member)| members[..*index].contains(member));
    if let Some((_, member)) = repeated {
        return Err(Failure::bad_input(format!("--members: {member} is there twice")));
    }
    let member = members.get(usize::from(node.slot.0)).filter(|_| members.len() == number);
    member.copied().ok_or_else(|| {
        let why = if members.is_empty() { "the rendered file names every node: " } else { "" };
        let given = members.len();
        Failure::bad_input(format!(
            "--members: {why}write {number} addresses, one for each of the balancer's subnets, not {given}"
        ))
    })
}

fn check_slot(balancer: &Balancer, node: &NodeArgs) -> Result<(), Failure> {
    let number = balancer.subnets.len();
    match usize::from(node.slot.0) < number {
        true => Ok(()),
        false => {
            let (slot, last) = (node.slot, number - 1);
            Err(Failure::bad_input(format!(
                "--slot {slot}: the balancer has {number} subnets: write a slot from 0 to {last}"
            )))
        }
    }
}

/// A warning, if IAM doesn't accept this policy everywhere.
fn too_long(policy: &str) -> Option<String> {
    let size = policy.chars().filter(|character| !character.is_whitespace()).count();
    let said = format!("the policy has {size} characters without white space, and IAM accepts");
    match size {
        size if size <= MANAGED_POLICY_LIMIT => None,
        size if size <= ROLE_POLICY_LIMIT => Some(format!(
            "{said} {MANAGED_POLICY_LIMIT} in a managed policy: split its statements into several managed policies, or put \
             it inline into a role, which holds {ROLE_POLICY_LIMIT}"
        )),
        _ => Some(format!(
            "{said} {MANAGED_POLICY_LIMIT} in a managed policy and {ROLE_POLICY_LIMIT} in a role's inline policies: split its \
             statements into several managed policies"
        )),
    }
}

/// The Region from the command line or the environment; `render` makes no AWS call and reads no profile.
fn region(cli: &Cli) -> Result<String, Failure> {
    let variables = ["AWS_REGION", "AWS_DEFAULT_REGION"].into_iter();
    let environment = variables.filter_map(|name| std::env::var(name).ok()).find(|region| !region.is_empty());
    let region = cli.region.clone().or(environment);
    let region = region.ok_or_else(|| Failure::bad_input("no region: use --region or set AWS_REGION"))?;
    check_region(&region).map(|()| region)
}

#[cfg(test)]
mod tests {
    use super::too_long;

    #[test]
    fn a_policy_beyond_a_limit_of_iam_gets_a_warning_with_the_size() {
        let of = |size: usize| too_long(&format!("{} \n", "x".repeat(size)));
        assert_eq!(of(6_144), None);
        for (size, words) in [
            (6_145, "6145 characters without white space, and IAM accepts 6144 in a managed policy: split"),
            (10_240, "inline into a role, which holds 10240"),
            (
                10_241,
                "10241 characters without white space, and IAM accepts 6144 in a managed policy and 10240 in a role",
            ),
        ] {
            let said = of(size).unwrap_or_default();
            assert!(said.contains(words), "{said:?}\nnot: {words}");
        }
    }
}
