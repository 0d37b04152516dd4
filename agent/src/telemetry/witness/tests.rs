//! What is told and counted of a term.

use serde_json::Value;

use super::*;
use crate::node::members::tests::member;
use crate::node::state::tests::state;
use crate::ownership::decide::How;
use crate::telemetry::metrics::{Calls, Kernel, Page, Readings, Sources, Told};
use crate::telemetry::notify::Sender;

const VIP: Ipv4Addr = Ipv4Addr::new(10, 255, 0, 10);

/// A witness, and what it tells.
struct Scene {
    witness: Witness,
    outbox: Outbox,
    board: Board,
}

impl Scene {
    fn new() -> Scene {
        let (board, outbox) = (Board::new(state()), Outbox::default());
        outbox.open(Told::default());
        Scene { witness: Witness::new(board.clone(), outbox.clone(), Takeovers::of(&[VIP])), outbox, board }
    }

    fn decided(&self, reading: Reading, moves: &[Move]) {
        self.witness.decided(VIP, &"eni-1".into(), &reading, moves, &[member("i-b", 2)]);
    }

    fn moved(&self, table: &str) {
        self.witness.ended(VIP, &table.into(), Outcome::Moved);
    }

    /// The attempt that is under way.
    fn attempt(&self) -> Option<Instant> {
        Some(self.witness.terms().get(&VIP)?.attempt.as_ref()?.since)
    }

    /// What the timer of that attempt does in the end.
    fn overdue(&self, attempt: Option<Instant>) {
        self.witness.overdue(VIP, attempt.expect("an attempt was under way"));
    }

    /// Everything that was told and not seen yet.
    async fn told(&self) -> Vec<Value> {
        let sender = Sender { region: "eu-west-1".into(), vpc: "vpc-1".into() };
        let mut told = Vec::new();
        while let Ok(letter) = tokio::time::timeout(Duration::ZERO, self.outbox.next()).await {
            told.push(letter.event.payload(&sender, &self.board.read(), letter.sequence, letter.dropped));
            self.outbox.done(&letter, true);
        }
        told
    }
}

fn point(table: &str) -> Move {
    Move::Point(table.into(), How::Replace)
}

fn routes(leads: &[(&str, Lead)]) -> Reading {
    Reading::Routes(leads.iter().map(|(table, lead)| ((*table).into(), lead.clone())).collect())
}

fn here() -> Lead {
    Lead::To("eni-1".into())
}

#[tokio::test]
async fn a_change_of_role_is_told_once_with_what_was_wrong() {
    let scene = Scene::new();
    scene.board.problem(Topic::Haproxy, Some("down".into()));
    scene.witness.role(VIP, Role::Standby);
    scene.witness.role(VIP, Role::Standby);
    scene.witness.role(VIP, Role::Fault);
    let told = scene.told().await;
    let roles: Vec<&Value> = told.iter().map(|one| &one["role"]).collect();
    assert_eq!(
        roles,
        [
            &serde_json::json!({"before": null, "now": "standby"}),
            &serde_json::json!({"before": "standby", "now": "fault"})
        ]
    );
    assert_eq!(told[1]["problems"], serde_json::json!(["down"]));
}

#[tokio::test]
async fn a_takeover_that_is_quick_is_counted_and_not_told() {
    let scene = Scene::new();
    scene.decided(Reading::Due, &[point("rtb-1"), point("rtb-2")]);
    assert_eq!(scene.witness.wrong()[&VIP], 2);
    let attempt = scene.attempt();
    scene.moved("rtb-1");
    assert_eq!(scene.witness.wrong()[&VIP], 1);
    scene.moved("rtb-2");
    scene.overdue(attempt);
    assert_eq!(scene.witness.wrong()[&VIP], 0);
    assert!(scene.told().await.is_empty());
}

#[tokio::test]
async fn a_takeover_that_takes_long_is_told_with_its_reasons_and_so_is_its_end() {
    let scene = Scene::new();
    scene.decided(Reading::Due, &[point("rtb-1"), point("rtb-2")]);
    scene.moved("rtb-1");
    let denied = ApiError { action: "ReplaceRoute", kind: crate::aws::ec2::Kind::Denied, message: "denied".into() };
    scene.witness.trouble(VIP, &"rtb-2".into(), &denied);
    let attempt = scene.attempt();
    scene.overdue(attempt);
    let told = scene.told().await;
    assert_eq!(told.len(), 1);
    assert_eq!(told[0]["takeover"]["tables"], serde_json::json!([{"table": "rtb-2", "why": "ReplaceRoute: denied"}]));
    // Looked again meanwhile: it is still the same takeover.
    scene.decided(routes(&[("rtb-1", here()), ("rtb-2", Lead::Nowhere)]), &[point("rtb-2")]);
    assert_eq!(scene.attempt(), attempt);
    assert!(scene.told().await.is_empty());
    scene.moved("rtb-2");
    assert_eq!(scene.told().await[0]["event"], "takeover_complete");
}

