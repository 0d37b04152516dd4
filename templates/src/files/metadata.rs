//! The nftables rules that keep programs which talk to clients from the instance metadata service: it hands out the
//! credentials of the node's role (EC2 User Guide, "Limit access to the instance metadata service").

use askama::Template;

use super::render;
use crate::balancer::{Balancer, Metadata, PortRange};
use crate::paths;

/// The user of keepalived's scripts: `nobody` on every distribution. They only request two pages of this node.
pub const SCRIPT_USER: u32 = 65_534;
/// The user as which EC2 Instance Connect reads SSH keys, if its package is installed.
const INSTANCE_CONNECT_USER: &str = "ec2-instance-connect";

#[derive(Template)]
#[template(path = "metadata.nft", escape = "none")]
struct Rules {
    listeners: String,
    /// Whether only `users` are admitted; otherwise only `users` are refused.
    only: bool,
    users: String,
}

/// The rules, for `nft -f`: they replace the previous ones atomically. nft refuses users that don't exist; `present`
/// says whether one does.
pub fn metadata_nft(balancer: &Balancer, present: impl Fn(&str) -> bool) -> String {
    let mut listeners = balancer.bound();
    listeners.push(paths::STATS_PORT.into());
    if balancer.shares_tables() {
        listeners.push(paths::PEERS_PORT.into());
    }
    let (only, users) = match balancer.node.metadata {
        Metadata::Restricted => (false, format!("\"haproxy\", {SCRIPT_USER}")),
        Metadata::Root if present(INSTANCE_CONNECT_USER) => (true, format!("\"root\", {INSTANCE_CONNECT_USER:?}")),
        Metadata::Root => (true, "\"root\"".to_owned()),
    };
    render(&Rules { listeners: listeners.iter().map(PortRange::to_string).collect::<Vec<_>>().join(", "), only, users })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::balancer::{Extra, Sticky};

    fn rule(metadata: Metadata, present: bool) -> String {
        let mut balancer = Balancer::parse(include_str!("../../goldens/small/balancer.toml")).unwrap();
        balancer.node.metadata = metadata;
        let text = metadata_nft(&balancer, |_| present);
        text.lines().find(|line| line.contains("meta skuid")).unwrap().trim().to_owned()
    }

    #[test]
    fn no_port_that_haproxy_binds_leads_to_the_service() {
        let mut balancer = Balancer::parse(include_str!("../../goldens/small/balancer.toml")).unwrap();
        balancer.listeners[0].port = None;
        balancer.listeners[0].ports = Some("90-99".parse().unwrap());
        let text = "frontend own\n    bind 127.0.0.1:81\n".to_owned();
        balancer.haproxy.extra = Some(Extra { file: "extra.cfg".to_owned(), text });
        assert!(metadata_nft(&balancer, |_| true).contains("tcp sport { 81, 90-99, 8404 } counter"));
        let mut group = balancer.groups().remove(0);
        group.sticky = Some(Sticky::Source { unused: None });
        balancer.target_groups.push(group);
        assert!(metadata_nft(&balancer, |_| true).contains("tcp sport { 81, 90-99, 8404, 9112 } counter"));
    }

    #[test]
    fn only_users_that_exist_are_named() {
        let end = "counter name refused reject with tcp reset";
        assert_eq!(rule(Metadata::Restricted, false), format!("meta skuid {{ \"haproxy\", 65534 }} {end}"));
        assert_eq!(rule(Metadata::Root, false), format!("meta skuid != {{ \"root\" }} {end}"));
        assert_eq!(rule(Metadata::Root, true), format!("meta skuid != {{ \"root\", \"ec2-instance-connect\" }} {end}"));
    }
}
