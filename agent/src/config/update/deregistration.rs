//! Ends connections of removed targets after their group's `deregistration_delay`, if `close_when_deregistered` says
//! so. Old processes of HAProxy serve these connections and take no orders, so the kernel closes them.

use std::time::Duration;

use templates::Balancer;
use templates::balancer::{Address, PortRange, TargetGroup};
use tokio::sync::watch;

use crate::host::logs::CONSOLE;
use crate::host::process;

/// A removed target with connections to end.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Removed {
    group: String,
    address: Address,
    /// The target's port, or those of the listeners if it got the client's.
    ports: Vec<PortRange>,
    delay: Duration,
}

/// Closes the connections of each target that `after` lacks after its group's delay, unless the target returns before:
/// `current` is the node's balancer.
pub(super) fn close_later(before: &Balancer, after: &Balancer, current: &watch::Sender<Balancer>) {
    for target in removed(before, after) {
        let mut current = current.subscribe();
        tokio::spawn(async move {
            let returns = current.wait_for(|balancer| serves(balancer, &target.address));
            let is_over = tokio::time::timeout(target.delay, returns).await.is_err();
            if is_over {
                close(&target).await;
            }
        });
    }
}

fn removed(before: &Balancer, after: &Balancer) -> Vec<Removed> {
    let kept = after.groups();
    let of_group = |group: TargetGroup| {
        let same = kept.iter().find(|kept| kept.name == group.name);
        // The new settings count, if the group still exists.
        let settings = same.unwrap_or(&group);
        let (closes, delay) = (settings.close_when_deregistered, settings.deregistration_delay().duration());
        let gone = group.targets.iter().filter(|target| closes && !serves(after, &target.address));
        let ports = |address: &Address| match address.port {
            Some(port) => vec![PortRange::from(port)],
            None => {
                let forwards = before.listeners.iter().filter(|it| it.forwards_to().contains(&group.name.as_str()));
                forwards.map(|listener| listener.range()).collect()
            }
        };
        let removed = gone.map(|target| {
            let (group, address) = (group.name.clone(), target.address);
            Removed { group, address, ports: ports(&address), delay }
        });
        removed.collect::<Vec<_>>()
    };
    before.groups().into_iter().flat_map(of_group).collect()
}

/// Whether any group or section of the balancer uses this address. The kernel can't tell their connections.
fn serves(balancer: &Balancer, address: &Address) -> bool {
    let same = |other: &Address| other.ip == address.ip && (other.port == address.port || address.port.is_none());
    let in_group = |group: &TargetGroup| group.targets.iter().any(|target| same(&target.address));
    let in_extra = balancer.haproxy.extra.as_ref().is_some_and(|extra| extra.text.contains(&address.to_string()));
    in_extra || balancer.groups().iter().any(in_group)
}

async fn close(target: &Removed) {
    let Removed { group, address, .. } = target;
    let closing = async {
        let closed = connections(target, "--kill").await?;
        // A kernel without CONFIG_INET_DIAG_DESTROY closes none, and says nothing.
        anyhow::Ok((closed, connections(target, "--numeric").await?))
    };
    match closing.await {
        Ok((closed, 0)) => {
            tracing::info!(target: CONSOLE, group, %address, closed, "closed connections to a removed target");
        }
        Ok((_, left)) => {
            tracing::warn!(group, %address, left, "the kernel can't close connections to a removed target");
        }
        Err(error) => {
            tracing::warn!(group, %address, "cannot close connections to a removed target: {error:#}");
        }
    }
}

/// The number of the target's connections that `ss` lists with this option (ss(8)).
async fn connections(target: &Removed, option: &str) -> anyhow::Result<usize> {
    let address = target.address.ip.to_string();
    let mut listed = 0;
    for ports in &target.ports {
        let (first, last) = (format!(":{}", ports.first), format!(":{}", ports.last));
        let to = ["dst", &address, "dport", ">=", &first, "dport", "<=", &last];
        let arguments = [&["--tcp", "--no-header", option, "state", "established"][..], &to[..]].concat();
        listed += process::run("ss", &arguments).await?.lines().count();
    }
    Ok(listed)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "name = \"web\"\nvpc = \"vpc-0a\"\nsubnets = [\"subnet-0a\", \"subnet-0b\"]\n\
        virtual_ips = [\"10.255.0.10\"]\n[agent]\nsource = \"https://x/agent\"\n\
        sha256 = \"0000000000000000000000000000000000000000000000000000000000000000\"\n\
        [[listener]]\nname = \"db\"\nprotocol = \"tcp\"\nport = 5432\nforward = \"db\"\n";

    fn balancer(more: &str) -> Balancer {
        Balancer::parse(&format!("{HEAD}{more}")).unwrap()
    }

    fn group(name: &str, targets: &str, more: &str) -> String {
        format!("[[target_group]]\nname = \"{name}\"\nprotocol = \"tcp\"\ntargets = [{targets}]\n{more}\n")
    }

    fn said(before: &str, after: &str) -> Vec<String> {
        let removed = removed(&balancer(before), &balancer(after));
        removed.iter().map(|it| format!("{} {} {} {:?}", it.group, it.address, it.ports[0], it.delay)).collect()
    }

    #[test]
    fn only_targets_that_no_group_has_any_more_are_closed_and_only_if_the_group_says_so() {
        let both = group("db", "\"10.0.1.30:5432\", \"10.0.2.30:5432\"", "close_when_deregistered = true");
        let one = group("db", "\"10.0.1.30:5432\"", "close_when_deregistered = true\nderegistration_delay = \"30s\"");
        assert_eq!(said(&both, &one), ["db 10.0.2.30:5432 5432 30s"]);
        assert_eq!(said(&one, &both), Vec::<String>::new());
        assert_eq!(said(&both, &group("db", "\"10.0.1.30:5432\"", "")), Vec::<String>::new());
        let moved = [one.clone(), group("old", "\"10.0.2.30:5432\"", "")].concat();
        assert_eq!(said(&both, &moved), Vec::<String>::new(), "another group has it");
    }

    #[test]
    fn a_target_behind_a_range_is_closed_on_the_listeners_ports() {
        let range = "[[listener]]\nname = \"ftp\"\nprotocol = \"tcp\"\nports = \"40000-40099\"\nforward = \"ftp\"\n";
        let of = |targets: &str| {
            let groups = [
                group("db", "", ""),
                group("ftp", targets, "close_when_deregistered = true\nhealth_check = { port = 8080 }"),
            ];
            format!("{range}{}", groups.concat())
        };
        let said = said(&of("\"10.0.1.40\", \"10.0.1.41\""), &of("\"10.0.1.41\""));
        assert_eq!(said, ["ftp 10.0.1.40 40000-40099 300s"]);
    }
}
