//! A new balancer's virtual IPs are spread over its nodes. Without `preempt` whoever is up first would take them all, and
//! keep them. So a node of a balancer that nobody serves yet leaves to the others what they prefer, by `spread.track`
//! (FAULT), until they are up or have had their time.

use std::path::Path;
use std::time::Duration;

use templates::{Balancer, Role, Slot, paths};
use tokio::time::Instant;

use crate::files::{self, Track};
use crate::health;
use crate::ids::InstanceId;
use crate::members::Member;
use crate::state::Board;
use crate::tables::Table;

/// From its own start to when a node waits no more: nodes that are launched together boot within that.
const LIMIT: Duration = Duration::from_secs(20);
/// How often it looks for the others.
const EVERY: Duration = Duration::from_millis(100);

/// Whether the node `me` in `slot` is to wait: no virtual IP has a route anywhere, and there are members that may be those
/// which prefer one.
pub fn is_due(balancer: &Balancer, slot: Slot, tables: &[Table], members: &[Member], me: &InstanceId) -> bool {
    let nobody_serves = !tables.is_empty() && tables.iter().all(|table| table.routes.is_empty());
    let comes = |slot: Slot| {
        let mut others = members.iter().filter(|member| member.instance != *me);
        others.any(|other| Slot::of(&other.subnet, &balancer.subnets) == slot)
    };
    nobody_serves && left(balancer, slot).any(|(_, preferred)| comes(preferred))
}

/// The virtual IPs, by number, that another slot prefers, and which.
fn left(balancer: &Balancer, slot: Slot) -> impl Iterator<Item = (usize, Slot)> {
    let vips = balancer.virtual_ips.len();
    let preferred = (0..vips).map(|vip| (vip, Slot::preferred(vip, balancer.subnets.len())));
    preferred.filter(move |(_, preferred)| vips > 1 && *preferred != slot)
}

/// Tells keepalived whether this node waits.
pub fn tell_keepalived(waits: bool) -> anyhow::Result<()> {
    files::write_track(Path::new(paths::SPREAD_TRACK), i16::from(waits))
}

/// Waits until those that prefer something are up, or for as long as they get; and then waits no more.
pub async fn wait(http: reqwest::Client, board: Board, balancer: Balancer) {
    let began = Instant::now();
    while began.elapsed() < LIMIT {
        let state = board.read();
        let answers = futures::future::join_all(state.peers.iter().map(|peer| health::ask(&http, *peer))).await;
        let answers: Vec<(Slot, Vec<Role>)> =
            answers.into_iter().flatten().map(|health| (health.slot, health.roles.0)).collect();
        if left(&balancer, state.slot).all(|left| is_taken(left, &answers)) {
            break;
        }
        tokio::time::sleep(EVERY).await;
    }
    tracing::info!(ms = began.elapsed().as_millis(), "no more is left to other nodes");
    let mut track = Track::at(Path::new(paths::SPREAD_TRACK));
    while !track.tell(0) {
        tokio::time::sleep(EVERY).await;
    }
}

/// Whether the slot that prefers a virtual IP has a node that is up, or somebody has it.
fn is_taken((vip, preferred): (usize, Slot), answers: &[(Slot, Vec<Role>)]) -> bool {
    answers.iter().any(|(slot, roles)| *slot == preferred || roles.get(vip) == Some(&Role::Active))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::net::Ipv4Addr;

    use super::*;
    use crate::decide::Lead;
    use crate::ids::TableId;
    use crate::members::tests::member;
    use crate::tables::Serves;

    fn balancer(vips: usize) -> Balancer {
        let text = include_str!("../../templates/goldens/small/balancer.toml");
        let mut balancer = Balancer::parse(text).unwrap();
        balancer.virtual_ips = (0..vips).map(|vip| Ipv4Addr::new(10, 255, 0, 10 + vip as u8)).collect();
        balancer
    }

    fn table(routes: &[Ipv4Addr]) -> Table {
        let routes: BTreeMap<_, _> = routes.iter().map(|vip| (*vip, Lead::Blackhole)).collect();
        Table { id: TableId("rtb-1".into()), serves: Serves::Rest, routes }
    }

    fn due(vips: usize, slot: u8, tables: &[Table], other: usize) -> bool {
        let balancer = balancer(vips);
        let members = [member("i-0", 1), Member { subnet: balancer.subnets[other].clone(), ..member("i-1", 2) }];
        is_due(&balancer, Slot(slot), tables, &members, &members[0].instance)
    }

    #[test]
    fn a_node_of_a_new_balancer_leaves_to_the_others_what_they_prefer() {
        let new = [table(&[])];
        assert!(due(2, 0, &new, 1) && due(2, 1, &new, 0));
    }

    #[test]
    fn nothing_is_left_where_that_would_keep_clients_waiting() {
        let vip = Ipv4Addr::new(10, 255, 0, 11);
        assert!(!due(2, 0, &[table(&[]), table(&[vip])], 1), "it was served before");
        assert!(!due(2, 0, &[], 1), "the tables couldn't be read");
        assert!(!due(1, 1, &[table(&[])], 0), "there is nothing to spread");
        assert!(!due(2, 1, &[table(&[])], 1), "who would take it isn't there");
    }

    #[test]
    fn it_waits_for_who_prefers_it_or_for_whoever_has_it() {
        use Role::{Active, Standby};
        assert!(!is_taken((1, Slot(1)), &[]));
        assert!(!is_taken((1, Slot(1)), &[(Slot(0), vec![Active, Standby])]));
        assert!(is_taken((1, Slot(1)), &[(Slot(1), vec![Standby, Standby])]));
        assert!(is_taken((1, Slot(1)), &[(Slot(0), vec![Active, Active])]));
    }
}
