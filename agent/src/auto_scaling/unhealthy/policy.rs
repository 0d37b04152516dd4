//! Decides whether this node reports another one to the Auto Scaling group as unhealthy. Pure: all safeguards are here.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::time::Duration;

use crate::aws::ids::{InstanceId, TableId};
use crate::node::members::Member;
use crate::ownership::decide::Lead;

/// The input of [`decide`].
#[derive(Debug, Clone)]
pub(super) struct Seen<'a> {
    pub me: &'a InstanceId,
    /// How long a node must be unreachable.
    pub replace_after: Duration,
    /// The peers that this node can't reach, and for how long.
    pub unreachable: BTreeMap<InstanceId, Duration>,
    /// The node that was reported last.
    pub reported: Option<&'a InstanceId>,
    /// A read of the API for this decision.
    pub read: Option<Read>,
}

#[derive(Debug, Clone)]
pub(super) struct Read {
    /// The members, this node included.
    pub members: Vec<Member>,
    /// Where the first virtual IP's routes lead: only their owner reports.
    pub routes: Vec<(TableId, Lead)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    Rest,
    /// Read the API, and decide again.
    Read,
    Report(InstanceId),
}

/// Reports the node that has been unreachable for the longest time, of those that no other node reaches.
pub(super) fn decide(seen: &Seen<'_>) -> Verdict {
    let lost = seen.unreachable.iter().filter(|(peer, time)| **time >= seen.replace_after && *peer != seen.me);
    let mut suspects: Vec<(Reverse<&Duration>, &InstanceId)> = lost.map(|(peer, time)| (Reverse(time), peer)).collect();
    suspects.sort();
    if suspects.is_empty() {
        return Verdict::Rest;
    }
    let Some(Read { members, routes }) = &seen.read else { return Verdict::Read };
    let Some(me) = members.iter().find(|member| member.instance == *seen.me) else { return Verdict::Rest };
    let is_owner = !routes.is_empty() && routes.iter().all(|(_, lead)| *lead == Lead::To(me.interface.clone()));
    // One replacement ends before the next begins.
    let is_replaced = |member: &Member| member.ending || Some(&member.instance) == seen.reported;
    if !is_owner || members.iter().any(is_replaced) {
        return Verdict::Rest;
    }
    let suspect = suspects.into_iter().map(|(_, peer)| peer).find(|peer| is_lost(seen, members, peer));
    suspect.map_or(Verdict::Rest, |peer| Verdict::Report(peer.clone()))
}

/// Whether no node reaches the suspect. A node that never reported is still booting. A suspect that reports this node
/// as unreachable runs, cut off from it; a replacement would be cut off, too.
fn is_lost(seen: &Seen<'_>, members: &[Member], suspect: &InstanceId) -> bool {
    let Some(member) = members.iter().find(|member| member.instance == *suspect) else { return false };
    let mut others = members.iter().filter(|one| one.instance != *suspect && one.instance != *seen.me);
    member.reported && !misses(member, seen.me) && others.all(|other| agrees(seen, other, suspect))
}

/// Whether a third node can't reach the suspect, either. An unreachable third node counts only if it reports this node
/// as unreachable, which shows that it runs.
fn agrees(seen: &Seen<'_>, recorder: &Member, suspect: &InstanceId) -> bool {
    misses(recorder, suspect) || (seen.unreachable.contains_key(&recorder.instance) && !misses(recorder, seen.me))
}

