//! Tests of an update's plan: it is complete, an update can stop after every step, and a finished update has an empty plan.

use templates::names::{TAG_DEFAULT, TAG_REVISION, TAG_RUNNING};
use templates::{Balancer, Slot};

use super::*;
use crate::model::desired::tests::{auto_scaling, desired_of, web};
use crate::model::group_settings::tests::group;
use crate::model::node_selector::NodeSelector;
use crate::model::observe::Observed;
use crate::model::observe::tests::{lost, whole};
use crate::preflight::tests::place;
use crate::resources::instance_refresh::tests::refresh;
use crate::resources::launch_template::Version;
use crate::resources::scaling_group::Member;
use crate::update::in_place::plan::Goal;
use crate::update::settings::tests::after;
use crate::update::snapshot::{Fetched, Image, Intent};

/// The example on another port.
fn moved() -> Balancer {
    let mut new = web();
    new.listeners[0].port = Some(8080);
    new
}

fn version(number: i64, balancer: &Balancer) -> Version {
    let contents = desired_of(balancer).contents("sg-1", None);
    Version { number, revision: balancer.revision().0, made: None, contents }
}

/// The example balancer and its versions, the first of which nodes boot.
pub(in crate::update) struct World {
    pub observed: Observed,
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

    /// In an Auto Scaling group, which launched the nodes from version 1; with version 2, which holds `new`.
    pub(in crate::update) fn grouped(new: &Balancer) -> World {
        let versions = vec![version(1, &auto_scaling()), version(2, new)];
        let mut observed = whole();
        let template = observed.template.as_mut().unwrap();
        (template.revision, template.contents) = (versions[0].revision.clone(), versions[0].contents.clone());
        template.tags.0.insert(TAG_DEFAULT.to_owned(), format!("1:{}", versions[0].revision));
        let policy = desired_of(&auto_scaling()).policy;
        observed.role.as_mut().unwrap().policy = serde_json::from_str(&policy).ok();
        let mut group = group();
        for node in &mut observed.nodes {
            let tags = [("aws:autoscaling:groupName", group.name.as_str()), (TAG_RUNNING, &versions[0].revision)];
            node.tags.0.extend(tags.map(|(key, value)| (key.to_owned(), value.to_owned())));
            group.members.push(Member { id: node.id.clone(), state: "InService".to_owned(), version: Some(1) });
        }
        World {
            observed: Observed { scaling: Some(group), ..observed },
            versions,
            goal: Goal::default(),
            image: Image::Pinned,
        }
    }

    pub(in crate::update) fn group(&mut self) -> &mut ScalingGroup {
        self.observed.scaling.as_mut().unwrap()
    }

    pub(in crate::update) fn snapshot(&self, new: &Balancer) -> Snapshot {
        let (observed, versions) = (self.observed.clone(), self.versions.clone());
        let template = observed.template.clone().unwrap();
        let intent = Intent { new: new.clone(), image: self.image, note: None };
        Snapshot::of(&intent, self.goal.clone(), Fetched { template, versions, observed }, place()).unwrap()
    }

    /// The plan for `new`, in words.
    fn plan(&self, new: &Balancer) -> Vec<String> {
        let snapshot = self.snapshot(new);
        steps(&snapshot).iter().flat_map(|step| step.changes(&snapshot)).map(|change| change.what).collect()
    }
}

#[test]
fn a_balancer_that_matches_its_file_needs_no_step() {
    assert_eq!(World::new().plan(&web()), [] as [&str; 0]);
}

#[test]
fn an_in_place_update_widens_rules_orders_standbys_first_and_moves_the_default_last() {
    let (new, revision) = (moved(), moved().revision());
    let (add, set) = (
        format!("add a version of revision {revision} to launch template elbow-web"),
        "make that version the default for new nodes".to_owned(),
    );
    let tell = |node: &str| format!("tell {node} to run revision {revision}");
    let (open, shut) =
        ("let in: tcp 8080 from 10.0.0.0/16".to_owned(), "no longer let in: tcp 80 from 10.0.0.0/16".to_owned());
    let (standby, actives) = (tell("node 1 (i-1, standby)"), tell("node 0 (i-0, active)"));
    let all = [open, add, standby, actives, set, shut];
    assert_eq!(World::new().plan(&new), all);
    // After each step, the plan is the rest.
    let mut world = World::with(&new);
    assert_eq!(world.plan(&new)[1..], all[2..], "its version is used again");
    world = world.running(1);
    assert_eq!(world.plan(&new)[1..], all[3..]);
    world = world.running(0);
    assert_eq!(world.plan(&new)[1..], all[4..]);
    world.observed = after(&world.snapshot(&new).wider(), &world.observed);
    world = world.booting();
    assert_eq!(world.plan(&new), all[5..]);
    let exact = settings::exact(&new, "eu-west-1", &["10.0.0.0/16".parse().unwrap()], &world.observed);
    world.observed = after(&exact, &world.observed);
    assert_eq!(world.plan(&new), [] as [&str; 0]);
}

