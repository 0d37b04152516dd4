//! When a node gives up its virtual IPs on purpose, and to whom. Pure: the whole policy of a handover is here.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use templates::handover::{ABOVE, LEAVING, Request};
use templates::{Role, Slot};

use crate::aws::ids::InstanceId;
use crate::node::state::{State, VirtualIp};

/// How long a node in FAULT waits for another to be elected. On priority 0 that takes a fraction of an advertisement
/// interval; then it is BACKUP again, and if nobody took over it takes back what it never ceased to serve.
const ELECTION: Duration = Duration::from_secs(3);

/// How long after a virtual IP was served first the node that is preferred for it still gets it: as long as `create` waits
/// for its nodes.
const PLACEMENT: Duration = Duration::from_secs(600);

/// What this node knows when it is to decide.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observation {
    /// Whether it is active for any virtual IP.
    pub active: bool,
    /// Whether its agent is being stopped.
    pub stopping: bool,
    /// A request that wasn't followed before.
    pub request: Option<Request>,
    /// A notice that is due.
    pub notice: Option<String>,
    /// Whether an election would bring the virtual IPs back at once.
    pub preempt: bool,
    /// The peers, as they answered just now; none: nobody asked them yet.
    pub peers: Option<Vec<Peer>>,
}

/// A peer, by its own answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Where it is.
    pub address: Ipv4Addr,
    /// What it said; nothing: silence.
    pub answer: Option<Answer>,
}

/// What a peer said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Its instance.
    pub instance: InstanceId,
    /// Its slot.
    pub slot: Slot,
    /// Its priority for what is handed over.
    pub priority: u8,
    /// Whether it serves, and keepalived agrees.
    pub well: bool,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Move {
    /// Nothing.
    Rest,
    /// Ask the peers how they are.
    Ask,
    /// Hand over to the first of these that agrees.
    HandOver(Vec<Ipv4Addr>),
    /// Keep serving, and say why.
    Refuse(String),
    /// There is nothing to hand over: the request is as good as followed.
    Done,
}

/// What to do.
pub fn decide(seen: &Observation) -> Move {
    match (&seen.request, seen.active) {
        (None, _) if !seen.stopping && seen.notice.is_none() => return Move::Rest,
        (Some(_), false) => return Move::Done,
        (None, false) => return Move::Rest,
        _ => {}
    }
    // A stop and a notice come with a lower priority that keeps the virtual IPs away; a request doesn't.
    if seen.preempt && !seen.stopping && seen.request.is_some() {
        return Move::Refuse("preempt = true would bring the virtual IPs back at once".to_owned());
    }
    let Some(peers) = &seen.peers else { return Move::Ask };
    let to = seen.request.as_ref().filter(|_| !seen.stopping).and_then(|request| request.to.as_deref());
    let wanted = |answer: &&Answer| to.is_none_or(|to| answer.instance.0 == to);
    let able = peers.iter().filter_map(|peer| {
        let answer = peer.answer.as_ref().filter(|answer| answer.well).filter(wanted)?;
        Some((answer.priority, peer.address))
    });
    let mut able: Vec<(u8, Ipv4Addr)> = able.collect();
    able.sort_unstable_by(|a, b| b.cmp(a));
    if able.is_empty() {
        Move::Refuse(nobody(peers, to))
    } else {
        Move::HandOver(able.into_iter().map(|a| a.1).collect())
    }
}

fn nobody(peers: &[Peer], to: Option<&str>) -> String {
    let unwell = peers.iter().filter_map(|peer| match &peer.answer {
        None => Some(format!("{} doesn't answer", peer.address)),
        Some(answer) => (!answer.well).then(|| format!("{} ({}) can't serve", answer.instance, peer.address)),
    });
    let unwell: Vec<String> = unwell.collect();
    match (to, &unwell[..]) {
        (None, []) => "there is no other node".to_owned(),
        (None, unwell) => unwell.join(", "),
        (Some(to), []) => format!("{to} doesn't answer"),
        (Some(to), unwell) => format!("no answer says that {to} can serve: {}", unwell.join(", ")),
    }
}

/// How it goes with the election that a node in FAULT waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Election {
    /// Not over yet.
    Open,
    /// Others are active for all that was handed over.
    Won,
    /// Nobody is.
    Nobody,
}

/// What has come of the election after `time`; `taken` if peers say that they are active for all of it.
pub fn election(time: Duration, taken: bool) -> Election {
    match (taken, time < ELECTION) {
        (true, _) => Election::Won,
        (false, true) => Election::Open,
        (false, false) => Election::Nobody,
    }
}

/// Why a node counts last among the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prospect {
    /// It stays.
    Stays,
    /// It is to go away.
    Leaves,
}

/// What a node is for a virtual IP, as far as its preference goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tenure {
    /// Not active.
    Standby,
    /// Active.
    Active,
    /// Active, with all routes leading here, and not to be given up to a node that comes along.
    Settled,
}

