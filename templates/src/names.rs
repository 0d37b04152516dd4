//! Names and tags of Elbow's AWS resources. Names are deterministic, so that a second run finds the resources of the
//! first.
//!
//! All tags, in the order of the constants below. Programs read each value with the type named here; `elbow:message` is
//! for people only. EC2 allows 255 characters in a value.
//!
//! | tag | written by | on | value | meaning |
//! |---|---|---|---|---|
//! | `elbow:balancer` | launcher | every resource | `web` | the balancer that the resource belongs to |
//! | `elbow:vpc` | launcher | every resource | `vpc-0abc` | that balancer's VPC |
//! | `elbow:virtual-ip:<address>` | launcher | security group | empty | this balancer has the virtual IP |
//! | `elbow:revision` | launcher | instance | [`crate::Order`]: `3:0123456789ab` | the revision that the node should run, and the version that holds it |
//! | `elbow:drain` | launcher | instance | [`crate::handover::Request`]: `65a1-3f to i-0abc` | a request to hand over |
//! | `elbow:probe` | launcher | instance | [`crate::listener_probe::RequestId`]: `65a1-3f` | a request to ask the listeners |
//! | `elbow:update` | launcher | launch template | the launcher's own | the update that runs, and its last sign of life |
//! | `elbow:default` | launcher | launch template | [`crate::Order`]s | the versions that the launcher made the default, the newest first |
//! | `elbow:role` | agent | its instance | [`crate::Roles`]: `active standby` | the node's role for each virtual IP |
//! | `elbow:running` | agent | its instance | `0123456789ab` | the revision that the node runs |
//! | `elbow:message` | agent | its instance | one line | what is wrong; absent if nothing is |
//! | `elbow:unreachable` | agent | its instance | [`crate::report::Unreachable`]: `i-0abc@2026-11-29T14:03:12Z` | the peers that the node can't reach, and since when; absent if there are none |
//! | `elbow:reached` | agent | its instance | [`crate::report::ReachedVips`]: `- yes` | for each virtual IP, whether this standby reaches its active node through the VPC; absent while it watches none |
//! | `elbow:targets-1` to `elbow:targets-8` | agent | its instance | [`crate::targets::TargetReport`]: `web=1/2 web/10.0.1.20:8080@2026-11-29T14:03:12Z=L4CON` | what an active node sees of the targets; absent on other nodes, and where one tag is enough |
//! | `elbow:probed-1` to `elbow:probed-4` | agent | its instance | [`crate::listener_probe::Answer`]: `65a1-3f@2026-11-29T14:03:12Z 10.255.0.10/web=200,10.0.1.20:8080,3` | how the listeners answered; absent without a request in `elbow:probe`, and where one tag is enough |
//! | `elbow:alive` | agent | its instance | [`crate::report::Moment`]: `2026-11-29T14:03:12Z` | the sign of life of a node that serves: rewritten every 20 s while a peer is silent; absent otherwise |
//! | `elbow:refused-handover` | agent | its instance | [`crate::report::Refusal`]`<String>`: `65a1-3f no other node answers` | the request in `elbow:drain` that the node refused, and why |
//! | `elbow:refused-revision` | agent | its instance | [`crate::report::Refusal`]`<Order>`: `3:0123456789ab <why>` | the order in `elbow:revision` that the node refused, and why |

use crate::balancer::check::naming::{has_prefix, is_label};

/// The balancer that a resource belongs to. Elbow touches nothing that doesn't carry it.
pub const TAG_BALANCER: &str = "elbow:balancer";
/// The VPC of that balancer.
pub const TAG_VPC: &str = "elbow:vpc";
/// The prefix of the tag that claims a virtual IP: the address follows.
pub const TAG_VIRTUAL_IP: &str = "elbow:virtual-ip:";
/// The order: what the node is to run, if that isn't what it booted with.
pub const TAG_REVISION: &str = "elbow:revision";
/// A request to hand over.
pub const TAG_DRAIN: &str = "elbow:drain";
/// A request to ask the listeners.
pub const TAG_PROBE: &str = "elbow:probe";
/// The update that runs.
pub const TAG_UPDATE: &str = "elbow:update";
/// The versions that the launcher made the default.
pub const TAG_DEFAULT: &str = "elbow:default";

/// The node's role for each virtual IP.
pub const TAG_ROLE: &str = "elbow:role";
/// The revision that the node runs.
pub const TAG_RUNNING: &str = "elbow:running";
/// What is wrong, for people.
pub const TAG_MESSAGE: &str = "elbow:message";
/// The peers that the node can't reach.
pub const TAG_UNREACHABLE: &str = "elbow:unreachable";
/// Whether the node, as a standby, reaches each virtual IP through the VPC.
pub const TAG_REACHED: &str = "elbow:reached";
/// What the node, if it is active, sees of the targets.
pub const TAG_TARGETS: [&str; 8] = [
    "elbow:targets-1",
    "elbow:targets-2",
    "elbow:targets-3",
    "elbow:targets-4",
    "elbow:targets-5",
    "elbow:targets-6",
    "elbow:targets-7",
    "elbow:targets-8",
];
/// How the listeners answered.
pub const TAG_PROBED: [&str; 4] = ["elbow:probed-1", "elbow:probed-2", "elbow:probed-3", "elbow:probed-4"];
/// The sign of life of a node that serves, while a peer is silent.
pub const TAG_ALIVE: &str = "elbow:alive";
/// The handover that the node refused.
pub const TAG_REFUSED_HANDOVER: &str = "elbow:refused-handover";
/// The revision that the node refused.
pub const TAG_REFUSED_REVISION: &str = "elbow:refused-revision";

/// The tags that an agent writes on its own instance, and the only ones that its role allows.
pub const REPORTS: [&str; 20] = [
    TAG_ROLE,
    TAG_RUNNING,
    TAG_MESSAGE,
    TAG_UNREACHABLE,
    TAG_REACHED,
    TAG_ALIVE,
    TAG_REFUSED_HANDOVER,
    TAG_REFUSED_REVISION,
    TAG_TARGETS[0],
    TAG_TARGETS[1],
    TAG_TARGETS[2],
    TAG_TARGETS[3],
    TAG_TARGETS[4],
    TAG_TARGETS[5],
    TAG_TARGETS[6],
    TAG_TARGETS[7],
    TAG_PROBED[0],
    TAG_PROBED[1],
    TAG_PROBED[2],
    TAG_PROBED[3],
];

/// Why a balancer can't have this name. `elbow-<region>-<name>` must fit the 64 characters of a role's name, and suit
/// security groups, launch templates and tags. EC2's filters read `*` and `?` as wildcards.
pub fn check(balancer: &str) -> Result<(), String> {
    if is_label(balancer, 32) {
        return Ok(());
    }
    Err(format!(
        "{balancer:?} is not a valid name; use up to 32 of a-z, 0-9 and -, starting with a letter and not ending with -"
    ))
}

/// Whether `id` has the form of a security group's id.
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

/// The bucket that holds the agents: one for an account and a Region. The account in its name keeps others from having it by chance.
pub fn bucket(account: &str, region: &str) -> String {
    format!("elbow-{account}-{region}")
}

/// The prefix of the agents' keys.
pub const AGENTS: &str = "agent/";

/// The key of the agent with this digest. An object's key follows from its content, so that an object never changes.
pub fn agent_key(sha256: &str) -> String {
    format!("{AGENTS}{sha256}")
}
