//! Whether the file fits the account: the preflight's lines, and the sizes of what `create` makes. Pure.

use templates::balancer::Launch;

use super::case::Case;
use super::finding::{Finding, or_ok};
use super::ids::Id;
use crate::model::desired::{many, rules as wanted};
use crate::preflight::{self, Topic};

/// The preflight's problems, under the id of their topic, and an ok for each topic without one.
pub fn fits(case: &Case<'_>) -> Vec<Finding> {
    let found = preflight::by_topic(case.balancer, case.place, case.observed);
    let mut findings = Vec::new();
    for (topic, id, remedy, fine) in TOPICS {
        let lines = found.iter().filter(|(of, _)| *of == topic).map(|(_, line)| line);
        let problems = lines.map(|line| Finding::problem(id, line, remedy)).collect();
        findings.extend(or_ok(id, problems, fine));
    }
    let running = preflight::existing(case.balancer, case.observed);
    let differs = running.into_iter().map(|line| {
        Finding::warning(Id::RunningRevision, line, "`launcher update FILE --dry-run` shows the difference")
    });
    findings.extend(or_ok(Id::RunningRevision, differs.collect(), "no balancer of this name runs another revision"));
    findings
}

/// Each topic with its id, what to do about its problems, and what is said without one.
const TOPICS: [(Topic, Id, &str, &str); 7] = [
    (
        Topic::Name,
        Id::Name,
        "choose another name, or correct the resource's tags",
        "the name is free, or the balancer's own",
    ),
    (Topic::Vpc, Id::Vpc, "name a VPC of this account and Region", "the VPC exists in this account"),
    (
        Topic::VirtualIps,
        Id::VirtualIps,
        "choose a free address outside the VPC's networks",
        "the virtual IPs are free and outside the VPC's networks",
    ),
    (
        Topic::Subnets,
        Id::Subnets,
        "name subnets of the VPC in at least two zones that have the instance type",
        "the subnets are in the VPC, in at least two zones",
    ),
    (
        Topic::Machines,
        Id::ImageAndType,
        "name an available image and a Nitro type of its architecture",
        "image and instance type exist and fit each other",
    ),
    (
        Topic::Agent,
        Id::Agent,
        "then run doctor again",
        "the file names the agent, or the launcher or Elbow's bucket has it",
    ),
    (
        Topic::RouteTables,
        Id::RouteTables,
        "list route tables of the VPC, or write \"all\"",
        "the route tables can hold the routes",
    ),
];

/// Whether the security group's rules fit AWS's default quota.
pub fn rules(case: &Case<'_>) -> Vec<Finding> {
    let id = Id::SecurityGroupRules;
    let cidrs = case.place.vpc.as_ref().map(|vpc| vpc.cidrs.clone()).unwrap_or_default();
    let count = wanted(case.balancer, &cidrs).len();
    let above =
        many(count).map(|line| Finding::warning(id, line, "raise the quota before `launcher create` if it wasn't yet"));
    or_ok(id, above.into_iter().collect(), format!("the security group needs {count} rules"))
}

/// EC2's API doesn't show the quota of vCPUs. A launch beyond it fails with `VcpuLimitExceeded`.
pub fn vcpus(case: &Case<'_>) -> Vec<Finding> {
    let missing = case.missing();
    if missing == 0 {
        return Vec::new();
    }
    let by = match case.balancer.launch {
        Launch::Instances => "create",
        Launch::AutoScaling => "the Auto Scaling group",
    };
    vec![Finding::unknown(
        Id::VcpuQuota,
        format!("{by} launches {missing} {}, and EC2 doesn't show your quota of vCPUs", case.balancer.instance_type),
        "if a launch fails with VcpuLimitExceeded, raise the quota \"Running On-Demand Standard instances\"",
    )]
}
