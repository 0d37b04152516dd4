//! What Elbow calls what it makes. Names are deterministic, so that doing a thing twice finds what the first time made.

use crate::balancer::check::words::{has_prefix, is_label};

/// Tag: the balancer an AWS resource belongs to. Elbow touches nothing that doesn't carry it.
pub const TAG_BALANCER: &str = "elbow:balancer";
/// Tag: the VPC of that balancer.
pub const TAG_VPC: &str = "elbow:vpc";
/// Tag on a security group, with a virtual IP after it: it is this balancer's. The value says nothing.
pub const TAG_VIRTUAL_IP: &str = "elbow:virtual-ip:";
/// Tag on an instance, written by the launcher: the slot it was launched for.
pub const TAG_SLOT: &str = "elbow:slot";
/// Tag on an instance, written by its agent: the slot it took.
pub const TAG_CLAIM: &str = "elbow:claim";
/// Tag on an instance, written by its agent: its role for each virtual IP, see [`crate::Roles`].
pub const TAG_ROLE: &str = "elbow:role";
/// Tag on an instance, written by its agent: the revision it runs.
pub const TAG_RUNNING: &str = "elbow:running";
/// Tag on an instance, written by its agent: one line, when something is wrong; absent otherwise.
pub const TAG_MESSAGE: &str = "elbow:message";
/// Tag on an instance, written by the launcher: a request to hand over, see [`crate::handover::Request`].
pub const TAG_DRAIN: &str = "elbow:drain";

/// Tag on an instance, written by the launcher: the instance in whose place it is launched. It has that one's slot.
pub const TAG_REPLACES: &str = "elbow:replaces";
/// Tag on an instance, written by the launcher: what it should run, when that isn't what it booted with, see [`crate::Order`].
pub const TAG_REVISION: &str = "elbow:revision";
/// Tag on a launch template, written by the launcher: who updates the balancer at this moment, and since when.
pub const TAG_UPDATE: &str = "elbow:update";
/// Tag on a launch template, written by the launcher: the version that was the default before, as a [`crate::Order`].
pub const TAG_PREVIOUS: &str = "elbow:previous";
/// Tag on a launch template, written by the launcher: the versions that it made the default. Another one is somebody else's.
pub const TAG_MADE: &str = "elbow:made";

/// Why a balancer can't have this name. `elbow-<region>-<name>` must fit in the 64 characters of a role's name and be one
/// for security groups, launch templates and tags as well; and it is asked for by EC2's filters, where `*` and `?` stand
/// for anything.
pub fn check(balancer: &str) -> Result<(), String> {
    if is_label(balancer, 32) {
        return Ok(());
    }
    Err(format!("{balancer:?} can't be one: write up to 32 of a-z, 0-9 and -, from a letter to no -"))
}

/// Whether this is how a security group's id looks.
pub fn is_security_group(id: &str) -> bool {
    has_prefix(id, "sg-")
}

/// The name of everything a balancer has in its Region: security group, launch template, instances.
pub fn regional(balancer: &str) -> String {
    format!("elbow-{balancer}")
}

/// The name of what a balancer has in IAM (role, instance profile, policy), which is one namespace for all Regions.
pub fn global(region: &str, balancer: &str) -> String {
    format!("elbow-{region}-{balancer}")
}
