//! `doctor`: checks whether a balancer's file, account and network fit each other.
//!
//! A check is a pure function from what was read ([`facts`]) to findings; [`read`] makes the calls. `create` runs the same
//! checks before its first change.

mod access_lists;
mod case;
mod clients;
mod dns;
mod drift;
pub mod facts;
mod file;
mod finding;
mod ids;
mod network_acls;
mod outbound;
mod permissions;
pub mod read;
pub mod report;
mod subnets;
mod tables;
mod targets;
#[cfg(test)]
mod tests;
mod ways;

pub use case::Case;
pub use finding::{Finding, Status};
pub use ids::Id;

/// Every finding, in the order of the checks: those that block a first request come first.
pub fn examine(case: &Case<'_>) -> Vec<Finding> {
    let checks: [fn(&Case<'_>) -> Vec<Finding>; 21] = [
        permissions::credentials,
        permissions::permissions,
        file::fits,
        subnets::addresses,
        ways::ec2_api,
        ways::auto_scaling_api,
        ways::s3,
        ways::internet,
        ways::endpoint_groups,
        dns::attributes,
        outbound::rules,
        network_acls::nodes,
        network_acls::targets,
        targets::security_groups,
        clients::edge_tables,
        clients::connections,
        tables::terraform,
        tables::routes,
        file::rules,
        file::vcpus,
        drift::drift,
    ];
    checks.iter().flat_map(|check| check(case)).collect()
}
