//! The evidence of an active node about one virtual IP: the peers' answers, their silences, and where the routes led.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use templates::Slot;

use super::dark_peers::{Dark, Trace};
use crate::aws::ids::{InterfaceId, TableId};
use crate::node::members::Member;
use crate::ownership::decide::{
    self, Lead, Membership, Move, Observation, Peer, QUESTIONS, QUIET_READS, Reading, Standing, Targets, Word,
};

/// The evidence of one term.
#[derive(Debug)]
pub(crate) struct Evidence {
    pub me: InterfaceId,
    pub vip: usize,
    pub priority: u8,
    pub standing: Standing,
    pub targets: Targets,
    pub reading: Reading,
    /// The turn of the last read of the routes that a decision used.
    pub seen: u64,
    /// When the signs of life were read last.
    pub signs_read: Option<Instant>,
    /// The peers that didn't answer the last questions.
    pub silent: BTreeSet<InterfaceId>,
    /// The results of short looks for the silent peers.
    pub dark: Dark,
    words: BTreeMap<InterfaceId, Word>,
    quiet: BTreeMap<InterfaceId, u8>,
    said: BTreeMap<InterfaceId, String>,
    led: BTreeMap<TableId, Lead>,
    pointed: BTreeMap<TableId, Instant>,
    owed: BTreeSet<TableId>,
}

impl Evidence {
    pub(crate) fn new(me: InterfaceId, vip: usize, priority: u8, standing: Standing) -> Self {
        Evidence {
            me,
            vip,
            priority,
            standing,
            targets: Targets::Up,
            reading: Reading::Due,
            seen: 0,
            signs_read: None,
            silent: BTreeSet::new(),
            dark: Dark::default(),
            words: BTreeMap::new(),
            quiet: BTreeMap::new(),
            said: BTreeMap::new(),
            led: BTreeMap::new(),
            pointed: BTreeMap::new(),
            owed: BTreeSet::new(),
        }
    }

    /// The input of `decide::decide`.
    pub(crate) fn observation(
        &self,
        tables: Vec<TableId>,
        members: &[Member],
        membership: Membership,
        subnets: &[String],
    ) -> Observation {
        let peer = |member: &Member| Peer {
            interface: member.interface.clone(),
            priority: Slot::of(&member.subnet, subnets).priority(self.vip),
            word: self.words.get(&member.interface).copied().unwrap_or(Word::Silent(0)),
            quiet: self.quiet.get(&member.interface).copied().unwrap_or_default(),
            dark: self.dark.looks(&member.interface),
        };
        Observation {
            me: self.me.clone(),
            standing: self.standing,
            priority: self.priority,
            targets: self.targets,
            tables,
            owed: self.owed.iter().cloned().collect(),
            reading: self.reading.clone(),
            membership,
            peers: members.iter().filter(|member| member.interface != self.me).map(peer).collect(),
        }
    }

    /// Takes in a read of the routes that began at `began`. A route that was pointed here later counts as leading here.
    /// A route that moved to a peer is a sign of life of that peer.
    pub(crate) fn look(&mut self, routes: Option<Vec<(TableId, Lead)>>, began: Instant) {
        let Some(mut routes) = routes else {
            self.reading = Reading::Failed;
            return;
        };
        for (table, lead) in &mut routes {
            if self.pointed.get(table).is_some_and(|pointed| *pointed > began) {
                *lead = Lead::To(self.me.clone());
            }
        }
        for (table, lead) in &routes {
            if matches!(lead, Lead::To(interface) if *interface == self.me) {
                self.owed.remove(table);
            }
            let before = self.led.insert(table.clone(), lead.clone());
            if let Lead::To(interface) = lead
                && before.is_some_and(|before| before != *lead)
            {
                self.quiet.remove(interface);
                self.dark.note(interface, Trace::Alive, began);
            }
        }
        self.reading = Reading::Routes(routes);
    }