#[test]
fn a_rollback_moves_the_default_before_nodes_get_the_order() {
    let mut world = World::with(&moved()).booting().running(0).running(1);
    world.image = Image::Of(1);
    let said = world.plan(&web());
    let place =
        |part: &str| said.iter().position(|what| what.contains(part)).unwrap_or_else(|| panic!("{part}: {said:?}"));
    assert!(place("make that version") < place("tell node 1"), "{said:?}");
    assert!(!said.iter().any(|what| what.contains("add a version")), "{said:?}");
}

#[test]
fn a_change_that_is_impossible_in_place_replaces_nodes() {
    let mut new = web();
    new.agent.as_mut().unwrap().sha256 = "1".repeat(64);
    let said = World::new().plan(&new);
    let parts = [
        "add a version",
        "launch a new node 1",
        "stop node 1",
        "launch a new node 0",
        "stop node 0",
        "make that version",
    ];
    assert_eq!(said.len(), parts.len(), "{said:?}");
    assert!(said.iter().zip(parts).all(|(what, part)| what.starts_with(part)), "{said:?}");
}

#[test]
fn a_left_out_node_gets_the_order_once_and_is_not_waited_for() {
    let mut world = World::with(&moved()).booting().running(1);
    world.observed.nodes[0] = lost(world.observed.nodes[0].clone(), "i-1");
    world.goal.without = vec![NodeSelector::Slot(Slot(0))];
    let tells =
        |world: &World| steps(&world.snapshot(&moved())).into_iter().find(|step| matches!(step, Step::Order(_)));
    assert_eq!(tells(&world), Some(Step::Order(vec!["node 0 (i-0, unreachable)".to_owned()])));
    let order = format!("2:{}", moved().revision());
    world.observed.nodes[0].tags.0.insert(TAG_REVISION.to_owned(), order);
    assert_eq!(tells(&world), None);
    world.goal.without.clear();
    assert_eq!(tells(&world), Some(Step::Order(Vec::new())), "it is waited for");
}

#[test]
fn a_default_that_was_set_by_hand_is_replaced_by_a_version_of_elbows() {
    let mut world = World::with(&web());
    world.observed.template.as_mut().unwrap().version = 2;
    let add = format!("add a version of revision {} to launch template elbow-web", web().revision());
    assert_eq!(world.plan(&web()), [add, "make that version the default for new nodes".to_owned()]);
}

/// The example in its group, with another agent.
pub(in crate::update) fn other_agent() -> Balancer {
    let mut new = auto_scaling();
    new.agent.as_mut().unwrap().sha256 = "1".repeat(64);
    new
}

const DEFAULT: &str = "make that version the default for new nodes";

#[test]
fn a_group_replaces_its_own_nodes_and_a_refresh_under_way_is_followed() {
    let mut world = World::grouped(&other_agent());
    let start = "have Auto Scaling group elbow-web replace node 0 (i-0, active), node 1 (i-1, standby) by an instance refresh: \
                 new nodes serve before old ones hand over and are terminated";
    assert_eq!(world.plan(&auto_scaling()), [] as [&str; 0]);
    assert_eq!(world.plan(&other_agent()), [start, DEFAULT]);
    world.group().refresh = Some(refresh("InProgress", 2));
    let follow = "follow instance refresh r-1 of elbow-web";
    assert_eq!(world.plan(&other_agent()), [follow, DEFAULT]);
    // One node is replaced; the successor of the other boots.
    world = world.running(0);
    assert_eq!(world.plan(&other_agent()), [follow, DEFAULT]);
}

#[test]
fn a_refresh_to_another_version_is_rolled_back_before_the_rest_is_planned() {
    let mut world = World::grouped(&other_agent());
    let undo = ["roll back the instance refresh of elbow-web, then plan the rest"];
    world.group().refresh = Some(refresh("InProgress", 2));
    assert_eq!(world.plan(&auto_scaling()), undo, "back to what the group launches");
    world.group().refresh = Some(refresh("RollbackInProgress", 2));
    assert_eq!(world.plan(&other_agent()), undo, "it must end first");
    world.group().refresh = Some(refresh("RollbackSuccessful", 2));
    assert_eq!(world.plan(&auto_scaling()), [] as [&str; 0]);
}

