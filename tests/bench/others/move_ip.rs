//! Debian's resource agent `aws-vpc-move-ip`, run as Pacemaker runs it: parameters in the environment, action `start`.

use std::time::Duration;

use anyhow::Result;
use lab::rig::Rig;

use super::Node;
use crate::floor::Routes;
use crate::results::Attempt;

/// Pacemaker stops `start` after this time, which the resource agent's metadata suggests.
pub const LIMIT: Duration = Duration::from_secs(180);

/// Moves the routes to `node`.
pub fn take_over(rig: &Rig, node: &Node, routes: &Routes) -> Result<Attempt> {
    let command = format!(
        "env OCF_ROOT=/usr/lib/ocf OCF_RESOURCE_INSTANCE=vip OCF_RESOURCE_PROVIDER=heartbeat \
         OCF_RESOURCE_TYPE=aws-vpc-move-ip OCF_RESKEY_ip={} OCF_RESKEY_routing_table={} OCF_RESKEY_interface=eth0 \
         OCF_RESKEY_region=eu-west-1 /usr/lib/ocf/resource.d/heartbeat/aws-vpc-move-ip start",
        routes.vip,
        routes.tables.join(",")
    );
    node.take_over(rig, routes, &command, LIMIT)
}
