//! Tests of the events and metrics of a term.

use serde_json::Value;

use super::*;
use crate::node::members::tests::member;
use crate::node::state::tests::state;
use crate::ownership::decide::How;
use crate::telemetry::metrics::{Allowances, Calls, Kernel, Page, Readings, Sources, Told};
use crate::telemetry::notify::Sender;

const VIP: Ipv4Addr = Ipv4Addr::new(10, 255, 0, 10);

/// A recorder, with its outbox and board.
struct Scene {
    recorder: Recorder,
    outbox: Outbox,
    board: Board,
}

impl Scene {
    fn new() -> Scene {
        let (board, outbox) = (Board::new(state()), Outbox::default());
        outbox.open(Told::default());
        Scene { recorder: Recorder::new(board.clone(), outbox.clone(), Takeovers::of(&[VIP])), outbox, board }
    }

    fn decided(&self, reading: Reading, moves: &[Move]) {
        self.recorder.decided(VIP, &"eni-1".into(), &reading, moves, &[member("i-b", 2)]);
    }

    fn moved(&self, table: &str) {
        self.recorder.ended(VIP, &table.into(), Outcome::Moved);
    }

    /// The attempt that is under way.
    fn attempt(&self) -> Option<Instant> {
        Some(self.recorder.terms().get(&VIP)?.attempt.as_ref()?.since)
    }

    /// Does what the timer of that attempt does.
    fn overdue(&self, attempt: Option<Instant>) {
        self.recorder.overdue(VIP, attempt.expect("an attempt was under way"));
    }