#[test]
fn a_node_that_was_launched_from_the_version_and_runs_another_is_replaced_too() {
    let mut world = World::grouped(&other_agent()).running(0).running(1);
    world = world.booting();
    world.group().template.1 = "2".to_owned();
    world.observed.template.as_mut().unwrap().default = 2;
    world.image = Image::Of(1);
    let snapshot = world.snapshot(&auto_scaling());
    assert!(!snapshot.skips_matching(), "they were updated to version 2 in place");
    assert_eq!(snapshot.refreshed().count(), 2);
    assert!(World::grouped(&other_agent()).snapshot(&other_agent()).skips_matching());
}

#[test]
fn after_an_in_place_update_the_group_launches_the_new_version() {
    let mut new = auto_scaling();
    new.listeners[0].port = Some(8080);
    let mut world = World::grouped(&new);
    let said = world.plan(&new);
    assert!(said[1].starts_with("tell node 1") && said[3] == DEFAULT, "{said:?}");
    world = world.running(0).running(1);
    assert!(world.plan(&new).contains(&DEFAULT.to_owned()), "the group still launches version 1");
    world = world.booting();
    world.observed.template.as_mut().unwrap().default = 2;
    assert!(world.plan(&new).contains(&DEFAULT.to_owned()), "the group still launches version 1");
    world.group().template.1 = "2".to_owned();
    assert!(!world.plan(&new).contains(&DEFAULT.to_owned()), "{:?}", world.plan(&new));
}

#[test]
fn a_group_launches_in_new_subnets_first_and_has_its_new_hooks_last() {
    let mut new = other_agent();
    new.failover.drain_timeout = Some("90s".parse().unwrap());
    let mut world = World::grouped(&new);
    world.group().settings.subnets = ["subnet-0aaa".to_owned()].into();
    let said = world.plan(&new);
    assert_eq!(said[0], "have Auto Scaling group elbow-web launch nodes in subnet-0aaa, subnet-0bbb");
    assert!(said[1].contains("by an instance refresh") && said[2] == DEFAULT, "{said:?}");
    assert_eq!(said[3..], ["set lifecycle hook handover of Auto Scaling group elbow-web, timeout 150 s"]);
}

#[test]
fn tags_change_in_place_and_those_of_earlier_versions_go() {
    let tagged = |pairs: &[(&str, &str)]| {
        let pairs = pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        Balancer { tags: pairs.collect(), ..web() }
    };
    let said = World::new().plan(&tagged(&[("Team", "web")]));
    let parts = [
        "add a version",
        "tell node 1",
        "tell node 0",
        "make that version",
        "set tags of security group sg-1: Team=web",
    ];
    assert!(said.iter().zip(parts).all(|(what, part)| what.starts_with(part)), "{said:?}");
    assert!(said.contains(&"set tags of instance i-0: Team=web".to_owned()), "{said:?}");
    assert!(!said.iter().any(|what| what.contains("launch") && what.contains("new node")), "{said:?}");

    // Version 2 had another tag.
    let mut world = World::with(&tagged(&[("Owner", "me")])).booting().running(0).running(1);
    world.observed.groups[0].tags.0.insert("Owner".to_owned(), "me".to_owned());
    world.observed.groups[0].tags.0.insert("foreign".to_owned(), "x".to_owned());
    let said = world.plan(&web());
    assert_eq!(said.last().map(String::as_str), Some("set tags of security group sg-1: no Owner"), "{said:?}");
}

#[test]
fn further_groups_and_volumes_replace_nodes_and_a_boundary_comes_before_the_policy() {
    let mut new = web();
    new.volume = Some(templates::balancer::Volume { size: Some(20), ..Default::default() });
    let said = World::new().plan(&new);
    assert!(said.iter().any(|what| what.starts_with("launch a new node 1")), "{said:?}");
    let arn = "arn:aws:iam::123456789012:policy/Boundary";
    let mut new = web();
    new.iam.permissions_boundary = Some(arn.to_owned());
    new.updates.in_place = false;
    let said = World::with(&new).plan(&new);
    assert_eq!(said[0], format!("set the permissions boundary of IAM role elbow-eu-west-1-web to {arn}"), "{said:?}");
    assert_eq!(said.iter().filter(|what| what.contains("boundary")).count(), 1, "{said:?}");
}

#[test]
fn an_existing_profile_leaves_elbows_role_alone() {
    let mut new = web();
    new.iam.instance_profile = Some("nodes".to_owned());
    let mut observed = whole();
    (observed.role, observed.profile) = (None, None);
    assert_eq!(plan::missing_in_iam(&desired_of(&new), &observed), []);
    let settings = settings::exact(&new, "eu-west-1", &["10.0.0.0/16".parse().unwrap()], &observed);
    assert_eq!(settings, [], "neither a policy nor a boundary");
    assert_eq!(plan::missing_in_iam(&desired_of(&web()), &observed).len(), 4, "back to Elbow's own");
}
