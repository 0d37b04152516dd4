//! The webhook's events and their payloads, as documented in docs/webhook.md.

use std::net::Ipv4Addr;
use std::time::SystemTime;

use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;
use serde::Serialize;
use serde_json::{Value, json};
use templates::Role;
use templates::targets::{Count, DownTarget};

use crate::aws::ids::{InstanceId, InterfaceId, TableId};
use crate::node::state::State;
use crate::ownership::decide::Lead;

/// The most tables or targets in a payload.
const LISTED: usize = 20;

/// Where the sender of an event runs.
#[derive(Debug, Clone)]
pub struct Sender {
    pub region: String,
    pub vpc: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Unique, and the same for each attempt to send it.
    pub id: String,
    /// When it happened.
    pub time: SystemTime,
    /// The virtual IP, if it concerns one.
    pub vip: Option<Ipv4Addr>,
    /// The kind and its details.
    pub what: What,
    /// The node's problems at that time.
    pub problems: Vec<String>,
}

/// The kinds of events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// The node's role changed.
    Role {
        /// The previous role; unknown to an agent that has just started.
        before: Option<Role>,
        /// The current role.
        now: Role,
    },
    /// Some routes of a takeover don't lead to this node after 5 s.
    TakeoverIncomplete {
        /// Time since the takeover began.
        ms: u64,
        /// The tables, each with the reason.
        missing: Vec<(TableId, String)>,
    },
    /// A takeover that was reported incomplete is complete.
    TakeoverComplete {
        /// How long it took.
        ms: u64,
    },
    /// A standby reaches the virtual IP through the VPC again, or no longer.
    Path {
        reached: bool,
        /// The standby's subnet.
        subnet: String,
    },
    /// Other targets of a group are down than before.
    TargetHealth { group: String, count: Count, down: Vec<DownTarget> },
    /// Another program changed routes that led to this node.
    Routes {
        /// Whether the node reclaimed them; otherwise it yielded them to a peer.
        reclaimed: bool,
        /// The changed routes.
        strays: Vec<Stray>,
    },
}

/// A route that another program changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stray {
    pub table: TableId,
    /// Where the read found it to lead.
    pub found: FoundRoute,
}

/// Where a route led.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundRoute {
    pub lead: Lead,
    /// The member that has that interface, if any.
    pub member: Option<InstanceId>,
}

impl FoundRoute {
    /// The interface, if it belongs to a stranger.
    pub fn stranger(&self) -> Option<&InterfaceId> {
        match &self.lead {
            Lead::Stranger(interface) => Some(interface),
            _ => None,
        }
    }
}

#[derive(Serialize)]
struct Missing<'a> {
    table: &'a TableId,
    why: &'a str,
}

impl Event {
    /// An event with the current time and a new id.
    pub fn now(vip: Ipv4Addr, what: What, problems: Vec<String>) -> Event {
        Event { vip: Some(vip), ..Event::of_no_vip(what, problems) }
    }

    /// The same, of an event that concerns no virtual IP.
    pub fn of_no_vip(what: What, problems: Vec<String>) -> Event {
        let id = format!("{:032x}", rand::random::<u128>());
        Event { id, time: SystemTime::now(), vip: None, what, problems }
    }

    /// The payload. `sequence` counts this agent's events, `dropped` those lost since the last delivered one.
    pub fn payload(&self, sender: &Sender, node: &State, sequence: u64, dropped: u64) -> Value {
        let time = DateTime::from(self.time).fmt(Format::DateTime).unwrap_or_default();
        let mut payload = json!({
            "id": self.id,
            "sequence": sequence,
            "dropped": dropped,
            "time": time,
            "event": self.what.name(),
            "text": format!("{}: {} ({}): {}", node.balancer, node.instance, node.zone, self.text()),
            "balancer": node.balancer,
            "region": sender.region,
            "vpc": sender.vpc,
            "node": {
                "instance": node.instance,
                "slot": node.slot,
                "address": node.address,
                "zone": node.zone,
                "revision": node.revision,
            },
            "virtual_ip": self.vip,
            "problems": self.problems,
        });
        let (key, details) = self.what.details();
        payload[key] = details;
        payload
    }

