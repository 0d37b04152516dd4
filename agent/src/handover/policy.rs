//! Decides when a node hands over its virtual IPs, and to which peer. Pure.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use templates::handover::{ABOVE, LEAVING, Request};
use templates::{Role, Slot};

use crate::aws::ids::InstanceId;
use crate::node::state::{State, VirtualIp};

/// How long a node in FAULT waits for another node to be elected. keepalived sends priority 0, so that takes a fraction
/// of an advertisement interval. If no peer takes over, the node becomes BACKUP and wins its virtual IPs back.
const ELECTION: Duration = Duration::from_secs(3);

/// How long after its first service a new virtual IP may move to its preferred node: as long as `create` waits for its
/// nodes.
const PLACEMENT: Duration = Duration::from_secs(600);

/// The input of [`decide`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observation {
    /// Whether it is active for any virtual IP.
    pub active: bool,
    /// Whether its agent is being stopped.
    pub stopping: bool,
    /// A new request.
    pub request: Option<Request>,
    /// A notice that is due.
    pub notice: Option<String>,
    /// Whether an election would bring the virtual IPs back at once.
    pub preempt: bool,
    /// The peers' answers; `None` before they are asked.
    pub peers: Option<Vec<Peer>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    pub address: Ipv4Addr,
    /// `None` if the peer didn't answer.
    pub answer: Option<Answer>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub instance: InstanceId,
    pub slot: Slot,
    /// Its priority for the first virtual IP that is handed over.
    pub priority: u8,
    /// Whether HAProxy serves and no virtual IP is in fault.
    pub well: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Move {
    Rest,
    /// Ask the peers for their state, and decide again.
    Ask,
    /// Hand over to the first of these that agrees.
    HandOver(Vec<Ipv4Addr>),
    /// Keep serving, and say why.
    Refuse(String),
    /// There is nothing to hand over: the request is fulfilled.
    Done,
}

pub fn decide(seen: &Observation) -> Move {
    match (&seen.request, seen.active) {
        (None, _) if !seen.stopping && seen.notice.is_none() => return Move::Rest,
        (Some(_), false) => return Move::Done,
        (None, false) => return Move::Rest,
        _ => {}
    }
    // A stop and a notice also lower the priority, so that the virtual IPs stay away. A request doesn't.
    if seen.preempt && !seen.stopping && seen.request.is_some() {
        return Move::Refuse("preempt = true would bring the virtual IPs back at once".to_owned());
    }
    let Some(peers) = &seen.peers else { return Move::Ask };
    let to = seen.request.as_ref().filter(|_| !seen.stopping).and_then(|request| request.to.as_deref());
    match able(peers, |answer| to.is_none_or(|to| answer.instance.0 == to)) {
        able if able.is_empty() => Move::Refuse(no_successor(peers, to)),
        able => Move::HandOver(able),
    }
}

/// The peers that can serve and satisfy `wanted`, the most preferred first.
pub fn able(peers: &[Peer], wanted: impl Fn(&Answer) -> bool) -> Vec<Ipv4Addr> {
    let able = peers.iter().filter_map(|peer| {
        let answer = peer.answer.as_ref().filter(|answer| answer.well && wanted(answer))?;
        Some((answer.priority, peer.address))
    });
    let mut able: Vec<(u8, Ipv4Addr)> = able.collect();
    able.sort_unstable_by(|a, b| b.cmp(a));
    able.into_iter().map(|(_, peer)| peer).collect()
}

fn no_successor(peers: &[Peer], to: Option<&str>) -> String {
    let unwell = peers.iter().filter_map(|peer| match &peer.answer {
        None => Some(format!("{} doesn't answer", peer.address)),
        Some(answer) => (!answer.well).then(|| format!("{} ({}) can't serve", answer.instance, peer.address)),
    });
    let unwell: Vec<String> = unwell.collect();
    match (to, &unwell[..]) {
        (None, []) => "there is no other node".to_owned(),
        (None, unwell) => unwell.join(", "),
        (Some(to), []) => format!("{to} doesn't answer"),
        (Some(to), unwell) => format!("{to} hasn't answered that it can serve: {}", unwell.join(", ")),
    }
}

/// The state of the election that a node in FAULT waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Election {
    /// Not over yet.
    Open,
    /// Peers are active for all virtual IPs that were handed over.
    Won,
    /// No peer became active in time.
    Lost,
}

/// The state after `time`. `taken`: peers report that they are active for all virtual IPs.
pub fn election(time: Duration, taken: bool) -> Election {
    match (taken, time < ELECTION) {
        (true, _) => Election::Won,
        (false, true) => Election::Open,
        (false, false) => Election::Lost,
    }
}

