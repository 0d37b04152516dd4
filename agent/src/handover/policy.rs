//! When a node gives up its virtual IPs on purpose, and to whom. Pure: the whole policy of a handover is here.

use std::net::Ipv4Addr;
use std::time::Duration;

use templates::handover::{ABOVE, LEAVING, Request};

use crate::ids::InstanceId;
use crate::state::State;

/// How long a node in FAULT waits for another to be elected. On priority 0 that takes a fraction of an advertisement
/// interval; then it is BACKUP again, and if nobody took over it takes back what it never ceased to serve.
const ELECTION: Duration = Duration::from_secs(3);

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

/// What a node is for the virtual IPs, as far as its preference goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tenure {
    /// Active for none.
    Standby,
    /// Active for some.
    Active,
    /// Active, with all routes leading here, and not to be given up to whoever comes along.
    Settled,
}

impl Tenure {
    /// With `preempt` a virtual IP is given up to whoever is preferred for it. What is added counts for all virtual IPs: a
    /// node that has only some of them would draw the others to itself.
    pub fn of(state: &State, preempt: bool) -> Tenure {
        match (state.is_active(), state.virtual_ips.iter().all(|vip| vip.routed)) {
            (true, true) if !preempt => Tenure::Settled,
            (true, _) => Tenure::Active,
            (false, _) => Tenure::Standby,
        }
    }
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
    use templates::{Role, Slot};

    use super::*;
    use crate::state::VirtualIp;
    use crate::state::tests::state;

    const B: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 10);
    const C: Ipv4Addr = Ipv4Addr::new(10, 0, 3, 10);

    fn peer(address: Ipv4Addr, slot: u8, well: bool) -> Peer {
        let instance = InstanceId(format!("i-{slot}"));
        Peer { address, answer: Some(Answer { instance, priority: Slot(slot).priority(0), well }) }
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

    #[test]
    fn a_node_is_settled_with_all_virtual_ips_and_without_preempt() {
        let vip = |routed| VirtualIp {
            role: if routed { Role::Active } else { Role::Standby },
            routed,
            ..VirtualIp::unheard(Ipv4Addr::new(10, 255, 0, 10))
        };
        let with = |vips: &[bool]| State { virtual_ips: vips.iter().copied().map(vip).collect(), ..state() };
        assert_eq!(Tenure::of(&with(&[true, true]), false), Tenure::Settled);
        assert_eq!(Tenure::of(&with(&[true, true]), true), Tenure::Active);
        assert_eq!(Tenure::of(&with(&[true, false]), false), Tenure::Active);
        assert_eq!(Tenure::of(&with(&[false, false]), false), Tenure::Standby);
    }
}