    fn text(&self) -> String {
        self.what.text(&self.vip.map_or_else(String::new, |vip| vip.to_string()))
    }
}

impl What {
    /// The event's name.
    pub fn name(&self) -> &'static str {
        match self {
            What::Role { .. } => "role_changed",
            What::TakeoverIncomplete { .. } => "takeover_incomplete",
            What::TakeoverComplete { .. } => "takeover_complete",
            What::Path { .. } => "path_changed",
            What::TargetHealth { .. } => "target_health_changed",
            What::Routes { .. } => "routes_changed",
        }
    }

    fn text(&self, vip: &str) -> String {
        let seconds = |ms: u64| format!("{:.1} s", ms as f64 / 1000.0);
        match self {
            What::Role { before: Some(before), now } => format!("{now} for {vip}, was {before}"),
            What::Role { before: None, now } => format!("{now} for {vip} (the agent has just started)"),
            What::TakeoverIncomplete { ms, missing } => {
                let first = missing.first().map(|(table, why)| format!("; {table}: {why}")).unwrap_or_default();
                format!("{} routes of {vip} don't lead here after {}{first}", missing.len(), seconds(*ms))
            }
            What::TakeoverComplete { ms } => format!("all routes of {vip} lead here, after {}", seconds(*ms)),
            What::Path { reached, subnet } => {
                let now = if *reached { "is reachable again" } else { "isn't reachable" };
                format!("{vip} {now} from {subnet}")
            }
            What::TargetHealth { group, count: Count { healthy, targets }, down } => {
                let first = down.first();
                let first = first.map(|down| format!("; {} is down: {}", down.target, down.reason.words(None)));
                format!("target group {group}: {healthy} of {targets} targets are healthy{}", first.unwrap_or_default())
            }
            What::Routes { reclaimed, strays } => {
                let tables: Vec<&str> = strays.iter().take(LISTED).map(|stray| stray.table.0.as_str()).collect();
                let outcome = if *reclaimed { "reclaimed" } else { "yielded to a peer" };
                format!("routes of {vip} were changed by another program and {outcome}: {}", tables.join(", "))
            }
        }
    }

    fn details(&self) -> (&'static str, Value) {
        match self {
            What::Role { before, now } => ("role", json!({"before": before, "now": now})),
            What::TakeoverIncomplete { ms, missing } => {
                let listed: Vec<Missing> =
                    missing.iter().take(LISTED).map(|(table, why)| Missing { table, why }).collect();
                ("takeover", json!({"ms": ms, "missing": missing.len(), "tables": listed}))
            }
            What::TakeoverComplete { ms } => ("takeover", json!({"ms": ms, "missing": 0, "tables": []})),
            What::Path { reached, subnet } => ("path", json!({"reached": reached, "subnet": subnet})),
            What::TargetHealth { group, count: Count { healthy, targets }, down } => {
                let down: Vec<Value> = down.iter().take(LISTED).map(down_target).collect();
                ("target_group", json!({"name": group, "healthy": healthy, "targets": targets, "down": down}))
            }
            What::Routes { reclaimed, strays } => {
                let listed: Vec<Value> = strays.iter().take(LISTED).map(Stray::shown).collect();
                let outcome = if *reclaimed { "reclaimed" } else { "yielded" };
                ("routes", json!({"outcome": outcome, "changed": strays.len(), "tables": listed}))
            }
        }
    }
}

impl Stray {
    fn shown(&self) -> Value {
        let found = match &self.found.lead {
            Lead::Nowhere => "nothing",
            Lead::Blackhole => "blackhole",
            Lead::To(interface) | Lead::Stranger(interface) => &interface.0,
        };
        json!({"table": self.table, "found": found, "member": self.found.member})
    }
}

