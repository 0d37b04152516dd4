//! The original (maishsk/replace-aws-elb): keepalived at VRRPv2's 1 s with priorities 101 and 100, `pidof haproxy`
//! every 2 s, the virtual IP up on both nodes, and a script around the AWS CLI that moves the routes one by one.

use std::time::Duration;

use anyhow::Result;
use lab::rig::Rig;

use super::{Account, Node};
use crate::floor::Routes;
use crate::results::Attempt;

const SCRIPT: &str = include_str!("original/master.sh.in");
const KEEPALIVED: &str = include_str!("original/keepalived.conf");
const HAPROXY: &str = include_str!("original/haproxy.cfg");
const ADDRESS: &str = include_str!("original/vip.service");
const MASTER: &str = "/etc/keepalived/master.sh";
/// A loop over 200 tables at 200 ms takes minutes, and has no time limit.
const PATIENCE: Duration = Duration::from_secs(900);

/// A pair as the original sets it up.
pub struct Pair {
    /// Priority 101.
    pub first: Node,
    /// Priority 100.
    pub second: Node,
}

/// Moves the routes to `node` by the script alone.
pub fn take_over(rig: &Rig, node: &Node, routes: &Routes) -> Result<Attempt> {
    node.write(rig, MASTER, &script(node, routes))?;
    node.take_over(rig, routes, MASTER, PATIENCE)
}

impl Pair {
    /// Launches and sets up two nodes in two zones. Their keepalived then moves the routes.
    pub fn start(rig: &Rig, account: &Account, routes: &Routes) -> Result<Pair> {
        let pair = Pair { first: account.launch(rig, "private-a")?, second: account.launch(rig, "private-b")? };
        set_up(rig, &pair.first, &pair.second, ("MASTER", "101"), routes)?;
        set_up(rig, &pair.second, &pair.first, ("BACKUP", "100"), routes)?;
        Ok(pair)
    }
}

fn set_up(rig: &Rig, node: &Node, peer: &Node, (state, priority): (&str, &str), routes: &Routes) -> Result<()> {
    let keepalived = KEEPALIVED.replace("{state}", state).replace("{priority}", priority);
    let keepalived = keepalived.replace("{own}", &node.address).replace("{peer}", &peer.address);
    node.write(rig, MASTER, &script(node, routes))?;
    node.write(rig, "/etc/keepalived/keepalived.conf", &keepalived)?;
    node.write(rig, "/etc/haproxy/haproxy.cfg", HAPROXY)?;
    node.write(rig, "/etc/systemd/system/vip.service", &ADDRESS.replace("{vip}", routes.vip))?;
    rig.inside(&node.id, &["systemctl", "enable", "--quiet", "--now", "vip", "haproxy", "keepalived"]).map(drop)
}

fn script(node: &Node, routes: &Routes) -> String {
    let script = SCRIPT.replace("{tables}", &routes.tables.join(" ")).replace("{vip}", routes.vip);
    script.replace("{interface}", &node.interface)
}
