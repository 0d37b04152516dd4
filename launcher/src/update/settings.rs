//! The settings around the nodes: virtual IP claims, security group rules, the role's policy and boundary, and tags. While
//! nodes of two revisions run, both must work. Pure.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use serde_json::Value;
use templates::balancer::{RouteTables, Updates};
use templates::{Balancer, files};

use crate::model::desired::{Desired, rules};
use crate::model::observe::Observed;
use crate::model::operator_tags::Retag;
use crate::model::tags::claimed;
use crate::plan::{Change, other_boundary};
use crate::resources::security_group::Rule;

/// One change of a setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Setting {
    /// Claim these virtual IPs.
    Claim(Vec<Ipv4Addr>),
    /// Release these claims.
    Disclaim(Vec<Ipv4Addr>),
    /// Add these rules.
    Allow(BTreeSet<Rule>),
    /// Remove these rules.
    Revoke(BTreeSet<Rule>),
    /// Give the role this permissions boundary.
    Boundary(String),
    /// Give the role this policy (JSON).
    Policy(String),
    /// Set the operator's tags of a resource, and remove earlier ones.
    Retag(Retag),
}

/// The missing settings that `old` and `new` need together. Nodes of `old` read the version of `new`, even if `new` forbids
/// in-place updates, and nodes of both get their agents.
pub fn wider(old: &Balancer, new: &Balancer, region: &str, cidrs: &[Ipv4Net], observed: &Observed) -> Vec<Setting> {
    let route_tables = union(&old.route_tables, &new.route_tables);
    let updates = Updates { in_place: old.updates.in_place || new.updates.in_place };
    let both = Balancer { route_tables, updates, ..new.clone() };
    let claim = Setting::Claim(without(&new.virtual_ips, &claims(observed, &new.vpc)));
    let allow = Setting::Allow(rules(new, cidrs).difference(&present(observed, &new.vpc)).cloned().collect());
    let role = role(new, files::permission_policy_of_both(&both, old, region), observed);
    [claim, allow].into_iter().chain(role).filter(Setting::does_something).collect()
}

/// What sets everything to just what `only` needs.
pub fn exact(only: &Balancer, region: &str, cidrs: &[Ipv4Net], observed: &Observed) -> Vec<Setting> {
    let (claims, present, rules) = (claims(observed, &only.vpc), present(observed, &only.vpc), rules(only, cidrs));
    let around = [
        Setting::Claim(without(&only.virtual_ips, &claims)),
        Setting::Disclaim(without(&claims, &only.virtual_ips)),
        Setting::Allow(rules.difference(&present).cloned().collect()),
        Setting::Revoke(present.difference(&rules).cloned().collect()),
    ];
    let role = role(only, files::permission_policy(only, region), observed);
    around.into_iter().chain(role).filter(Setting::does_something).collect()
}

impl Setting {
    fn does_something(&self) -> bool {
        match self {
            Setting::Claim(vips) | Setting::Disclaim(vips) => !vips.is_empty(),
            Setting::Allow(rules) | Setting::Revoke(rules) => !rules.is_empty(),
            Setting::Boundary(_) | Setting::Policy(_) | Setting::Retag(_) => true,
        }
    }

