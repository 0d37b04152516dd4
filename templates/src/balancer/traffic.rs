//! The normalised view of listeners and target groups: what HAProxy, the security group and the diff are made from.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::Ipv4Net;

use super::{Balancer, Forward, Listener, Millis, PortRange, Protocol, Redirect, Respond, Rule, TargetGroup};

/// What becomes of a connection or request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action<'a> {
    /// It goes to one of these groups, by weight.
    Forward(Vec<(&'a str, u16)>),
    Redirect(&'a Redirect),
    Respond(&'a Respond),
}

/// The first action that is present. The checks refuse a second one.
fn action<'a>(
    forward: Option<&'a Forward>,
    redirect: Option<&'a Redirect>,
    respond: Option<&'a Respond>,
) -> Option<Action<'a>> {
    forward
        .map(|forward| Action::Forward(forward.groups()))
        .or(redirect.map(Action::Redirect))
        .or(respond.map(Action::Respond))
}

impl Rule {
    /// What becomes of the requests that match.
    pub fn action(&self) -> Action<'_> {
        action(self.forward.as_ref(), self.redirect.as_ref(), self.respond.as_ref()).unwrap_or(Action::Forward(vec![]))
    }
}

/// As long as an Application Load Balancer keeps an idle connection.
const HTTP_IDLE: Millis = Millis(60_000);
/// As long as a Network Load Balancer keeps an idle flow.
const TCP_IDLE: Millis = Millis(350_000);

impl Listener {
    /// What becomes of what no rule matches.
    pub fn action(&self) -> Action<'_> {
        let named = action(self.forward.as_ref(), self.redirect.as_ref(), self.respond.as_ref());
        named.unwrap_or_else(|| Action::Forward(vec![(&self.name, 1)]))
    }

    /// The ports. The checks refuse a listener without one.
    pub fn range(&self) -> PortRange {
        self.ports.or(self.port.map(PortRange::from)).unwrap_or(PortRange { first: 0, last: 0 })
    }

    /// How long a connection may be silent.
    pub fn idle_timeout(&self) -> Millis {
        self.idle_timeout.unwrap_or(match self.protocol {
            Protocol::Http => HTTP_IDLE,
            Protocol::Tcp => TCP_IDLE,
        })
    }

    /// The groups that its connections may go to, each once, in the order of its rules.
    pub fn forwards_to(&self) -> Vec<&str> {
        let mut names = Vec::new();
        for action in self.rules.iter().map(Rule::action).chain([self.action()]) {
            if let Action::Forward(groups) = action {
                names.extend(groups.into_iter().map(|(name, _)| name));
            }
        }
        let mut seen = BTreeSet::new();
        names.retain(|name| seen.insert(*name));
        names
    }
}

impl Balancer {
    /// All target groups: those of shorthand listeners in the order of the file, then the others.
    pub fn groups(&self) -> Vec<TargetGroup> {
        let shorthand = self.listeners.iter().filter_map(|listener| {
            let targets = listener.targets.clone()?;
            let check = listener.health_check.clone().unwrap_or_default();
            Some(TargetGroup::new(&listener.name, listener.protocol, targets, check))
        });
        shorthand.chain(self.target_groups.iter().cloned()).collect()
    }

    /// Whether the nodes share stick tables. Shorthand listeners have none.
    pub fn shares_tables(&self) -> bool {
        self.target_groups.iter().any(TargetGroup::has_table)
    }

    /// The ports of listeners and of an operator's own sections, in order.
    pub fn bound(&self) -> Vec<PortRange> {
        let own = self.haproxy.extra.iter().flat_map(|extra| extra.ports());
        merged(self.listeners.iter().map(|listener| listener.range()).chain(own).collect())
    }

    /// The ports that each client network may connect to: as few pairs as possible, as AWS limits a security group's
    /// rules. `vpc` are the networks of the VPC, for listeners without clients.
    pub fn admitted(&self, vpc: &[Ipv4Net]) -> Vec<(Ipv4Net, PortRange)> {
        let mut ports: BTreeMap<Ipv4Net, Vec<PortRange>> = BTreeMap::new();
        for listener in &self.listeners {
            let clients = [&listener.clients[..], &self.clients, vpc].into_iter().find(|nets| !nets.is_empty());
            for client in Ipv4Net::aggregate(&clients.unwrap_or_default().to_vec()) {
                ports.entry(client).or_default().push(listener.range());
            }
        }
        let merged = ports.into_iter().map(|(client, ranges)| (client, merged(ranges)));
        merged.flat_map(|(client, ranges)| ranges.into_iter().map(move |range| (client, range))).collect()
    }
}

/// The same ports in the fewest ranges.
fn merged(mut ranges: Vec<PortRange>) -> Vec<PortRange> {
    ranges.sort_unstable();
    let mut merged: Vec<PortRange> = Vec::new();
    for range in ranges {
        match merged.last_mut().filter(|before| u32::from(range.first) <= u32::from(before.last) + 1) {
            Some(before) => before.last = before.last.max(range.last),
            None => merged.push(range),
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Balancer {
        let head = include_str!("../../goldens/small/balancer.toml").split("[[listener]]").next().unwrap();
        Balancer::parse(&format!("{head}{text}")).unwrap()
    }

    #[test]
    fn shorthand_is_a_group_of_the_listeners_name() {
        let b = parsed(
            "[[listener]]\nname = \"a\"\nprotocol = \"tcp\"\nport = 5000\ntargets = [\"10.0.1.1:1\"]\n\
             [[listener]]\nname = \"b\"\nprotocol = \"http\"\nport = 5001\nforward = { x = 1, y = 3 }\n\
             [[target_group]]\nname = \"x\"\nprotocol = \"http\"\ntargets = [\"10.0.1.1:2\"]\n\
             [[target_group]]\nname = \"y\"\nprotocol = \"http\"\ntargets = [\"10.0.1.1:3\"]\n",
        );
        assert_eq!(b.groups().iter().map(|group| group.name.as_str()).collect::<Vec<_>>(), ["a", "x", "y"]);
        assert_eq!(b.listeners[0].action(), Action::Forward(vec![("a", 1)]));
        assert_eq!(b.listeners[1].forwards_to(), ["x", "y"]);
    }

    #[test]
    fn adjacent_ports_are_one_range_and_clients_of_a_listener_replace_the_balancers() {
        let listener = |name: &str, port: &str, more: &str| {
            format!("[[listener]]\nname = \"{name}\"\nprotocol = \"tcp\"\n{port}\n{more}\ntargets = []\n")
        };
        let b = parsed(
            &[
                listener("a", "port = 5002", ""),
                listener("b", "ports = \"5003-5010\"", ""),
                listener("c", "port = 5001", "clients = [\"10.1.0.0/17\", \"10.1.128.0/17\"]"),
            ]
            .concat(),
        );
        let said: Vec<String> =
            b.admitted(&["10.0.0.0/16".parse().unwrap()]).iter().map(|(net, range)| format!("{net} {range}")).collect();
        assert_eq!(said, ["10.0.0.0/16 5002-5010", "10.1.0.0/16 5001"]);
    }
}