    /// Records the tables that this node owes after `moves`.
    pub(crate) fn decided(&mut self, moves: &[Move]) {
        self.owed.extend(decide::owed(self.standing, moves).cloned());
    }

    /// The API confirmed at `now` that the route leads here.
    pub(crate) fn pointed(&mut self, table: &TableId, now: Instant) {
        self.owed.remove(table);
        self.pointed.insert(table.clone(), now);
        self.led.insert(table.clone(), Lead::To(self.me.clone()));
    }

    /// Records a peer's answer; `None` if it didn't answer.
    pub(crate) fn heard(&mut self, peer: &InterfaceId, said: Option<Word>) {
        let word = self.words.entry(peer.clone()).or_insert(Word::Silent(0));
        match (said, &word) {
            (Some(said), _) => {
                *word = said;
                self.quiet.remove(peer);
                self.dark.note(peer, Trace::Alive, Instant::now());
            }
            (None, Word::Silent(times)) => *word = Word::Silent(times.saturating_add(1)),
            (None, _) => {}
        }
    }

    /// Counts for each member the reads in a row without a change of its tags; `members` is `None` if the read failed.
    /// The first read of a member counts 0, and so does one that doesn't show its tags.
    pub(crate) fn signs(&mut self, members: Option<&[Member]>) {
        let read = members.unwrap_or_default().iter();
        let now: BTreeMap<InterfaceId, String> =
            read.filter_map(|member| Some((member.interface.clone(), member.says.clone()?))).collect();
        self.quiet.retain(|peer, _| now.contains_key(peer));
        for (peer, says) in &now {
            let quiet = self.quiet.entry(peer.clone()).or_default();
            *quiet = if self.said.get(peer) == Some(says) { quiet.saturating_add(1).min(QUIET_READS) } else { 0 };
        }
        self.said = now;
    }

    /// Records a short look at `now`: the API showed the trace `shown`, all paths together the trace `found`.
    pub(crate) fn glanced(&mut self, peer: &InterfaceId, shown: Trace, found: Trace, now: Instant) {
        self.dark.note(peer, found, now);
        if shown == Trace::Alive {
            self.quiet.remove(peer);
        }
    }