    /// The change in words and for `--output json`.
    pub fn change(&self, desired: &Desired) -> Change {
        let list = |rules: &BTreeSet<Rule>| rules.iter().map(Rule::to_string).collect::<Vec<_>>().join(", ");
        let (action, what) = match self {
            Setting::Claim(vips) => ("claim", format!("claim {}", addresses(vips))),
            Setting::Disclaim(vips) => ("disclaim", format!("release the claim of {}", addresses(vips))),
            Setting::Allow(rules) => ("allow", format!("let in: {}", list(rules))),
            Setting::Revoke(rules) => ("revoke", format!("no longer let in: {}", list(rules))),
            Setting::Boundary(arn) => {
                let what = format!("set the permissions boundary of IAM role {} to {arn}", desired.global_name);
                ("set-permissions-boundary", what)
            }
            Setting::Policy(_) => ("set-policy", format!("set the policy of IAM role {}", desired.global_name)),
            Setting::Retag(retag) => ("set-tags", format!("set tags of {retag}")),
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

/// The settings of Elbow's own role, if it exists. The boundary comes first: an operator's policy may require it for the rest.
fn role(balancer: &Balancer, policy: String, observed: &Observed) -> Vec<Setting> {
    let Some(role) = observed.role.as_ref().filter(|_| balancer.iam.owns_role()) else { return Vec::new() };
    let same = serde_json::from_str::<Value>(&policy).is_ok_and(|policy| role.policy.as_ref() == Some(&policy));
    let boundary = other_boundary(&balancer.iam, role).map(Setting::Boundary);
    boundary.into_iter().chain((!same).then_some(Setting::Policy(policy))).collect()
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

/// The tables in which both have routes.
pub fn common(old: &RouteTables, new: &RouteTables) -> RouteTables {
    match (old, new) {
        (RouteTables::Only(old), RouteTables::Only(new)) => {
            RouteTables::Only(old.iter().filter(|id| new.contains(id)).cloned().collect())
        }
        (RouteTables::All, some) | (some, RouteTables::All) => some.clone(),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use templates::names;

    use super::*;
    use crate::model::agent_store;
    use crate::model::desired::tests::{desired, web};
    use crate::model::observe::tests::whole;
    use crate::model::tags::claim;

    const REGION: &str = "eu-west-1";

    /// The balancer after these settings.
    pub fn after(settings: &[Setting], observed: &Observed) -> Observed {
        let mut observed = observed.clone();
        for setting in settings {
            for group in &mut observed.groups {
                match setting {
                    Setting::Claim(vips) => group.tags.0.extend(vips.iter().map(|vip| (claim(*vip), String::new()))),
                    Setting::Disclaim(vips) => {
                        group.tags.0.retain(|key, _| !vips.iter().any(|vip| *key == claim(*vip)))
                    }
                    Setting::Allow(rules) => group.rules.extend(rules.iter().cloned()),
                    Setting::Revoke(rules) => group.rules.retain(|rule| !rules.contains(rule)),
                    Setting::Boundary(_) | Setting::Policy(_) | Setting::Retag(_) => {}
                }
            }
            if let (Some(role), Setting::Policy(policy)) = (&mut observed.role, setting) {
                role.policy = serde_json::from_str(policy).ok();
            }
        }
        observed
    }

    fn cidrs() -> Vec<Ipv4Net> {
        vec!["10.0.0.0/16".parse().unwrap()]
    }

    fn from_to(old: &Balancer, new: &Balancer) -> Vec<Setting> {
        wider(old, new, REGION, &cidrs(), &whole())
    }

    fn only(balancer: &Balancer, observed: &Observed) -> Vec<Setting> {
        exact(balancer, REGION, &cidrs(), observed)
    }

    fn said(settings: &[Setting]) -> Vec<String> {
        settings.iter().map(|setting| setting.change(&desired()).what).collect()
    }

    fn policy(settings: &[Setting]) -> &str {
        let policy = settings.iter().find_map(|setting| match setting {
            Setting::Policy(policy) => Some(policy.as_str()),
            _ => None,
        });
        policy.expect("a policy")
    }

    #[test]
    fn a_new_port_is_opened_first_and_the_old_one_closed_last() {
        let mut new = web();
        new.listeners[0].port = Some(8080);
        let wider = from_to(&web(), &new);
        assert_eq!(said(&wider), ["let in: tcp 8080 from 10.0.0.0/16"]);
        let between = after(&wider, &whole());
        assert_eq!(said(&only(&new, &between)), ["no longer let in: tcp 80 from 10.0.0.0/16"]);
        assert_eq!(said(&only(&web(), &between)), ["no longer let in: tcp 8080 from 10.0.0.0/16"], "after a refusal");
    }

    #[test]
    fn a_virtual_ip_is_claimed_first_and_its_claim_released_last() {
        let new = Balancer { virtual_ips: vec![[10, 255, 0, 11].into()], ..web() };
        let wider = from_to(&web(), &new);
        assert_eq!(said(&wider), ["claim 10.255.0.11"]);
        let between = after(&wider, &whole());
        let exact = only(&new, &between);
        assert_eq!(said(&exact), ["release the claim of 10.255.0.10"]);
        assert_eq!(only(&new, &after(&exact, &between)), []);
    }

    #[test]
    fn the_policy_allows_the_tables_of_both_revisions_during_an_update() {
        let tables = |ids: &[&str]| RouteTables::Only(ids.iter().map(|id| id.to_string()).collect());
        assert_eq!(
            union(&tables(&["rtb-1", "rtb-2"]), &tables(&["rtb-2", "rtb-3"])),
            tables(&["rtb-2", "rtb-3", "rtb-1"])
        );
        assert_eq!(union(&RouteTables::All, &tables(&["rtb-1"])), RouteTables::All);
        assert_eq!(common(&tables(&["rtb-1", "rtb-2"]), &tables(&["rtb-2", "rtb-3"])), tables(&["rtb-2"]));
        assert_eq!(common(&RouteTables::All, &tables(&["rtb-1"])), tables(&["rtb-1"]));
        let new = Balancer { route_tables: tables(&["rtb-1"]), ..web() };
        assert_eq!(from_to(&web(), &new), []);
        assert!(policy(&only(&new, &whole())).contains("route-table/rtb-1\""));
    }

    #[test]
    fn nodes_may_read_versions_until_they_run_one_that_forbids_it() {
        let forbids = Balancer { updates: Updates { in_place: false }, ..web() };
        assert_eq!(from_to(&web(), &forbids), []);
        let last = only(&forbids, &whole());
        assert!(!policy(&last).contains("DescribeLaunchTemplateVersions"), "{last:?}");
        // In the other direction the permission comes first, for new nodes.
        let back = wider(&forbids, &web(), REGION, &cidrs(), &after(&last, &whole()));
        assert!(policy(&back).contains("DescribeLaunchTemplateVersions"));
    }

    #[test]
    fn nodes_of_both_revisions_may_fetch_their_agents_during_an_update() {
        let old = agent_store::tests::balancer();
        let mut new = old.clone();
        new.agents.values_mut().for_each(|digest| *digest = "c".repeat(64));
        let (wider, exact) = (from_to(&old, &new), only(&new, &whole()));
        for (digit, after) in [("a", false), ("c", true)] {
            let key = names::agent_key(&digit.repeat(64));
            assert!(policy(&wider).contains(&key), "{digit}");
            assert_eq!(policy(&exact).contains(&key), after, "{digit}");
        }
    }

    #[test]
    fn the_last_step_restores_a_rule_that_was_removed_meanwhile() {
        let mut observed = whole();
        let shut = observed.groups[0].rules.pop_first().expect("it has a rule");
        let exact = only(&web(), &observed);
        assert_eq!(exact, [Setting::Allow(BTreeSet::from([shut]))]);
        assert_eq!(only(&web(), &after(&exact, &observed)), []);
    }

    #[test]
    fn correct_settings_need_no_change() {
        assert_eq!(from_to(&web(), &web()), []);
        assert_eq!(only(&web(), &whole()), []);
    }
}
