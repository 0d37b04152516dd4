//! A probe asks each active node once, takes its new answer, and shows what a client would get.

use templates::balancer::NodeConfig;
use templates::names::{TAG_PROBED, TAG_REACHED, TAG_ROLE};

use super::*;
use crate::assess::{Expected, assess};
use crate::model::desired::tests::{WEB, web};
use crate::model::node::Node;
use crate::model::observe::tests::node;

const TAKEN: &str = "2026-11-29T14:03:12Z";

fn pair() -> [Node; 2] {
    [node("i-0", 0, "running"), node("i-1", 1, "running")]
}

/// A pair with this answer of its active node to the request `id`.
fn answered(id: &str, words: &str) -> [Node; 2] {
    let [mut active, standby] = pair();
    active.tags = active.tags.with(TAG_PROBED[0], format!("{id}@{TAKEN} {words}"));
    [active, standby]
}

fn look(balancer: &Balancer, nodes: &[Node]) -> Assessment {
    assess(&Expected::from(&NodeConfig::of(balancer)), nodes, &[])
}

fn asked(before: Option<&str>) -> Asked {
    Asked::from([("i-0".to_owned(), before.map(|id| id.parse().unwrap()))])
}

fn stage_of(nodes: &[Node], asked: &Asked) -> String {
    let is = look(&web(), nodes);
    match stage(&is.virtual_ips[0], &is, asked) {
        Stage::Unserved => "unserved".to_owned(),
        Stage::Ask(node) => format!("ask {}", node.instance),
        Stage::Waits(node) => format!("waits for {}", node.instance),
        Stage::Answered(node, answer) => format!("{} of {}", answer.to, node.instance),
    }
}

fn probed(words: &str) -> Probed {
    judge(&web(), &look(&web(), &answered("1-b", words)), &asked(None))
}

#[test]
fn an_active_node_is_asked_once_and_its_new_answer_counts() {
    let with = |id: &str| answered(id, "10.255.0.10/http=connected");
    assert_eq!(stage_of(&pair(), &Asked::new()), "ask i-0");
    assert_eq!(stage_of(&with("1-a"), &Asked::new()), "ask i-0", "an answer to another launcher, of earlier");
    assert_eq!(stage_of(&pair(), &asked(None)), "waits for i-0");
    assert_eq!(stage_of(&with("1-a"), &asked(Some("1-a"))), "waits for i-0");
    assert_eq!(stage_of(&with("1-b"), &asked(Some("1-a"))), "1-b of i-0");
}

#[test]
fn after_a_handover_the_other_node_is_asked() {
    let [mut first, mut second] = answered("1-b", "10.255.0.10/http=connected");
    first.tags = first.tags.with(TAG_ROLE, "standby");
    assert_eq!(stage_of(&[first.clone(), second.clone()], &asked(None)), "unserved");
    second.tags = second.tags.with(TAG_ROLE, "active");
    assert_eq!(stage_of(&[first, second], &asked(None)), "ask i-1");
    // It answered while it wasn't active.
    assert_eq!(stage_of(&answered("1-b", ""), &asked(None)), "ask i-0");
    assert_eq!(stage_of(&answered("1-b", "+3"), &asked(None)), "1-b of i-0");
}

#[test]
fn a_response_is_shown_with_its_target_and_its_time() {
    let words = "10.255.0.10/http=200,10.0.1.20:8080,3 10.255.0.10/old=404,-,0 +2";
    let [mut active, mut standby] = answered("1-b", words);
    standby.tags = standby.tags.with(TAG_REACHED, "yes");
    let probed = judge(&web(), &look(&web(), &[active.clone(), standby.clone()]), &asked(None));
    assert!(probed.outcome().is_ok());
    let now = "2026-11-29T15:00:00Z".parse().unwrap();
    let shown = "  LISTENER  ASKED AT        ANSWER  TARGET          MS  NODE  TIME\n\
        \x20 http      10.255.0.10:80  200     10.0.1.20:8080  3   i-0   14:03:12Z\n\
        \x20 old       10.255.0.10     404     HAProxy itself  0   i-0   14:03:12Z\n\
        \x20 … 10.255.0.10 through the VPC: subnet-0bbb (eu-west-1a) reaches it\n\
        \x20 … 2 more listeners aren't shown: the node's tags have no room for them\n";
    assert_eq!(probed.text(now), shown);
    let json = serde_json::to_value(&probed).unwrap();
    let http = serde_json::json!({
        "virtual_ip": "10.255.0.10", "listener": "http", "port": 80, "instance": "i-0", "asked": TAKEN,
        "answer": "http", "status": 200, "target": "10.0.1.20:8080", "ms": 3, "problem": null,
    });
    assert_eq!((&json["listeners"][0], &json["left_out"]), (&http, &2.into()));
    active.tags = active.tags.with(TAG_ROLE, "fault");
    let unserved = judge(&web(), &look(&web(), &[active, standby]), &asked(None));
    assert_eq!(unserved.problems, ["10.255.0.10: no node is active, so its listeners can't be asked"]);
}

#[test]
fn what_a_client_would_miss_is_a_problem() {
    for (outcome, problem) in [
        ("200,10.0.1.20:8080,3", None),
        ("503,10.0.1.20:8080,3", None),
        ("404,-,0", None),
        ("301,-,0", None),
        ("taken,10.0.1.30:5432", None),
        ("connected", None),
        ("503,-,0", Some("503: no target serves it")),
        ("504,-,5000", Some("504: a target didn't respond in time")),
        ("refused", Some("the connection was refused: HAProxy doesn't listen there")),
        ("waiting", Some("no target took the connection in time")),
    ] {
        let probed = probed(&format!("10.255.0.10/http={outcome}"));
        let expected = problem.map(|why| format!("listener http on 10.255.0.10:80: {why}"));
        assert_eq!(probed.problems, expected.into_iter().collect::<Vec<_>>(), "{outcome}");
        assert_eq!(probed.outcome().is_err(), problem.is_some());
    }
}

#[test]
fn a_503_that_the_file_asks_for_is_no_problem() {
    let (head, _) = WEB.split_once("targets = ").unwrap();
    let closed = Balancer::parse(&format!("{head}respond = {{ status = 503 }}\n")).unwrap();
    let is = look(&closed, &answered("1-b", "10.255.0.10/http=503,-,0"));
    assert_eq!(judge(&closed, &is, &asked(None)).problems, [] as [&str; 0]);
}

#[test]
fn a_silent_node_and_an_unreached_virtual_ip_are_named() {
    let [active, mut standby] = pair();
    standby.tags = standby.tags.with(TAG_REACHED, "no");
    let probed = judge(&web(), &look(&web(), &[active, standby]), &asked(None));
    let silent = "10.255.0.10: node 0 (i-0) hasn't answered the probe within 30 s: its agent doesn't run, can't \
        read or write its tags, or is older than this launcher; see journalctl -u elbow-agent there";
    let unreached = "10.255.0.10 isn't reachable through the VPC from subnet-0bbb (eu-west-1a)";
    assert_eq!(probed.problems, [unreached, silent]);
    assert!(probed.outcome().is_err() && probed.listeners.is_empty());
}
