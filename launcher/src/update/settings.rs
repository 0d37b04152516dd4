//! What stands around the nodes and depends on the balancer: the security group's rules and the role's policy. For as
//! long as some nodes run one revision and some another, both must work. Pure.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use serde_json::Value;
use templates::balancer::{Launch, RouteTables, Updates};
use templates::{Balancer, files};

use crate::claims::{claimed, tag};
use crate::desired::{Desired, rules};
use crate::observe::Observed;
use crate::plan::Change;
use crate::resources::scaling_group::Hook;
use crate::resources::security_group::Rule;
use crate::scaling::Wanted;

/// What is to change, and how.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    /// Claim these virtual IPs.
    pub claim: Vec<Ipv4Addr>,
    /// Claim these no more.
    pub disclaim: Vec<Ipv4Addr>,
    /// Let these in.
    pub allow: BTreeSet<Rule>,
    /// Let these in no more.
    pub revoke: BTreeSet<Rule>,
    /// Give the role this policy (JSON).
    pub policy: Option<String>,
    /// Give the Auto Scaling group this lifecycle hook.
    pub hook: Option<Hook>,
}

impl Settings {
    /// What both `old` and `new` need and isn't there. Nodes of `old` read `new` while it still forbids that.
    pub fn wider(old: &Balancer, new: &Balancer, region: &str, cidrs: &[Ipv4Net], observed: &Observed) -> Settings {
        let present = present(observed, &new.vpc);
        let route_tables = union(&old.route_tables, &new.route_tables);
        let updates = Updates { in_place: old.updates.in_place || new.updates.in_place };
        // Whoever is in a group on the way may tell it that it may go on.
        let launch = if old.launch == Launch::AutoScaling { old.launch } else { new.launch };
        let both = Balancer { route_tables, updates, launch, ..new.clone() };
        Settings {
            claim: without(&new.virtual_ips, &claims(observed, &new.vpc)),
            disclaim: Vec::new(),
            allow: rules(new, cidrs).difference(&present).cloned().collect(),
            revoke: BTreeSet::new(),
            policy: other_policy(files::permission_policy(&both, region), observed),
            hook: None,
        }
    }

    /// What makes it just what `only` needs.
    pub fn exact(only: &Balancer, region: &str, cidrs: &[Ipv4Net], observed: &Observed) -> Settings {
        let claims = claims(observed, &only.vpc);
        Settings {
            claim: without(&only.virtual_ips, &claims),
            disclaim: without(&claims, &only.virtual_ips),
            allow: rules(only, cidrs).difference(&present(observed, &only.vpc)).cloned().collect(),
            revoke: present(observed, &only.vpc).difference(&rules(only, cidrs)).cloned().collect(),
            policy: other_policy(files::permission_policy(only, region), observed),
            hook: other_hook(only, observed),
        }
    }
}

