//! Tests of single rules; `agent/tests/ownership/` plays them against each other.

use super::*;

const OURS: &str = "eni-1";
const PEERS: &str = "eni-2";

fn seen(standing: Standing, lead: Lead, word: Word, quiet: u8) -> Observation {
    Observation {
        me: OURS.into(),
        standing,
        priority: 197,
        targets: Targets::Up,
        tables: vec!["rtb-1".into()],
        owed: vec![],
        reading: Reading::Routes(vec![("rtb-1".into(), lead)]),
        membership: Membership::Listed,
        peers: vec![Peer { interface: PEERS.into(), priority: 200, word, quiet, dark: 0 }],
    }
}

fn to(interface: &str) -> Lead {
    Lead::To(interface.into())
}

fn run(observation: &Observation) -> Vec<Move> {
    decide(observation)
}

fn takes() -> Vec<Move> {
    vec![Move::Point("rtb-1".into(), How::Replace)]
}

fn yields() -> Vec<Move> {
    vec![Move::Yield("rtb-1".into(), PEERS.into())]
}

const SILENT: Word = Word::Silent(QUESTIONS);

#[test]
fn an_elected_node_takes_every_table_without_a_look() {
    let observation = Observation { reading: Reading::Due, ..seen(Standing::Elected, to(PEERS), Word::Owner, 0) };
    assert_eq!(run(&observation), takes());
    assert_eq!(standing_after(Standing::Elected, &takes()), Standing::Holding);
}

#[test]
fn a_node_that_is_not_master_touches_nothing() {
    assert_eq!(run(&seen(Standing::Aside, Lead::Nowhere, Word::Aside, 9)), []);
}

#[test]
fn the_first_master_looks_and_asks_before_it_moves_routes() {
    let unread = Observation { reading: Reading::Due, ..seen(Standing::First, to(PEERS), SILENT, 0) };
    assert_eq!(run(&unread), [Move::Look]);
    let unasked = seen(Standing::First, to(PEERS), Word::Silent(0), 0);
    assert_eq!(run(&unasked), [Move::Ask(PEERS.into())]);
}

#[test]
fn the_first_master_yields_to_a_live_one_and_stays_unsettled() {
    let moves = run(&seen(Standing::First, to(PEERS), Word::Owner, 0));
    assert_eq!(moves, [yields(), vec![Move::Wait]].concat());
    assert_eq!(standing_after(Standing::First, &moves), Standing::First);
}

#[test]
fn the_first_master_takes_over_from_a_peer_that_stays_dead() {
    assert_eq!(run(&seen(Standing::First, to(PEERS), SILENT, QUIET_READS - 1)).last(), Some(&Move::Wait));
    assert_eq!(run(&seen(Standing::First, to(PEERS), SILENT, QUIET_READS)), takes());
    assert_eq!(run(&seen(Standing::First, to(PEERS), Word::Aside, 0)), takes());
}

#[test]
fn the_first_master_creates_a_missing_route_and_never_replaces_one() {
    let moves = run(&seen(Standing::First, Lead::Nowhere, SILENT, 0));
    assert_eq!(moves, [Move::Point("rtb-1".into(), How::Fill), Move::Wait]);
}

#[test]
fn of_two_masters_without_a_route_the_higher_goes_ahead() {
    let lower = seen(Standing::First, Lead::Nowhere, Word::Waiting, 0);
    assert_eq!(run(&lower), [yields(), vec![Move::Wait]].concat());
    assert_eq!(run(&Observation { priority: 203, ..lower }), takes());
}

#[test]
fn a_holder_reclaims_routes_that_are_missing_or_lead_to_no_node() {
    for lead in [Lead::Nowhere, Lead::Blackhole, Lead::Stranger("eni-9".into())] {
        assert_eq!(run(&seen(Standing::Holding, lead, Word::Owner, 0)), takes());
    }
    assert_eq!(run(&seen(Standing::Holding, to(OURS), Word::Owner, 0)), [Move::Rest]);
}

#[test]
fn a_route_to_an_unidentified_interface_is_left_alone() {
    for standing in [Standing::Holding, Standing::Resumed, Standing::First] {
        let moves = run(&Observation { peers: vec![], ..seen(standing, to("eni-9"), SILENT, 9) });
        assert_eq!(moves[0], Move::Yield("rtb-1".into(), "eni-9".into()), "{standing:?}");
    }
}