#[tokio::test]
async fn a_takeover_that_was_told_ends_for_the_reader_too_when_a_look_finds_the_routes_right() {
    let scene = Scene::new();
    scene.decided(Reading::Due, &[point("rtb-1")]);
    let attempt = scene.attempt();
    scene.overdue(attempt);
    assert_eq!(scene.told().await[0]["event"], "takeover_incomplete");
    scene.decided(Reading::Failed, &[Move::Rest]);
    assert_eq!(scene.attempt(), attempt, "a look that failed shows nothing");
    scene.decided(routes(&[("rtb-1", here())]), &[Move::Rest]);
    let told = scene.told().await;
    assert_eq!((told.len(), &told[0]["event"]), (1, &Value::from("takeover_complete")));
    assert_eq!(scene.witness.wrong()[&VIP], 0);
}

#[tokio::test]
async fn a_takeover_whose_routes_are_left_to_a_peer_is_not_told_to_be_complete() {
    let scene = Scene::new();
    scene.decided(Reading::Due, &[point("rtb-1")]);
    scene.overdue(scene.attempt());
    scene.decided(routes(&[("rtb-1", Lead::To("eni-2".into()))]), &[Move::Yield("rtb-1".into(), "eni-2".into())]);
    assert!(scene.told().await.iter().all(|one| one["event"] == "takeover_incomplete"));
}

#[tokio::test]
async fn a_term_that_ends_takes_its_takeover_along() {
    let scene = Scene::new();
    scene.decided(Reading::Due, &[point("rtb-1")]);
    let ended = scene.attempt();
    scene.witness.role(VIP, Role::Standby);
    scene.witness.role(VIP, Role::Active);
    scene.decided(Reading::Due, &[point("rtb-1")]);
    scene.overdue(ended);
    assert!(scene.told().await.iter().all(|one| one["event"] == "role_changed"));
}

/// The claims go by the real clock, as routes are looked at by it.
fn as_of_long_ago(scene: &Scene, table: &str) {
    let long_ago = Instant::now().checked_sub(Duration::from_secs(60)).expect("this machine is up for a minute");
    scene.witness.terms().entry(VIP).or_default().claims.pointed(&table.into(), long_ago);
}

#[tokio::test]
async fn a_stolen_route_is_told_when_it_leads_here_again() {
    let scene = Scene::new();
    as_of_long_ago(&scene, "rtb-1");
    scene.decided(
        routes(&[("rtb-1", Lead::To("eni-2".into())), ("rtb-2", Lead::Nowhere)]),
        &[point("rtb-1"), point("rtb-2")],
    );
    scene.moved("rtb-1");
    assert!(scene.told().await.is_empty());
    scene.moved("rtb-2");
    let told = scene.told().await;
    let expected = serde_json::json!({"outcome": "reclaimed", "changed": 1,
        "tables": [{"table": "rtb-1", "found": "eni-2", "member": "i-b"}]});
    assert_eq!((told.len(), &told[0]["routes"]), (1, &expected));
}

#[tokio::test]
async fn who_takes_the_routes_again_and_again_is_named_on_the_board_while_this_node_is_active() {
    let scene = Scene::new();
    for _ in 0..3 {
        as_of_long_ago(&scene, "rtb-1");
        scene.decided(routes(&[("rtb-1", Lead::Stranger("eni-stranger".into()))]), &[point("rtb-1")]);
    }
    let said = scene.board.read().problems.get(&Topic::Rivals).cloned().unwrap_or_default();
    assert!(said.contains("turned away 3 times") && said.contains("eni-stranger"), "{said}");
    scene.witness.role(VIP, Role::Standby);
    assert_eq!(scene.board.read().problems.get(&Topic::Rivals), None);
}

#[tokio::test]
async fn a_route_that_is_left_to_a_peer_is_told_at_once_and_counts_as_wrong() {
    let scene = Scene::new();
    as_of_long_ago(&scene, "rtb-1");
    for _ in 0..2 {
        let reading = routes(&[("rtb-1", Lead::To("eni-2".into()))]);
        scene.decided(reading, &[Move::Yield("rtb-1".into(), "eni-2".into()), Move::Wait]);
    }
    let told = scene.told().await;
    assert_eq!((told.len(), &told[0]["routes"]["outcome"]), (1, &Value::from("yielded")));
    assert_eq!(scene.witness.wrong()[&VIP], 1);
}

#[tokio::test]
async fn an_update_counts_new_virtual_ips_from_zero_and_forgets_the_term_of_one_that_left() {
    let (scene, new) = (Scene::new(), Ipv4Addr::new(10, 255, 0, 11));
    scene.decided(Reading::Due, &[point("rtb-1")]);
    scene.witness.adopt(&[new], &[VIP]);
    assert!(scene.attempt().is_none() && scene.witness.wrong().is_empty());
    let sources = Sources {
        calls: Calls::default(),
        takeovers: scene.witness.0.takeovers.clone(),
        kernel: Kernel::default(),
        told: None,
        readings: Box::new(Readings::default),
    };
    let page = Page::new("web", vec![], sources).unwrap().text(&scene.board.read()).unwrap();
    for count in ["takeovers_total", "takeovers_incomplete_total", "takeover_duration_seconds_count"] {
        let sample = format!("elbow_{count}{{virtual_ip=\"{new}\",balancer=\"web\"}} 0\n");
        assert!(page.contains(&sample), "no {sample:?} in:\n{page}");
    }
}