/// Whether a node stays or leaves soon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prospect {
    Stays,
    Leaves,
}

/// A node's state for a virtual IP, as far as its preference depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tenure {
    Standby,
    Active,
    /// Active, all routes lead here, and no other node preempts it.
    Settled,
}

impl Tenure {
    /// With `preempt` no node is settled: the virtual IP returns to its preferred node.
    pub fn of(vip: &VirtualIp, preempt: bool) -> Tenure {
        match (vip.role, vip.routed) {
            (Role::Active, true) if !preempt => Tenure::Settled,
            (Role::Active, _) => Tenure::Active,
            _ => Tenure::Standby,
        }
    }
}

/// The virtual IPs of a new balancer, by number, that this node hands over to their preferred slot. This node was the
/// first to serve them, less than [`PLACEMENT`] ago. That holds once in the life of a virtual IP, as its routes exist
/// from then on. So nodes never pass it back and forth, and an operator's handover isn't undone.
pub fn misplaced(state: &State, nodes: usize, now: Instant) -> Vec<(usize, Slot)> {
    let is_new = |vip: &VirtualIp| {
        vip.first_served.is_some_and(|since| now.saturating_duration_since(since) < PLACEMENT)
            && vip.role == Role::Active
            && vip.routed
    };
    // A single virtual IP stays on the node that is up first.
    let several = state.virtual_ips.len() > 1;
    let new = state.virtual_ips.iter().enumerate().filter(|(_, vip)| several && is_new(vip));
    new.map(|(vip, _)| (vip, Slot::preferred(vip, nodes))).filter(|(_, preferred)| *preferred != state.slot).collect()
}

/// The peers in the preferred slot that can serve.
pub fn at_home(preferred: Slot, peers: &[Peer]) -> Vec<Ipv4Addr> {
    let is_home = |answer: &Answer| answer.well && answer.slot == preferred;
    peers.iter().filter(|peer| peer.answer.as_ref().is_some_and(is_home)).map(|peer| peer.address).collect()
}