impl Tenure {
    /// With `preempt` a virtual IP is given up to the node that is preferred for it.
    pub fn of(vip: &VirtualIp, preempt: bool) -> Tenure {
        match (vip.role, vip.routed) {
            (Role::Active, true) if !preempt => Tenure::Settled,
            (Role::Active, _) => Tenure::Active,
            _ => Tenure::Standby,
        }
    }
}

/// The virtual IPs of a new balancer, by number, that this node is to hand over to the slot that is preferred for them: it
/// was the first to serve them, and not long ago. That comes to pass once in the life of a virtual IP, as from then on there
/// are routes to it. So nodes never hand it to each other in turns, and what an operator asked for isn't undone.
pub fn misplaced(state: &State, nodes: usize, now: Instant) -> Vec<(usize, Slot)> {
    let is_new = |vip: &VirtualIp| {
        vip.first_served.is_some_and(|since| now.saturating_duration_since(since) < PLACEMENT)
            && vip.role == Role::Active
            && vip.routed
    };
    // A single one stays at the node that is up first.
    let several = state.virtual_ips.len() > 1;
    let new = state.virtual_ips.iter().enumerate().filter(|(_, vip)| several && is_new(vip));
    new.map(|(vip, _)| (vip, Slot::preferred(vip, nodes))).filter(|(_, preferred)| *preferred != state.slot).collect()
}

/// The peers in the preferred slot that are well.
pub fn at_home(preferred: Slot, peers: &[Peer]) -> Vec<Ipv4Addr> {
    let is_home = |answer: &Answer| answer.well && answer.slot == preferred;
    peers.iter().filter(|peer| peer.answer.as_ref().is_some_and(is_home)).map(|peer| peer.address).collect()
}

/// What is added to this node's priority. One that is settled stands above the others, so that a standby which has only
/// missed its advertisements (it stood still, the network was cut) takes nothing from it. One that is active keeps its own
/// at least: with `preempt` a lower one would be a handover without a look at whom to.
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
    fn a_chosen_instance_is_the_only_one() {
        let to = |instance, seen| decide(&Observation { request: request(Some(instance)), ..seen });
        assert_eq!(to("i-2", active()), Move::HandOver(vec![C]));
        assert_eq!(to("i-7", active()), Move::Refuse("i-7 doesn't answer".to_owned()));
        let stopping = Observation { stopping: true, ..active() };
        assert_eq!(
            to("i-2", stopping),
            Move::HandOver(vec![B, C]),
            "a stop doesn't wait for the one that was wished for"
        );
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
    fn a_request_to_a_node_that_is_not_active_is_as_good_as_followed() {
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
    fn an_election_that_nobody_wins_ends() {
        assert_eq!(election(Duration::ZERO, false), Election::Open);
        assert_eq!(election(ELECTION, false), Election::Nobody);
        assert_eq!(election(ELECTION, true), Election::Won);
    }

    #[test]
    fn a_node_that_leaves_is_the_last_choice_but_not_while_it_is_active() {
        assert_eq!(preference(false, Tenure::Standby, Prospect::Leaves), LEAVING);
        assert_eq!(preference(false, Tenure::Active, Prospect::Leaves), 0);
        assert_eq!(preference(false, Tenure::Settled, Prospect::Leaves), 0);
        assert_eq!(preference(false, Tenure::Standby, Prospect::Stays), 0);
        assert_eq!(preference(true, Tenure::Standby, Prospect::Leaves), ABOVE);
    }

    #[test]
    fn a_node_that_the_routes_lead_to_stands_above_the_others() {
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
    fn virtual_ips_of_a_new_balancer_go_home_once_and_soon() {
        let now = Instant::now();
        let new = || VirtualIp { first_served: Some(now), ..served(Role::Active, true) };
        let misplaced = |vips: Vec<VirtualIp>, after| {
            misplaced(&State { slot: Slot(0), virtual_ips: vips, ..state() }, 2, now + after)
        };
        let soon = Duration::ZERO;
        assert_eq!(misplaced(vec![new(), new(), new()], soon), [(1, Slot(1))], "the others are at home");
        assert_eq!(misplaced(vec![new(), new()], PLACEMENT), [], "it has stayed for long");
        let unrouted = VirtualIp { routed: false, ..new() };
        assert_eq!(misplaced(vec![new(), unrouted], soon), [], "its routes aren't made yet");
        assert_eq!(misplaced(vec![new(), served(Role::Active, true)], soon), [], "another served it before");
        let alone = State { slot: Slot(1), virtual_ips: vec![new()], ..state() };
        assert_eq!(super::misplaced(&alone, 2, now), [], "there is nothing to spread");
        assert_eq!(at_home(Slot(1), &[peer(C, 2, true), peer(B, 1, true)]), [B]);
        assert_eq!(at_home(Slot(1), &[peer(B, 1, false), Peer { address: C, answer: None }]), [] as [Ipv4Addr; 0]);
    }
}
