//! The original (maishsk/replace-aws-elb): keepalived at VRRPv2's 1 s with priorities 101 and 100, `pidof haproxy`
//! every 2 s, the virtual IP up on both nodes, and a script around the AWS CLI that moves the routes one by one. And the
//! fair rival: the same at Elbow's interval, with a script that moves all routes at once.

use std::time::Duration;

use anyhow::Result;
use lab::rig::Rig;

use super::{Account, Node};
use crate::floor::Routes;
use crate::results::Attempt;

const SCRIPT: &str = include_str!("original/master.sh.in");
const PARALLEL: &str = include_str!("original/parallel.sh.in");
const KEEPALIVED: &str = include_str!("original/keepalived.conf");
const HAPROXY: &str = include_str!("original/haproxy.cfg");
const ADDRESS: &str = include_str!("original/vip.service");
const MASTER: &str = "/etc/keepalived/master.sh";
/// A loop over 200 tables at 200 ms takes minutes, and has no time limit.
const PATIENCE: Duration = Duration::from_secs(900);

/// How keepalived is set up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settings {
    /// VRRPv2 at 1 s, and one table after another.
    Original,
    /// VRRPv3 at Elbow's 200 ms, and all tables at once.
    Tuned,
}

/// A pair with keepalived and scripts.
pub struct Pair {
    /// Priority 101.
    pub first: Node,
    /// Priority 100.
    pub second: Node,
}

/// Moves the routes to `node` by the script alone.
pub fn take_over(rig: &Rig, node: &Node, routes: &Routes) -> Result<Attempt> {
    node.write(rig, MASTER, &script(SCRIPT, node, routes))?;
    node.take_over(rig, routes, MASTER, PATIENCE)
}

impl Pair {
    /// Launches and sets up two nodes in two zones. Their keepalived then moves the routes.
    pub fn start(rig: &Rig, account: &Account, routes: &Routes, settings: Settings) -> Result<Pair> {
        let pair = Pair { first: account.launch(rig, "private-a")?, second: account.launch(rig, "private-b")? };
        set_up(rig, [&pair.first, &pair.second], ("MASTER", "101"), routes, settings)?;
        set_up(rig, [&pair.second, &pair.first], ("BACKUP", "100"), routes, settings)?;
        Ok(pair)
    }
}

fn set_up(
    rig: &Rig,
    [node, peer]: [&Node; 2],
    (state, priority): (&str, &str),
    routes: &Routes,
    settings: Settings,
) -> Result<()> {
    let (version, interval, moves, addresses) = match settings {
        Settings::Original => ("", "1", SCRIPT, String::new()),
        // keepalived refuses VRRPv3 without an address (RFC 5798, section 5.2.5).
        Settings::Tuned => {
            let addresses = format!("    virtual_ipaddress {{\n        {}/32 dev lo\n    }}\n", routes.vip);
            ("global_defs {\n    vrrp_version 3\n}\n\n", "0.2", PARALLEL, addresses)
        }
    };
    let keepalived = KEEPALIVED.replace("{state}", state).replace("{priority}", priority).replace("{version}", version);
    let keepalived = keepalived.replace("{addresses}", &addresses);
    let keepalived = keepalived.replace("{own}", &node.address).replace("{peer}", &peer.address);
    node.write(rig, MASTER, &script(moves, node, routes))?;
    node.write(rig, "/etc/keepalived/keepalived.conf", &keepalived.replace("{interval}", interval))?;
    node.write(rig, "/etc/haproxy/haproxy.cfg", HAPROXY)?;
    node.write(rig, "/etc/systemd/system/vip.service", &ADDRESS.replace("{vip}", routes.vip))?;
    rig.inside(&node.id, &["systemctl", "enable", "--quiet", "--now", "vip", "haproxy", "keepalived"]).map(drop)
}

fn script(moves: &str, node: &Node, routes: &Routes) -> String {
    let script = moves.replace("{tables}", &routes.tables.join(" ")).replace("{vip}", routes.vip);
    script.replace("{interface}", &node.interface)
}