fn down_target(down: &DownTarget) -> Value {
    let DownTarget { target, since, reason, group: _ } = down;
    json!({"target": target, "since": since, "reason": reason, "why": reason.words(None)})
}

#[cfg(test)]
pub(super) mod tests {
    use std::time::Duration;

    use super::*;
    use crate::node::state::tests::state;

    const VIP: Ipv4Addr = Ipv4Addr::new(10, 255, 0, 10);

    pub(in crate::telemetry::notify) fn event(what: What) -> Event {
        let time = SystemTime::UNIX_EPOCH + Duration::from_millis(1_796_000_000_250);
        Event { id: "00000000000000000000000000000007".into(), time, vip: Some(VIP), what, problems: vec![] }
    }

    fn payload(what: What) -> Value {
        let sender = Sender { region: "eu-west-1".into(), vpc: "vpc-1".into() };
        let vip = (!matches!(what, What::TargetHealth { .. })).then_some(VIP);
        Event { vip, ..event(what) }.payload(&sender, &state(), 3, 1)
    }

    /// docs/webhook.md has one example of each kind.
    #[test]
    fn the_documented_examples_match_the_payloads() {
        let stray = |table: &str, lead, member: Option<&str>| Stray {
            table: table.into(),
            found: FoundRoute { lead, member: member.map(Into::into) },
        };
        let all = [
            What::Role { before: Some(Role::Standby), now: Role::Active },
            What::TakeoverIncomplete {
                ms: 5000,
                missing: vec![("rtb-1".into(), "ReplaceRoute: UnauthorizedOperation: You are not authorized.".into())],
            },
            What::TakeoverComplete { ms: 12_340 },
            What::Routes {
                reclaimed: true,
                strays: vec![
                    stray("rtb-1", Lead::Nowhere, None),
                    stray("rtb-2", Lead::Blackhole, None),
                    stray("rtb-3", Lead::Stranger("eni-9".into()), None),
                    stray("rtb-4", Lead::To("eni-2".into()), Some("i-b")),
                ],
            },
            What::Path { reached: false, subnet: "subnet-0aaa".to_owned() },
            What::TargetHealth {
                group: "http".to_owned(),
                count: Count { healthy: 1, targets: 2 },
                down: vec![DownTarget {
                    group: "http".to_owned(),
                    target: "10.0.1.20:8080".to_owned(),
                    since: "2026-11-29T14:03:12Z".parse().unwrap(),
                    reason: "L4CON".parse().unwrap(),
                }],
            },
        ];
        let page = include_str!("../../../../docs/webhook.md");
        let examples: Vec<Value> = page
            .split("```json\n")
            .skip(1)
            .map(|rest| serde_json::from_str(rest.split("```").next().unwrap()).unwrap())
            .collect();
        assert_eq!(examples.len(), all.len(), "one example of each kind");
        assert_eq!(examples[0], payload(all[0].clone()), "the first example is whole");
        for (what, example) in all.into_iter().zip(&examples).skip(1) {
            let sent = payload(what);
            for (key, value) in example.as_object().unwrap() {
                assert_eq!(&sent[key], value, "{key} of {}", sent["event"]);
            }
            assert!(example.get("event").is_some());
        }
    }

    #[test]
    fn a_long_list_is_cut_and_its_length_is_sent() {
        let missing = (0..200).map(|n| (TableId(format!("rtb-{n}")), "denied".to_owned())).collect();
        let sent = payload(What::TakeoverIncomplete { ms: 5000, missing });
        assert_eq!(sent["takeover"]["missing"], 200);
        assert_eq!(sent["takeover"]["tables"].as_array().unwrap().len(), LISTED);
    }

    #[test]
    fn no_two_events_share_an_id() {
        let event = || Event::now(VIP, What::TakeoverComplete { ms: 1 }, vec![]);
        assert_ne!(event().id, event().id);
        assert_eq!(event().id.len(), 32);
    }
}