/// A call, and what it sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Setting<'a> {
    /// Claim these virtual IPs.
    Claim(&'a [Ipv4Addr]),
    /// Claim these no more.
    Disclaim(&'a [Ipv4Addr]),
    /// Let these in.
    Allow(&'a BTreeSet<Rule>),
    /// Let these in no more.
    Revoke(&'a BTreeSet<Rule>),
    /// Give the role this policy (JSON).
    Policy(&'a str),
    /// Give the Auto Scaling group this lifecycle hook.
    Hook(&'a Hook),
}

impl Settings {
    /// The calls that it takes, in order.
    pub fn calls(&self) -> Vec<Setting<'_>> {
        let Settings { claim, disclaim, allow, revoke, policy, hook } = self;
        let claim = Some(Setting::Claim(claim)).filter(|_| !claim.is_empty());
        let disclaim = Some(Setting::Disclaim(disclaim)).filter(|_| !disclaim.is_empty());
        let allow = Some(Setting::Allow(allow)).filter(|_| !allow.is_empty());
        let revoke = Some(Setting::Revoke(revoke)).filter(|_| !revoke.is_empty());
        let policy = policy.as_deref().map(Setting::Policy);
        let hook = hook.as_ref().map(Setting::Hook);
        [claim, disclaim, allow, revoke, policy, hook].into_iter().flatten().collect()
    }

    /// What there is when they are made.
    pub fn after(&self, observed: &Observed) -> Observed {
        let mut observed = observed.clone();
        for group in &mut observed.groups {
            group.tags.0.retain(|key, _| !self.disclaim.iter().any(|vip| *key == tag(*vip)));
            group.tags.0.extend(self.claim.iter().map(|vip| (tag(*vip), String::new())));
            group.rules.extend(self.allow.iter().cloned());
            group.rules.retain(|rule| !self.revoke.contains(rule));
        }
        if let (Some(role), Some(policy)) = (&mut observed.role, &self.policy) {
            role.policy = serde_json::from_str(policy).ok();
        }
        if let (Some(group), Some(hook)) = (&mut observed.scaling, &self.hook) {
            group.hook = Some(hook.clone());
        }
        observed
    }
}

impl Setting<'_> {
    /// What it does, for people and for `--output json`.
    pub fn change(&self, desired: &Desired) -> Change {
        let list = |rules: &BTreeSet<Rule>| rules.iter().map(Rule::to_string).collect::<Vec<_>>().join(", ");
        let (action, what) = match self {
            Setting::Claim(vips) => ("claim", format!("claim {}", addresses(vips))),
            Setting::Disclaim(vips) => ("disclaim", format!("claim {} no more", addresses(vips))),
            Setting::Allow(rules) => ("allow", format!("let in: {}", list(rules))),
            Setting::Revoke(rules) => ("revoke", format!("let in no more: {}", list(rules))),
            Setting::Policy(_) => ("set-policy", format!("set the policy of IAM role {}", desired.global_name)),
            Setting::Hook(hook) => {
                let what = format!("have {} wait {} s for nodes that it ends", desired.name, hook.timeout);
                ("set-lifecycle-hook", what)
            }
        };
        Change { action, what }
    }
}

fn present(observed: &Observed, vpc: &str) -> BTreeSet<Rule> {
    observed.group(vpc).map(|group| group.rules.clone()).unwrap_or_default()
}

/// The virtual IPs that the balancer's group claims.
fn claims(observed: &Observed, vpc: &str) -> Vec<Ipv4Addr> {
    observed.group(vpc).map(|group| claimed(&group.tags)).unwrap_or_default()
}

fn without(these: &[Ipv4Addr], those: &[Ipv4Addr]) -> Vec<Ipv4Addr> {
    these.iter().filter(|vip| !those.contains(vip)).copied().collect()
}

fn addresses(vips: &[Ipv4Addr]) -> String {
    vips.iter().map(Ipv4Addr::to_string).collect::<Vec<_>>().join(", ")
}

fn other_policy(wanted: String, observed: &Observed) -> Option<String> {
    let present = observed.role.as_ref().and_then(|role| role.policy.as_ref());
    let same = serde_json::from_str::<Value>(&wanted).is_ok_and(|wanted| present == Some(&wanted));
    (!same).then_some(wanted)
}

/// As long as `drain_timeout` takes; a group that isn't there is no update's business.
fn other_hook(balancer: &Balancer, observed: &Observed) -> Option<Hook> {
    let present = observed.scaling.as_ref()?.hook.as_ref();
    Wanted::of(balancer).map(|wanted| wanted.hook).filter(|wanted| present != Some(wanted))
}

fn union(old: &RouteTables, new: &RouteTables) -> RouteTables {
    match (old, new) {
        (RouteTables::Only(old), RouteTables::Only(new)) => {
            let gone = old.iter().filter(|id| !new.contains(id));
            RouteTables::Only(new.iter().chain(gone).cloned().collect())
        }
        _ => RouteTables::All,
    }
}

/// The tables in which both keep routes.
pub fn common(old: &RouteTables, new: &RouteTables) -> RouteTables {
    match (old, new) {
        (RouteTables::Only(old), RouteTables::Only(new)) => {
            RouteTables::Only(old.iter().filter(|id| new.contains(id)).cloned().collect())
        }
        (RouteTables::All, some) | (some, RouteTables::All) => some.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::desired::tests::{auto_scaling, web};
    use crate::observe::tests::whole;

    fn cidrs() -> Vec<Ipv4Net> {
        vec!["10.0.0.0/16".parse().unwrap()]
    }

    fn said(rules: &BTreeSet<Rule>) -> Vec<String> {
        rules.iter().map(Rule::to_string).collect()
    }

    #[test]
    fn a_listener_that_moves_is_let_in_first_and_its_old_port_shut_last() {
        let mut new = web();
        new.listeners[0].port = 8080;
        let wider = Settings::wider(&web(), &new, "eu-west-1", &cidrs(), &whole());
        assert_eq!(said(&wider.allow), ["tcp 8080 from 10.0.0.0/16"]);
        assert_eq!((wider.revoke.len(), wider.policy), (0, None));
        let mut observed = whole();
        observed.groups[0].rules.extend(wider.allow);
        let narrower = Settings::exact(&new, "eu-west-1", &cidrs(), &observed);
        assert_eq!(said(&narrower.revoke), ["tcp 80 from 10.0.0.0/16"]);
        assert_eq!(Settings::exact(&web(), "eu-west-1", &cidrs(), &observed).revoke.len(), 1, "back again");
    }

    #[test]
    fn a_virtual_ip_is_claimed_before_any_node_has_it_and_given_up_when_none_has() {
        let new = Balancer { virtual_ips: vec![[10, 255, 0, 11].into()], ..web() };
        let wider = Settings::wider(&web(), &new, "eu-west-1", &cidrs(), &whole());
        assert_eq!((&wider.claim, wider.disclaim.len()), (&new.virtual_ips, 0));
        let between = wider.after(&whole());
        let exact = Settings::exact(&new, "eu-west-1", &cidrs(), &between);
        assert_eq!((exact.claim.len(), &exact.disclaim), (0, &web().virtual_ips));
        assert_eq!(Settings::exact(&new, "eu-west-1", &cidrs(), &exact.after(&between)), Settings::default());
    }

    #[test]
    fn the_policy_allows_the_tables_of_both_while_both_are_in_use() {
        let only = |ids: &[&str]| RouteTables::Only(ids.iter().map(|id| id.to_string()).collect());
        assert_eq!(union(&only(&["rtb-1", "rtb-2"]), &only(&["rtb-2", "rtb-3"])), only(&["rtb-2", "rtb-3", "rtb-1"]));
        assert_eq!(union(&RouteTables::All, &only(&["rtb-1"])), RouteTables::All);
        assert_eq!(common(&only(&["rtb-1", "rtb-2"]), &only(&["rtb-2", "rtb-3"])), only(&["rtb-2"]));
        assert_eq!(common(&RouteTables::All, &only(&["rtb-1"])), only(&["rtb-1"]));
        let new = Balancer { route_tables: only(&["rtb-1"]), ..web() };
        assert_eq!(Settings::wider(&web(), &new, "eu-west-1", &cidrs(), &whole()).policy, None);
        let policy = Settings::exact(&new, "eu-west-1", &cidrs(), &whole()).policy.unwrap();
        assert!(policy.contains("route-table/rtb-1\""));
    }

    #[test]
    fn nodes_may_read_versions_until_they_run_the_one_that_says_that_they_do_not() {
        let forbids = Balancer { updates: Updates { in_place: false }, ..web() };
        assert_eq!(Settings::wider(&web(), &forbids, "eu-west-1", &cidrs(), &whole()).policy, None);
        let last = Settings::exact(&forbids, "eu-west-1", &cidrs(), &whole());
        let policy = last.policy.clone().expect("the permission goes");
        assert!(!policy.contains("DescribeLaunchTemplateVersions"), "{policy}");
        // The other way it comes first, for the nodes that are launched.
        let wider = Settings::wider(&forbids, &web(), "eu-west-1", &cidrs(), &last.after(&whole()));
        assert!(wider.policy.expect("the permission comes").contains("DescribeLaunchTemplateVersions"));
    }

    #[test]
    fn the_last_step_lets_in_again_what_somebody_shut_meanwhile() {
        let mut observed = whole();
        let shut = observed.groups[0].rules.pop_first().expect("it lets something in");
        let exact = Settings::exact(&web(), "eu-west-1", &cidrs(), &observed);
        assert_eq!(exact.allow, BTreeSet::from([shut]));
        assert_eq!(exact.calls().len(), 1);
        assert_eq!(Settings::exact(&web(), "eu-west-1", &cidrs(), &exact.after(&observed)), Settings::default());
    }

    #[test]
    fn a_groups_hook_follows_the_time_that_nodes_wait() {
        let mut observed = whole();
        observed.scaling = Some(crate::scaling::tests::group());
        let mut new = auto_scaling();
        let hook = |new: &Balancer| Settings::exact(new, "eu-west-1", &cidrs(), &observed).hook;
        assert_eq!(hook(&new), None);
        new.failover.drain_timeout = Some("90s".parse().unwrap());
        assert_eq!(hook(&new).map(|hook| hook.timeout), Some(150));
    }

    #[test]
    fn nothing_changes_around_what_is_as_it_should_be() {
        assert_eq!(Settings::wider(&web(), &web(), "eu-west-1", &cidrs(), &whole()), Settings::default());
        assert_eq!(Settings::exact(&web(), "eu-west-1", &cidrs(), &whole()), Settings::default());
    }
}