fn misses(member: &Member, peer: &InstanceId) -> bool {
    member.unreachable.contains(peer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::members::tests::member;

    const MINUTE: Duration = Duration::from_secs(60);

    fn id(text: &str) -> InstanceId {
        text.into()
    }

    fn serving(instance: &str, last: u8, unreachable: &[&str]) -> Member {
        let unreachable = unreachable.iter().map(|peer| id(peer)).collect();
        Member { reported: true, unreachable, ..member(instance, last) }
    }

    /// The verdict of `i-a`, the owner of the routes, which has reached none of `unreachable` for a minute.
    fn decided(unreachable: &[&str], members: Vec<Member>) -> Verdict {
        with(unreachable, members, |_| ())
    }

    fn with(unreachable: &[&str], members: Vec<Member>, change: impl Fn(&mut Seen<'_>)) -> Verdict {
        let me = id("i-a");
        let routes = [1, 2].map(|table| (TableId(format!("rtb-{table}")), Lead::To(members[0].interface.clone())));
        let mut seen = Seen {
            me: &me,
            replace_after: MINUTE,
            unreachable: unreachable.iter().map(|peer| (id(peer), MINUTE)).collect(),
            reported: None,
            read: Some(Read { members, routes: routes.into() }),
        };
        change(&mut seen);
        decide(&seen)
    }

    fn pair() -> Vec<Member> {
        vec![serving("i-a", 1, &["i-b"]), serving("i-b", 2, &[])]
    }

    fn three(third: &[&str]) -> Vec<Member> {
        [pair(), vec![serving("i-c", 3, third)]].concat()
    }

    #[test]
    fn a_node_that_no_other_reaches_is_reported_when_it_is_time() {
        let report = Verdict::Report(id("i-b"));
        assert_eq!(decided(&["i-b"], pair()), report);
        assert_eq!(decided(&["i-b"], three(&["i-b"])), report);
        let early = |seen: &mut Seen<'_>| seen.unreachable = [(id("i-b"), MINUTE - Duration::from_secs(1))].into();
        assert_eq!(with(&["i-b"], pair(), early), Verdict::Rest);
        assert_eq!(decided(&[], pair()), Verdict::Rest);
    }

    #[test]
    fn the_api_is_read_before_a_report() {
        assert_eq!(with(&["i-b"], pair(), |seen| seen.read = None), Verdict::Read);
    }

    #[test]
    fn only_the_owner_of_the_routes_reports() {
        let route = |lead: Lead| with(&["i-b"], pair(), |seen| seen.read.as_mut().unwrap().routes[1].1 = lead.clone());
        assert_eq!(route(Lead::To("eni-2".into())), Verdict::Rest);
        assert_eq!(route(Lead::Nowhere), Verdict::Rest);
        assert_eq!(with(&["i-b"], pair(), |seen| seen.read.as_mut().unwrap().routes.clear()), Verdict::Rest);
    }

    #[test]
    fn a_node_never_reports_itself_and_nothing_when_it_is_no_member() {
        assert_eq!(decided(&["i-a"], pair()), Verdict::Rest);
        let without_me = |seen: &mut Seen<'_>| drop(seen.read.as_mut().unwrap().members.remove(0));
        assert_eq!(with(&["i-b"], pair(), without_me), Verdict::Rest);
    }

    #[test]
    fn a_node_that_another_reaches_is_not_reported() {
        assert_eq!(decided(&["i-b"], three(&[])), Verdict::Rest);
        assert_eq!(decided(&["i-b", "i-c"], three(&["i-a"])), Verdict::Rest, "i-c may reach i-b");
        assert_eq!(decided(&["i-b", "i-c"], three(&["i-a", "i-b"])), Verdict::Report(id("i-b")), "i-c misses i-b");
    }

    #[test]
    fn a_node_that_is_cut_off_from_this_one_and_runs_is_not_reported() {
        let cut = vec![serving("i-a", 1, &["i-b"]), serving("i-b", 2, &["i-a"])];
        assert_eq!(decided(&["i-b"], cut), Verdict::Rest);
    }

    #[test]
    fn of_two_dead_nodes_the_second_is_reported_when_the_first_is_gone() {
        let later = |seen: &mut Seen<'_>| seen.unreachable.extend([(id("i-c"), MINUTE * 2)]);
        assert_eq!(with(&["i-b", "i-c"], three(&[]), later), Verdict::Report(id("i-c")), "i-c is gone for longer");
        let first = id("i-c");
        let reported = || {
            let me = id("i-a");
            let routes = vec![(TableId("rtb-1".to_owned()), Lead::To("eni-1".into()))];
            let unreachable = BTreeMap::from([(id("i-b"), MINUTE)]);
            (me, routes, unreachable)
        };
        let decide = |members: Vec<Member>| {
            let (me, routes, unreachable) = reported();
            let read = Some(Read { members, routes });
            decide(&Seen { me: &me, replace_after: MINUTE, unreachable, reported: Some(&first), read })
        };
        assert_eq!(decide(three(&["i-b"])), Verdict::Rest, "i-c is still a member");
        assert_eq!(decide(pair()), Verdict::Report(id("i-b")));
        let mut ending = three(&["i-b"]);
        ending[2].ending = true;
        assert_eq!(decided(&["i-b"], ending), Verdict::Rest, "i-c is ending");
    }

    #[test]
    fn a_node_that_is_gone_ending_or_booting_is_not_reported() {
        let change = |change: fn(&mut Member)| {
            let mut members = pair();
            change(&mut members[1]);
            decided(&["i-b"], members)
        };
        assert_eq!(change(|member| member.ending = true), Verdict::Rest);
        assert_eq!(change(|member| member.reported = false), Verdict::Rest);
        assert_eq!(decided(&["i-b"], pair()[..1].to_vec()), Verdict::Rest);
    }
}