/// The number added to this node's priority. A settled node gets the highest one: a standby that only missed
/// advertisements (a stall, a network cut) must not take over. An active node never lowers its priority: with
/// `preempt`, that would hand over to a peer that wasn't asked.
pub fn preference(chosen: bool, tenure: Tenure, prospect: Prospect) -> i16 {
    match (chosen, tenure, prospect) {
        (true, ..) | (false, Tenure::Settled, Prospect::Stays) => ABOVE,
        (false, Tenure::Standby, Prospect::Leaves) => LEAVING,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::state::tests::state;

    const B: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 10);
    const C: Ipv4Addr = Ipv4Addr::new(10, 0, 3, 10);

    fn peer(address: Ipv4Addr, slot: u8, well: bool) -> Peer {
        let instance = InstanceId(format!("i-{slot}"));
        Peer { address, answer: Some(Answer { instance, slot: Slot(slot), priority: Slot(slot).priority(0), well }) }
    }

    fn request(to: Option<&str>) -> Option<Request> {
        Some(Request { id: "1".to_owned(), to: to.map(str::to_owned) })
    }

    fn active() -> Observation {
        Observation {
            active: true,
            stopping: false,
            request: None,
            notice: None,
            preempt: false,
            peers: Some(vec![peer(C, 2, true), peer(B, 1, true)]),
        }
    }

    #[test]
    fn nothing_is_handed_over_without_a_reason() {
        assert_eq!(decide(&active()), Move::Rest);
    }

    #[test]
    fn peers_are_asked_only_when_there_is_something_to_hand_over() {
        let notice = Some("reboot".to_owned());
        assert_eq!(decide(&Observation { notice: notice.clone(), peers: None, ..active() }), Move::Ask);
        assert_eq!(decide(&Observation { notice, peers: None, active: false, ..active() }), Move::Rest);
        assert_eq!(decide(&Observation { stopping: true, peers: None, active: false, ..active() }), Move::Rest);
    }

    #[test]
    fn every_reason_hands_over_to_the_most_preferred_peer_that_agrees() {
        let both = Move::HandOver(vec![B, C]);
        assert_eq!(decide(&Observation { request: request(None), ..active() }), both);
        assert_eq!(decide(&Observation { notice: Some("reboot".to_owned()), ..active() }), both);
        assert_eq!(decide(&Observation { stopping: true, ..active() }), both);
    }

    #[test]
    fn a_requested_instance_is_the_only_candidate() {
        let to = |instance, seen| decide(&Observation { request: request(Some(instance)), ..seen });
        assert_eq!(to("i-2", active()), Move::HandOver(vec![C]));
        assert_eq!(to("i-7", active()), Move::Refuse("i-7 doesn't answer".to_owned()));
        let stopping = Observation { stopping: true, ..active() };
        assert_eq!(to("i-2", stopping), Move::HandOver(vec![B, C]), "a stop ignores the requested instance");
    }

    #[test]
    fn a_node_without_a_healthy_peer_keeps_serving() {
        let refused =
            |peers: Vec<Peer>| match decide(&Observation { request: request(None), peers: Some(peers), ..active() }) {
                Move::Refuse(why) => why,
                other => panic!("{other:?}"),
            };
        assert_eq!(refused(vec![]), "there is no other node");
        let silent = Peer { address: B, answer: None };
        assert_eq!(refused(vec![silent, peer(C, 2, false)]), "10.0.2.10 doesn't answer, i-2 (10.0.3.10) can't serve");
    }

    #[test]
    fn a_request_to_a_node_that_is_not_active_is_done() {
        assert_eq!(decide(&Observation { active: false, request: request(None), ..active() }), Move::Done);
    }

    #[test]
    fn with_preempt_a_request_is_refused_and_a_notice_is_not() {
        let seen = Observation { preempt: true, ..active() };
        assert!(matches!(decide(&Observation { request: request(None), ..seen.clone() }), Move::Refuse(_)));
        assert!(matches!(decide(&Observation { notice: Some("reboot".into()), ..seen.clone() }), Move::HandOver(_)));
        assert!(matches!(decide(&Observation { stopping: true, request: request(None), ..seen }), Move::HandOver(_)));
    }

    #[test]
    fn an_election_without_a_winner_ends() {
        assert_eq!(election(Duration::ZERO, false), Election::Open);
        assert_eq!(election(ELECTION, false), Election::Lost);
        assert_eq!(election(ELECTION, true), Election::Won);
    }

    #[test]
    fn a_leaving_node_lowers_its_priority_unless_it_is_active() {
        assert_eq!(preference(false, Tenure::Standby, Prospect::Leaves), LEAVING);
        assert_eq!(preference(false, Tenure::Active, Prospect::Leaves), 0);
        assert_eq!(preference(false, Tenure::Settled, Prospect::Leaves), 0);
        assert_eq!(preference(false, Tenure::Standby, Prospect::Stays), 0);
        assert_eq!(preference(true, Tenure::Standby, Prospect::Leaves), ABOVE);
    }

    #[test]
    fn a_settled_node_has_the_highest_priority() {
        assert_eq!(preference(false, Tenure::Settled, Prospect::Stays), ABOVE);
        assert_eq!(preference(false, Tenure::Active, Prospect::Stays), 0);
    }

    fn served(role: Role, routed: bool) -> VirtualIp {
        VirtualIp { role, routed, ..VirtualIp::unheard(Ipv4Addr::new(10, 255, 0, 10)) }
    }

    #[test]
    fn a_node_is_settled_where_all_routes_lead_to_it_and_without_preempt() {
        assert_eq!(Tenure::of(&served(Role::Active, true), false), Tenure::Settled);
        assert_eq!(Tenure::of(&served(Role::Active, true), true), Tenure::Active);
        assert_eq!(Tenure::of(&served(Role::Active, false), false), Tenure::Active);
        assert_eq!(Tenure::of(&served(Role::Standby, false), false), Tenure::Standby);
    }

    #[test]
    fn virtual_ips_of_a_new_balancer_move_to_their_preferred_nodes_once_and_soon() {
        let now = Instant::now();
        let new = || VirtualIp { first_served: Some(now), ..served(Role::Active, true) };
        let misplaced = |vips: Vec<VirtualIp>, after| {
            misplaced(&State { slot: Slot(0), virtual_ips: vips, ..state() }, 2, now + after)
        };
        let soon = Duration::ZERO;
        assert_eq!(misplaced(vec![new(), new(), new()], soon), [(1, Slot(1))], "the others are in place");
        assert_eq!(misplaced(vec![new(), new()], PLACEMENT), [], "it was first served too long ago");
        let unrouted = VirtualIp { routed: false, ..new() };
        assert_eq!(misplaced(vec![new(), unrouted], soon), [], "its routes don't exist yet");
        assert_eq!(misplaced(vec![new(), served(Role::Active, true)], soon), [], "another node served it before");
        let alone = State { slot: Slot(1), virtual_ips: vec![new()], ..state() };
        assert_eq!(super::misplaced(&alone, 2, now), [], "there is nothing to spread");
        assert_eq!(at_home(Slot(1), &[peer(C, 2, true), peer(B, 1, true)]), [B]);
        assert_eq!(at_home(Slot(1), &[peer(B, 1, false), Peer { address: C, answer: None }]), [] as [Ipv4Addr; 0]);
    }
}