    /// Drops the reading and the answers: each decision needs new ones.
    pub(crate) fn forget(&mut self) {
        self.reading = Reading::Due;
        let silent = |word: &Word| matches!(word, Word::Silent(times) if *times >= QUESTIONS);
        self.silent = self.words.iter().filter(|(_, word)| silent(word)).map(|(peer, _)| peer.clone()).collect();
        self.words.clear();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::node::members::tests::member;

    fn knowledge() -> Evidence {
        Evidence::new("eni-1".into(), 0, 200, Standing::Holding)
    }

    fn says(text: &str) -> [Member; 1] {
        [Member { says: Some(text.into()), ..member("i-b", 2) }]
    }

    fn peer(knowledge: &Evidence) -> Peer {
        knowledge.observation(vec![], &says(""), Membership::Listed, &[]).peers[0].clone()
    }

    #[test]
    fn it_takes_a_baseline_and_two_reads_without_a_change_to_be_quiet() {
        let mut knowledge = knowledge();
        for quiet in [0, 1, 2, 2] {
            knowledge.signs(Some(&says("active")));
            assert_eq!(peer(&knowledge).quiet, quiet);
        }
        knowledge.signs(Some(&says("active, 20 s")));
        assert_eq!(peer(&knowledge).quiet, 0);
    }

    #[test]
    fn a_read_that_fails_starts_the_count_anew() {
        let mut knowledge = knowledge();
        (0..3).for_each(|_| {
            knowledge.signs(Some(&says("active")));
        });
        knowledge.signs(None);
        knowledge.signs(Some(&says("active")));
        assert_eq!(peer(&knowledge).quiet, 0);
    }

    #[test]
    fn a_read_that_does_not_show_a_peer_starts_its_count_anew() {
        let mut knowledge = knowledge();
        (0..3).for_each(|_| {
            knowledge.signs(Some(&says("active")));
        });
        knowledge.signs(Some(&[member("i-b", 2)]));
        assert_eq!(peer(&knowledge).quiet, 0);
        knowledge.signs(Some(&says("active")));
        assert_eq!(peer(&knowledge).quiet, 0);
    }

    #[test]
    fn a_route_that_came_to_a_peer_and_an_answer_are_signs_of_life() {
        let quiet = |knowledge: &mut Evidence| {
            (0..3).for_each(|_| {
                knowledge.signs(Some(&says("active")));
            })
        };
        let mut knowledge = knowledge();
        quiet(&mut knowledge);
        let theirs = || Some(vec![("rtb-1".into(), Lead::To("eni-2".into()))]);
        knowledge.look(theirs(), Instant::now());
        assert_eq!(peer(&knowledge).quiet, 2);
        knowledge.dark.note(&"eni-2".into(), Trace::Nothing, Instant::now());
        assert_eq!(peer(&knowledge).dark, 1);
        knowledge.pointed(&"rtb-1".into(), Instant::now());
        knowledge.look(theirs(), Instant::now());
        assert_eq!((peer(&knowledge).quiet, peer(&knowledge).dark), (0, 0));
        quiet(&mut knowledge);
        knowledge.dark.note(&"eni-2".into(), Trace::Nothing, Instant::now());
        knowledge.heard(&"eni-2".into(), Some(Word::Aside));
        let peer = peer(&knowledge);
        assert_eq!((peer.quiet, peer.dark, peer.word), (0, 0, Word::Aside));
    }

    #[test]
    fn a_table_is_owed_after_an_election_until_its_route_has_led_here() {
        let moves = ["rtb-1", "rtb-2", "rtb-3"].map(|table| Move::Point(table.into(), decide::How::Replace));
        let mut knowledge = knowledge();
        let owed = |knowledge: &Evidence| knowledge.observation(vec![], &[], Membership::Listed, &[]).owed;
        knowledge.decided(&moves);
        assert_eq!(owed(&knowledge), [], "a reclaimed route isn't owed");
        knowledge.standing = Standing::Elected;
        knowledge.decided(&moves);
        knowledge.pointed(&"rtb-1".into(), Instant::now());
        let routes = vec![("rtb-2".into(), Lead::To("eni-1".into())), ("rtb-3".into(), Lead::To("eni-2".into()))];
        knowledge.look(Some(routes), Instant::now());
        assert_eq!(owed(&knowledge), ["rtb-3".into()]);
    }

    #[test]
    fn a_look_that_began_before_a_route_was_pointed_here_does_not_say_where_it_leads() {
        let (mut knowledge, start) = (knowledge(), Instant::now());
        let (before, after) = (start, start + Duration::from_secs(2));
        knowledge.pointed(&"rtb-1".into(), start + Duration::from_secs(1));
        let theirs = || Lead::To("eni-2".into());
        let mut look = |began| {
            knowledge.look(Some(vec![("rtb-1".into(), theirs()), ("rtb-2".into(), theirs())]), began);
            let Reading::Routes(routes) = &knowledge.reading else { panic!("it looked") };
            routes.iter().map(|(_, lead)| lead.clone()).collect::<Vec<_>>()
        };
        assert_eq!(look(before), [Lead::To("eni-1".into()), theirs()]);
        assert_eq!(look(after), [theirs(), theirs()]);
    }

    #[test]
    fn silences_are_counted_until_the_next_decision() {
        let mut knowledge = knowledge();
        knowledge.heard(&"eni-2".into(), None);
        knowledge.heard(&"eni-2".into(), None);
        assert_eq!(peer(&knowledge).word, Word::Silent(2));
        knowledge.forget();
        assert_eq!(peer(&knowledge).word, Word::Silent(0));
        assert_eq!(knowledge.silent, ["eni-2".into()].into());
    }
}
