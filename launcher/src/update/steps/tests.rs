//! The plan of an update: complete, in an order in which it can stop anywhere, and empty when it is done.

use templates::names::{TAG_DEFAULT, TAG_REVISION, TAG_RUNNING};
use templates::{Balancer, Slot};

use super::*;
use crate::check::tests::place;
use crate::desired::tests::{desired_of, web};
use crate::observe::Observed;
use crate::observe::tests::{lost, whole};
use crate::resources::launch_template::Version;
use crate::update::known::{Found, Image, Intent};
use crate::update::next::Goal;
use crate::update::settings::tests::after;
use crate::which::Which;

/// The example on another port.
fn moved() -> Balancer {
    let mut new = web();
    new.listeners[0].port = 8080;
    new
}

fn version(number: i64, balancer: &Balancer) -> Version {
    let contents = desired_of(balancer).contents("sg-1", None);
    Version { number, revision: balancer.revision().0, made: None, contents }
}

/// The example's versions, one for each of these, of which nodes boot the first.
struct World {
    observed: Observed,
    versions: Vec<Version>,
    goal: Goal,
    image: Image,
}

impl World {
    fn new() -> World {
        World { observed: whole(), versions: vec![version(1, &web())], goal: Goal::default(), image: Image::Pinned }
    }

    /// With version 2, which holds `new`.
    fn with(new: &Balancer) -> World {
        let mut world = World::new();
        world.versions.push(version(2, new));
        world
    }

    /// Nodes boot version 2.
    fn booting(mut self) -> World {
        let (two, one) = (&self.versions[1], &self.versions[0]);
        let template = self.observed.template.as_mut().unwrap();
        (template.version, template.revision, template.contents) = (2, two.revision.clone(), two.contents.clone());
        let tag = format!("2:{} 1:{}", two.revision, one.revision);
        template.tags.0.insert(TAG_DEFAULT.to_owned(), tag);
        self
    }

    /// The node runs version 2.
    fn running(mut self, slot: usize) -> World {
        let revision = self.versions[1].revision.clone();
        let tags = &mut self.observed.nodes[slot].tags.0;
        tags.insert(TAG_RUNNING.to_owned(), revision.clone());
        tags.insert(TAG_REVISION.to_owned(), format!("2:{revision}"));
        self
    }

    fn known(&self, new: &Balancer) -> Known {
        let (observed, versions) = (self.observed.clone(), self.versions.clone());
        let template = observed.template.clone().unwrap();
        let intent = Intent { new: new.clone(), image: self.image, note: None };
        Known::of(&intent, self.goal.clone(), Found { template, versions, observed }, place()).unwrap()
    }

    /// What is planned to get to `new`, in words.
    fn plan(&self, new: &Balancer) -> Vec<String> {
        let known = self.known(new);
        steps(&known).iter().flat_map(|step| step.changes(&known)).map(|change| change.what).collect()
    }
}

#[test]
fn a_balancer_that_is_as_its_file_says_needs_no_step() {
    assert_eq!(World::new().plan(&web()), [] as [&str; 0]);
}

#[test]
fn a_change_in_place_is_let_in_told_to_standbys_first_and_booted_last() {
    let (new, revision) = (moved(), moved().revision());
    let (add, set) = (
        format!("add a version of revision {revision} to launch template elbow-web"),
        "make that version the one that nodes boot".to_owned(),
    );
    let tell = |node: &str| format!("tell {node} to run revision {revision}");
    let (open, shut) =
        ("let in: tcp 8080 from 10.0.0.0/16".to_owned(), "let in no more: tcp 80 from 10.0.0.0/16".to_owned());
    let (standby, actives) = (tell("node 1 (i-1, standby)"), tell("node 0 (i-0, active)"));
    let all = [open, add, standby, actives, set, shut];
    assert_eq!(World::new().plan(&new), all);
    // Killed after a step, the plan is the rest.
    let mut world = World::with(&new);
    assert_eq!(world.plan(&new)[1..], all[2..], "its version is taken again");
    world = world.running(1);
    assert_eq!(world.plan(&new)[1..], all[3..]);
    world = world.running(0);
    assert_eq!(world.plan(&new)[1..], all[4..]);
    world.observed = after(&world.known(&new).wider(), &world.observed);
    world = world.booting();
    assert_eq!(world.plan(&new), all[5..]);
    let exact = settings::exact(&new, "eu-west-1", &["10.0.0.0/16".parse().unwrap()], &world.observed);
    world.observed = after(&exact, &world.observed);
    assert_eq!(world.plan(&new), [] as [&str; 0]);
}

#[test]
fn a_version_that_was_the_default_is_the_default_again_before_a_node_goes_down_to_it() {
    let mut world = World::with(&moved()).booting().running(0).running(1);
    world.image = Image::Of(1);
    let said = world.plan(&web());
    let place =
        |part: &str| said.iter().position(|what| what.contains(part)).unwrap_or_else(|| panic!("{part}: {said:?}"));
    assert!(place("make that version") < place("tell node 1"), "{said:?}");
    assert!(!said.iter().any(|what| what.contains("add a version")), "{said:?}");
}

#[test]
fn what_a_running_node_cannot_change_to_replaces_it() {
    let mut new = web();
    new.agent.sha256 = "1".repeat(64);
    let said = World::new().plan(&new);
    let parts = [
        "add a version",
        "launch node 1 anew",
        "shut node 1",
        "launch node 0 anew",
        "shut node 0",
        "make that version",
    ];
    assert_eq!(said.len(), parts.len(), "{said:?}");
    assert!(said.iter().zip(parts).all(|(what, part)| what.starts_with(part)), "{said:?}");
}

#[test]
fn a_node_that_is_left_out_is_told_once_and_not_waited_for() {
    let mut world = World::with(&moved()).booting().running(1);
    world.observed.nodes[0] = lost(world.observed.nodes[0].clone(), "i-1");
    world.goal.without = vec![Which::Slot(Slot(0))];
    let tells = |world: &World| steps(&world.known(&moved())).into_iter().find(|step| matches!(step, Step::Tell(_)));
    assert_eq!(tells(&world), Some(Step::Tell(vec!["node 0 (i-0, unreachable)".to_owned()])));
    let order = format!("2:{}", moved().revision());
    world.observed.nodes[0].tags.0.insert(TAG_REVISION.to_owned(), order);
    assert_eq!(tells(&world), None);
    world.goal.without.clear();
    assert_eq!(tells(&world), Some(Step::Tell(Vec::new())), "it is waited for");
}

#[test]
fn a_default_that_was_set_by_hand_is_replaced_by_a_version_of_elbows() {
    let mut world = World::with(&web());
    world.observed.template.as_mut().unwrap().version = 2;
    let add = format!("add a version of revision {} to launch template elbow-web", web().revision());
    assert_eq!(world.plan(&web()), [add, "make that version the one that nodes boot".to_owned()]);
}