#[test]
fn a_node_that_never_read_the_list_of_members_creates_missing_routes_and_takes_none_in_use() {
    let unlisted =
        |standing, lead, word| Observation { membership: Membership::Unlisted, ..seen(standing, lead, word, 0) };
    let alone = |lead| Observation { peers: vec![], ..unlisted(Standing::First, lead, SILENT) };
    assert_eq!(run(&alone(Lead::Nowhere)), [Move::Point("rtb-1".into(), How::Fill)]);
    assert_eq!(run(&alone(Lead::Blackhole)), takes());
    for lead in [to("eni-9"), Lead::Stranger("eni-9".into())] {
        assert_eq!(run(&alone(lead)), [Move::Yield("rtb-1".into(), "eni-9".into()), Move::Wait]);
    }
    let blind = Observation { reading: Reading::Failed, ..alone(Lead::Nowhere) };
    assert_eq!(run(&blind), [Move::Point("rtb-1".into(), How::Fill), Move::Wait]);
    // The peer is known only from the route that leads to it.
    let mut owner = unlisted(Standing::First, to(PEERS), SILENT);
    assert_eq!(run(&owner), [yields(), vec![Move::Wait]].concat());
    owner.peers[0].dark = DARK_LOOKS;
    assert_eq!(run(&owner), takes(), "it hangs");
    assert_eq!(run(&Observation { standing: Standing::Resumed, ..owner.clone() }), takes());
    assert_eq!(run(&Observation { standing: Standing::Holding, ..owner })[..1], yields());
}

#[test]
fn a_booting_node_takes_over_at_once_from_a_peer_that_is_silent_on_every_path_and_an_owner_never_does() {
    let dark = |standing, looks| {
        let mut observation = seen(standing, to(PEERS), SILENT, 0);
        observation.peers[0].dark = looks;
        run(&observation)
    };
    assert_eq!(dark(Standing::First, DARK_LOOKS - 1)[..1], yields());
    assert_eq!(dark(Standing::First, DARK_LOOKS), takes());
    assert_eq!(dark(Standing::Holding, DARK_LOOKS)[..1], yields(), "the peer would take it back, and so on forever");
}

#[test]
fn a_peer_that_is_not_master_loses_the_route_and_one_that_is_keeps_it() {
    assert_eq!(run(&seen(Standing::Holding, to(PEERS), Word::Aside, 0)), takes());
    assert_eq!(run(&seen(Standing::Holding, to(PEERS), Word::Owner, 9)), yields());
}

#[test]
fn an_elected_node_takes_owed_tables_from_a_silent_peer_and_yields_them_to_one_that_answers() {
    let owing = |word| Observation { owed: vec!["rtb-1".into()], ..seen(Standing::Holding, to(PEERS), word, 0) };
    assert_eq!(run(&owing(SILENT)), takes());
    assert_eq!(run(&owing(Word::Owner)), yields());
    let had = Observation { owed: vec!["rtb-2".into()], ..owing(SILENT) };
    assert_eq!(run(&had)[..1], yields());
    assert_eq!(owed(Standing::Elected, &takes()).count(), 1);
    assert_eq!(owed(Standing::First, &takes()).count(), 0, "a first master decided by a look, and looks again");
}

#[test]
fn a_silent_peer_that_took_the_route_keeps_it_from_a_lower_one_while_it_gives_signs_of_life() {
    let lower = seen(Standing::Holding, to(PEERS), SILENT, QUIET_READS - 1);
    assert_eq!(run(&lower), [yields(), vec![Move::Wait]].concat());
    let higher = Observation { priority: 203, ..lower.clone() };
    assert_eq!(run(&higher), takes());
    assert_eq!(run(&Observation { targets: Targets::Down, ..higher }).first(), yields().first());
    assert_eq!(run(&seen(Standing::Holding, to(PEERS), SILENT, QUIET_READS)), takes());
}

#[test]
fn a_restarted_agent_finishes_the_takeover_from_a_dead_peer() {
    assert_eq!(run(&seen(Standing::Resumed, to(PEERS), SILENT, 0)), takes());
    assert_eq!(run(&seen(Standing::Resumed, to(PEERS), Word::Owner, 0)), yields());
}

#[test]
fn without_a_read_a_holder_rests_and_a_first_master_takes_only_routes_that_no_peer_can_own() {
    let blind = |standing, word| Observation { reading: Reading::Failed, ..seen(standing, Lead::Nowhere, word, 0) };
    assert_eq!(run(&blind(Standing::Holding, SILENT)), [Move::Rest]);
    assert_eq!(run(&blind(Standing::First, SILENT)), [Move::Wait]);
    assert_eq!(run(&blind(Standing::First, Word::Aside)), takes());
}
