//! The launcher is killed before and after each of its API calls, and resumes when it runs again: it makes nothing
//! twice and leaves nothing behind.

use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};

use futures::FutureExt;
use futures::future::BoxFuture;
use lab::api::{Call, Caller, Hooks, Passage};
use rustix::process::{Pid, Signal, kill_process};

use crate::rig::{Rig, mutating, text};

/// Kills a launcher at an exact API call.
#[derive(Default)]
pub struct Killer(Mutex<Target>);

#[derive(Default)]
struct Target {
    process: Option<Pid>,
    moment: Option<(usize, When)>,
    counts: Counts,
    calls: usize,
}

/// The calls that count.
#[derive(Debug, Clone, Copy, Default)]
enum Counts {
    #[default]
    All,
    Changes,
    Only(&'static str),
}

impl Counts {
    fn has(self, call: &Call) -> bool {
        match self {
            Counts::All => true,
            Counts::Changes => call.is_mutating(),
            Counts::Only(action) => call.action == action,
        }
    }
}

/// When the launcher is killed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum When {
    /// The API never receives the call.
    Before,
    /// The API executes the call; the launcher gets no answer.
    After,
}

impl Killer {
    fn aim(&self, moment: Option<(usize, When)>, counts: Counts) {
        *self.0.lock().unwrap() = Target { moment, counts, ..Target::default() };
    }

    fn passage(&self, call: &Call, when: When) -> Passage {
        let mut target = self.0.lock().unwrap();
        if call.caller != Caller::Launcher || target.moment.is_none() {
            return Passage::Open;
        }
        if when == When::Before && target.counts.has(call) {
            target.calls += 1;
        }
        // Calls are concurrent: from this moment on, all calls of the killed launcher are lost.
        let (number, at) = target.moment.expect("checked above");
        let over = target.calls > number || (target.calls == number && when == at);
        if !over {
            return Passage::Open;
        }
        if let Some(process) = target.process.take() {
            kill_process(process, Signal::KILL).expect("the launcher is a child that wasn't waited for");
        }
        Passage::Lost
    }
}

impl Hooks for Killer {
    fn request<'a>(&'a self, call: &'a Call) -> BoxFuture<'a, Passage> {
        async { self.passage(call, When::Before) }.boxed()
    }

    fn answer<'a>(&'a self, call: &'a Call) -> BoxFuture<'a, Passage> {
        async { self.passage(call, When::After) }.boxed()
    }
}

/// Runs the launcher and kills it at `moment`. Returns `false` if it ended before.
pub fn killed(rig: &Rig, killer: &Killer, moment: (usize, When), arguments: &[&str]) -> bool {
    killer.aim(Some(moment), Counts::All);
    run_to_death(rig, killer, arguments)
}

/// Runs the launcher and kills it after `changes` mutating calls. Returns `false` if it ended before.
pub fn killed_after(rig: &Rig, killer: &Killer, changes: usize, arguments: &[&str]) -> bool {
    killer.aim(Some((changes, When::After)), Counts::Changes);
    run_to_death(rig, killer, arguments)
}

/// Runs the launcher and kills it at the first call of `action`. Returns `false` if it ended before.
pub fn killed_at(rig: &Rig, killer: &Killer, action: &'static str, when: When, arguments: &[&str]) -> bool {
    killer.aim(Some((1, when)), Counts::Only(action));
    run_to_death(rig, killer, arguments)
}

fn run_to_death(rig: &Rig, killer: &Killer, arguments: &[&str]) -> bool {
    let mut command = rig.command(arguments);
    let mut held = killer.0.lock().unwrap();
    let child: Child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    held.process = Pid::from_raw(child.id() as i32);
    drop(held);
    let output = child.wait_with_output().unwrap();
    killer.aim(None, Counts::All);
    let status = output.status;
    assert!(status.signal() == Some(9) || status.success(), "{status}: {}", text(&output.stderr));
    status.signal() == Some(9)
}

fn create_killed(when: When) {
    let killer = Arc::new(Killer::default());
    let rig = Rig::with(killer.clone());
    let before = rig.surroundings();
    let file = rig.web();
    let create = ["create", file.to_str().unwrap(), "--no-wait"];
    // Before its last reading call, the launcher has changed nothing.
    rig.take_calls();
    rig.create(&file);
    let first = rig.take_calls().iter().take_while(|call| !call.is_mutating()).count();
    rig.destroy();
    let mut number = first;
    while killed(&rig, &killer, (number, when), &create) {
        rig.create(&file);
        assert_eq!(rig.nodes().len(), 2, "killed {when:?} call {number}");
        assert_eq!(rig.world().security_groups.iter().filter(|group| group.name == "elbow-web").count(), 1);
        rig.take_calls();
        rig.create(&file);
        assert_eq!(mutating(&rig.take_calls()), [] as [&str; 0], "killed {when:?} call {number}, resumed, and again");
        rig.destroy();
        assert_eq!(rig.surroundings(), before, "killed {when:?} call {number}");
        number += 1;
    }
    assert!(number - first >= 10, "it was killed at only {} calls", number - first);
}

#[test]
fn create_killed_before_any_call_is_finished_by_running_it_again() {
    create_killed(When::Before);
}

#[test]
fn create_killed_after_any_call_is_finished_by_running_it_again() {
    create_killed(When::After);
}

fn destroy_killed(when: When) {
    let killer = Arc::new(Killer::default());
    let rig = Rig::with(killer.clone());
    let before = rig.surroundings();
    let file = rig.web();
    let mut number = 1;
    rig.create(&file);
    crate::node::take_over(&rig, &rig.nodes()[0]);
    while killed(&rig, &killer, (number, when), &["destroy", "web", "--yes"]) {
        rig.destroy();
        assert_eq!(rig.surroundings(), before, "killed {when:?} call {number}");
        rig.create(&file);
        crate::node::route(&rig, &rig.nodes()[0], &rig.api.seed().route_tables["main"]);
        number += 1;
    }
    assert_eq!(rig.surroundings(), before);
    assert!(number > 20, "it was killed at only {} calls", number - 1);
}

#[test]
fn destroy_killed_before_any_call_is_finished_by_running_it_again() {
    destroy_killed(When::Before);
}

#[test]
fn destroy_killed_after_any_call_is_finished_by_running_it_again() {
    destroy_killed(When::After);
}