    /// Takes all events from the outbox.
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
async fn a_change_of_role_is_reported_once_with_the_problems() {
    let scene = Scene::new();
    scene.board.problem(Topic::Haproxy, Some("down".into()));
    scene.recorder.role(VIP, Role::Standby);
    scene.recorder.role(VIP, Role::Standby);
    scene.recorder.role(VIP, Role::Fault);
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
async fn a_quick_takeover_is_counted_and_not_reported() {
    let scene = Scene::new();
    scene.decided(Reading::Due, &[point("rtb-1"), point("rtb-2")]);
    assert_eq!(scene.recorder.wrong()[&VIP], 2);
    let attempt = scene.attempt();
    scene.moved("rtb-1");
    assert_eq!(scene.recorder.wrong()[&VIP], 1);
    scene.moved("rtb-2");
    scene.overdue(attempt);
    assert_eq!(scene.recorder.wrong()[&VIP], 0);
    assert!(scene.told().await.is_empty());
}

#[tokio::test]
async fn a_slow_takeover_is_reported_with_reasons_and_so_is_its_end() {
    let scene = Scene::new();
    scene.decided(Reading::Due, &[point("rtb-1"), point("rtb-2")]);
    scene.moved("rtb-1");
    let denied = ApiError { action: "ReplaceRoute", kind: crate::aws::ec2::Kind::Denied, message: "denied".into() };
    scene.recorder.trouble(VIP, &"rtb-2".into(), &denied);
    let attempt = scene.attempt();
    scene.overdue(attempt);
    let told = scene.told().await;
    assert_eq!(told.len(), 1);
    assert_eq!(told[0]["takeover"]["tables"], serde_json::json!([{"table": "rtb-2", "why": "ReplaceRoute: denied"}]));
    // Another read meanwhile continues the same takeover.
    scene.decided(routes(&[("rtb-1", here()), ("rtb-2", Lead::Nowhere)]), &[point("rtb-2")]);
    assert_eq!(scene.attempt(), attempt);
    assert!(scene.told().await.is_empty());
    scene.moved("rtb-2");
    assert_eq!(scene.told().await[0]["event"], "takeover_complete");
}

#[tokio::test]
async fn a_reported_takeover_is_reported_complete_when_a_read_finds_the_routes_right() {
    let scene = Scene::new();
    scene.decided(Reading::Due, &[point("rtb-1")]);
    let attempt = scene.attempt();
    scene.overdue(attempt);
    assert_eq!(scene.told().await[0]["event"], "takeover_incomplete");
    scene.decided(Reading::Failed, &[Move::Rest]);
    assert_eq!(scene.attempt(), attempt, "a failed read ends no attempt");
    scene.decided(routes(&[("rtb-1", here())]), &[Move::Rest]);
    let told = scene.told().await;
    assert_eq!((told.len(), &told[0]["event"]), (1, &Value::from("takeover_complete")));
    assert_eq!(scene.recorder.wrong()[&VIP], 0);
}

#[tokio::test]
async fn a_takeover_that_yields_its_routes_is_not_reported_complete() {
    let scene = Scene::new();
    scene.decided(Reading::Due, &[point("rtb-1")]);
    scene.overdue(scene.attempt());
    scene.decided(routes(&[("rtb-1", Lead::To("eni-2".into()))]), &[Move::Yield("rtb-1".into(), "eni-2".into())]);
    assert!(scene.told().await.iter().all(|one| one["event"] == "takeover_incomplete"));
}

#[tokio::test]
async fn the_end_of_a_term_ends_its_takeover() {
    let scene = Scene::new();
    scene.decided(Reading::Due, &[point("rtb-1")]);
    let ended = scene.attempt();
    scene.recorder.role(VIP, Role::Standby);
    scene.recorder.role(VIP, Role::Active);
    scene.decided(Reading::Due, &[point("rtb-1")]);
    scene.overdue(ended);
    assert!(scene.told().await.iter().all(|one| one["event"] == "role_changed"));
}

/// Records that a table's route was pointed at this node a minute ago.
fn as_of_long_ago(scene: &Scene, table: &str) {
    let long_ago = Instant::now().checked_sub(Duration::from_secs(60)).expect("this machine is up for a minute");
    scene.recorder.terms().entry(VIP).or_default().claims.pointed(&table.into(), long_ago);
}

#[tokio::test]
async fn a_changed_route_is_reported_when_it_is_reclaimed() {
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
async fn contention_is_on_the_board_while_this_node_is_active() {
    let scene = Scene::new();
    for _ in 0..3 {
        as_of_long_ago(&scene, "rtb-1");
        scene.decided(routes(&[("rtb-1", Lead::Stranger("eni-stranger".into()))]), &[point("rtb-1")]);
    }
    let said = scene.board.read().problems.get(&Topic::Contention).cloned().unwrap_or_default();
    assert!(said.contains("redirected 3 times") && said.contains("eni-stranger"), "{said}");
    scene.recorder.role(VIP, Role::Standby);
    assert_eq!(scene.board.read().problems.get(&Topic::Contention), None);
}

#[tokio::test]
async fn a_yielded_route_is_reported_at_once_and_counts_as_wrong() {
    let scene = Scene::new();
    as_of_long_ago(&scene, "rtb-1");
    for _ in 0..2 {
        let reading = routes(&[("rtb-1", Lead::To("eni-2".into()))]);
        scene.decided(reading, &[Move::Yield("rtb-1".into(), "eni-2".into()), Move::Wait]);
    }
    let told = scene.told().await;
    assert_eq!((told.len(), &told[0]["routes"]["outcome"]), (1, &Value::from("yielded")));
    assert_eq!(scene.recorder.wrong()[&VIP], 1);
}

#[tokio::test]
async fn an_update_sets_new_counters_to_zero_and_ends_the_terms_of_removed_virtual_ips() {
    let (scene, new) = (Scene::new(), Ipv4Addr::new(10, 255, 0, 11));
    scene.decided(Reading::Due, &[point("rtb-1")]);
    scene.recorder.adopt(&[new], &[VIP]);
    assert!(scene.attempt().is_none() && scene.recorder.wrong().is_empty());
    let sources = Sources {
        calls: Calls::default(),
        takeovers: scene.recorder.0.takeovers.clone(),
        kernel: Kernel::default(),
        allowances: Allowances::default(),
        told: None,
        readings: Box::new(Readings::default),
    };
    let page = Page::new("web", vec![], sources).unwrap().text(&scene.board.read()).unwrap();
    for count in ["takeovers_total", "takeovers_incomplete_total", "takeover_duration_seconds_count"] {
        let sample = format!("elbow_{count}{{virtual_ip=\"{new}\",balancer=\"web\"}} 0\n");
        assert!(page.contains(&sample), "no {sample:?} in:\n{page}");
    }
}
