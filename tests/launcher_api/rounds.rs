//! `status` asks AWS in two rounds of parallel calls: a far Region costs it two latencies, and not one for each call.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures::FutureExt;
use futures::future::BoxFuture;
use lab::api::{Call, Caller, Hooks, Passage};

use crate::node;
use crate::rig::{Rig, text};

/// Long enough for a launcher on a busy machine to send all calls that need no answer of each other.
const QUIET: Duration = Duration::from_secs(1);

/// Holds the launcher's calls until no more come, and then lets them pass together. Those are a round: each of its calls was
/// sent without an answer to another.
#[derive(Default)]
struct Rounds(Mutex<Option<Counted>>);

struct Counted {
    /// The actions of the rounds that passed.
    passed: Vec<Vec<String>>,
    held: Vec<String>,
    last: Instant,
}

impl Rounds {
    /// Runs `work`, and returns its result and the rounds of its calls.
    fn of<T>(&self, work: impl FnOnce() -> T) -> (T, Vec<Vec<String>>) {
        *self.0.lock().unwrap() = Some(Counted { passed: Vec::new(), held: Vec::new(), last: Instant::now() });
        let done = work();
        let counted = self.0.lock().unwrap().take().expect("it is taken here only");
        (done, counted.passed)
    }

    /// Adds a call and returns the number of its round, if rounds are counted.
    fn hold(&self, call: &Call) -> Option<usize> {
        let mut counted = self.0.lock().unwrap();
        let counted = counted.as_mut().filter(|_| call.caller == Caller::Launcher)?;
        counted.held.push(call.action.clone());
        counted.last = Instant::now();
        Some(counted.passed.len())
    }

    fn has_passed(&self, round: usize) -> bool {
        let mut counted = self.0.lock().unwrap();
        let Some(counted) = counted.as_mut() else { return true };
        if counted.passed.len() == round && counted.last.elapsed() >= QUIET {
            let mut round = std::mem::take(&mut counted.held);
            round.sort();
            counted.passed.push(round);
        }
        counted.passed.len() > round
    }
}

impl Hooks for Rounds {
    fn request<'a>(&'a self, call: &'a Call) -> BoxFuture<'a, Passage> {
        async {
            if let Some(round) = self.hold(call) {
                while !self.has_passed(round) {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            }
            Passage::Open
        }
        .boxed()
    }
}

#[test]
fn status_takes_two_rounds_of_parallel_calls() {
    let rounds = Arc::new(Rounds::default());
    let rig = Rig::with(rounds.clone());
    rig.create(&rig.web());
    node::serve(&rig);
    let (status, passed) = rounds.of(|| rig.launcher(["status", "web"]));
    assert_eq!(status.status.code(), Some(0), "{}{}", text(&status.stdout), text(&status.stderr));
    let first = [
        "DescribeAutoScalingGroups",
        "DescribeInstances",
        "DescribeInstances",
        "DescribeLaunchTemplateVersions",
        "DescribeLaunchTemplates",
        "DescribeSecurityGroups",
        "GetInstanceProfile",
        "GetRole",
        "GetRolePolicy",
    ];
    assert_eq!(passed, [&first[..], &["DescribeImages", "DescribeRouteTables"]]);
}

/// Hooks, refresh and launches need the group's name, and no answer of each other.
#[test]
fn status_of_an_auto_scaling_group_takes_no_third_round() {
    let rounds = Arc::new(Rounds::default());
    let rig = Rig::with(rounds.clone());
    rig.create(&rig.grouped());
    let (status, passed) = rounds.of(|| rig.launcher(["status", "web"]));
    assert!(text(&status.stdout).contains(&rig.api.seed().vpc), "{}{}", text(&status.stdout), text(&status.stderr));
    let second = [
        "DescribeImages",
        "DescribeInstanceRefreshes",
        "DescribeLifecycleHooks",
        "DescribeRouteTables",
        "DescribeScalingActivities",
    ];
    assert_eq!(
        (passed.len(), passed.get(1).map(Vec::as_slice)),
        (2, Some(&second.map(str::to_owned)[..])),
        "{passed:?}"
    );
}
