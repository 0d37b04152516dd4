//! Checks before the first change whether a balancer can be created from its file. Pure: every problem is a line.

pub mod account;
pub mod agent;
pub mod changed_by_hand;

use std::collections::BTreeSet;

use templates::balancer::{Launch, RouteTables};
use templates::values::Image;
use templates::{Balancer, files, names};

use crate::model::discover::Surroundings;
use crate::model::group_settings;
use crate::model::identity;
use crate::model::node_status::has_reported;
use crate::model::observe::Observed;
use crate::model::vip_claims::{refusal, taken};
use crate::resources::launch_template::Template;
use crate::resources::route_tables::eligible;

/// IAM's limit for the name of a role (IAM API reference, CreateRole).
const ROLE_NAME: usize = 64;

/// IAM's quota for all of a role's inline policies, white space not counted (IAM user guide, "IAM and AWS STS quotas").
const ROLE_POLICY: usize = 10_240;

/// What a problem of the surroundings is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Topic {
    /// The name, and resources that have it.
    Name,
    Vpc,
    VirtualIps,
    Subnets,
    /// Image and instance type.
    Machines,
    /// The agent, and the bucket that holds it.
    Agent,
    RouteTables,
}

/// Every problem, in the order of the file's keys.
pub fn problems(balancer: &Balancer, place: &Surroundings, observed: &Observed) -> Vec<String> {
    let mut problems = surroundings(balancer, place, observed);
    problems.extend(existing(balancer, observed));
    problems
}

/// Every problem of its surroundings.
pub fn surroundings(balancer: &Balancer, place: &Surroundings, observed: &Observed) -> Vec<String> {
    by_topic(balancer, place, observed).into_iter().map(|(_, problem)| problem).collect()
}

/// Every problem of its surroundings, with its topic.
pub fn by_topic(balancer: &Balancer, place: &Surroundings, observed: &Observed) -> Vec<(Topic, String)> {
    let mut all = Vec::new();
    let mut about = |topic: Topic, find: &dyn Fn(&mut Vec<String>)| {
        let mut problems = Vec::new();
        find(&mut problems);
        all.extend(problems.into_iter().map(|problem| (topic, problem)));
    };
    about(Topic::Name, &|problems| {
        name(balancer, &place.region, problems);
        problems.extend(foreign(&balancer.name, &balancer.vpc, observed));
        problems.extend(observed.live_untagged().map(|node| identity::untagged(&balancer.name, node)));
    });
    about(Topic::Vpc, &|problems| vpc(balancer, place, problems));
    about(Topic::VirtualIps, &|problems| inside(balancer, place, problems));
    about(Topic::Subnets, &|problems| subnets(balancer, place, problems));
    about(Topic::Machines, &|problems| machines(balancer, place, problems));
    about(Topic::Machines, &|problems| problems.extend(account::problems(balancer, place)));
    about(Topic::Agent, &|problems| problems.extend(agent::problems(balancer, place)));
    about(Topic::RouteTables, &|problems| {
        tables(balancer, place, problems);
        policy(balancer, &place.region, problems);
    });
    about(Topic::VirtualIps, &|problems| routes(balancer, place, observed, problems));
    all
}

/// Every way in which the existing balancer of this name differs from the file.
pub fn existing(balancer: &Balancer, observed: &Observed) -> Vec<String> {
    let differing = group(balancer, observed).into_iter().chain(other_revision(balancer, observed));
    differing.chain(other_origin(balancer, observed)).collect()
}

fn name(balancer: &Balancer, region: &str, problems: &mut Vec<String>) {
    let role = names::global(region, &balancer.name);
    if role.len() > ROLE_NAME {
        problems.push(format!(
            "name {:?} is too long: the role's name {role} would have {} characters, and IAM allows {ROLE_NAME}",
            balancer.name,
            role.len()
        ));
    }
}

/// Resources that have the balancer's names and aren't this balancer's.
pub fn foreign(balancer: &str, vpc: &str, observed: &Observed) -> Vec<String> {
    let mut problems = Vec::new();
    let mut elsewhere = BTreeSet::new();
    for part in observed.parts() {
        match (part.tags.balancer(), part.tags.vpc()) {
            (Some(owner), Some(other)) if owner == balancer && other != vpc => drop(elsewhere.insert(other.to_owned())),
            (Some(owner), Some(_)) if owner == balancer => {}
            // A security group's name is unique in its VPC only: one in another VPC doesn't matter.
            _ if part.vpc.is_some_and(|other| other != vpc) => {}
            _ => problems.push(format!(
                "{} exists and isn't Elbow's (it lacks the tags elbow:balancer={balancer} and elbow:vpc={vpc}): rename the \
                 balancer, or remove it",
                part.what
            )),
        }
    }
    for node in observed.live().filter(|node| node.tags.vpc().is_none()) {
        problems.push(format!(
            "instance {} has the tag elbow:balancer={balancer} but not elbow:vpc, which every node has: add \
             elbow:vpc=<its VPC> if it is a node, or remove elbow:balancer",
            node.id
        ));
    }
    elsewhere.extend(observed.live().filter(|node| node.vpc != vpc).map(|node| node.vpc.clone()));
    for other in elsewhere {
        problems.push(format!("name {balancer:?} is taken: a balancer in {other} has it; choose another name"));
    }
    problems
}

fn vpc(balancer: &Balancer, place: &Surroundings, problems: &mut Vec<String>) {
    let Some(vpc) = &place.vpc else {
        problems.push(format!("vpc {} doesn't exist in {}", balancer.vpc, place.region));
        return;
    };
    if let Some(owner) = vpc.owner.as_ref().filter(|owner| **owner != place.caller.account) {
        problems.push(format!(
            "vpc {} is shared from account {owner}, which owns its route tables: create the balancer in that account",
            vpc.id
        ));
    }
}

fn inside(balancer: &Balancer, place: &Surroundings, problems: &mut Vec<String>) {
    let Some(vpc) = &place.vpc else { return };
    for vip in &balancer.virtual_ips {
        if let Some(cidr) = vpc.cidrs.iter().find(|cidr| cidr.contains(vip)) {
            problems.push(format!(
                "virtual IP {vip} lies inside {cidr} of {}: choose one outside the VPC, so that routes can lead to it",
                vpc.id
            ));
        }
    }
}

fn subnets(balancer: &Balancer, place: &Surroundings, problems: &mut Vec<String>) {
    let before = problems.len();
    let mut zones = BTreeSet::new();
    for id in &balancer.subnets {
        let Some(subnet) = place.subnets.iter().find(|subnet| subnet.id == *id) else {
            problems.push(format!("subnet {id} doesn't exist in {}", place.region));
            continue;
        };
        if subnet.vpc != balancer.vpc && place.vpc.is_some() {
            problems.push(format!("subnet {id} is in {}, not in {}", subnet.vpc, balancer.vpc));
            continue;
        }
        if let Some(owner) = subnet.owner.as_ref().filter(|owner| **owner != place.caller.account) {
            problems.push(format!(
                "subnet {id} is shared from account {owner}, which owns its route tables: create the balancer in that \
                 account"
            ));
            continue;
        }
        let offered = place.instance_type.as_ref().is_none_or(|kind| kind.zones.contains(&subnet.zone));
        if !offered {
            problems.push(format!("instance type {} isn't offered in {} of {id}", balancer.instance_type, subnet.zone));
        }
        zones.insert(&subnet.zone);
    }
    if problems.len() == before && zones.len() < 2 {
        let zones: Vec<&str> = zones.into_iter().map(String::as_str).collect();
        problems.push(format!(
            "subnets {} are all in {}: name subnets in at least two availability zones",
            balancer.subnets.join(", "),
            zones.join(", ")
        ));
    }
}

fn machines(balancer: &Balancer, place: &Surroundings, problems: &mut Vec<String>) {
    match (&place.image_id, &place.image) {
        (None, _) => problems.push(format!("image {}: no such parameter in {}", balancer.image, place.region)),
        (Some(held), None) if !matches!(held.parse(), Ok(Image::Id(_))) => {
            let shown: String = held.chars().take(40).collect();
            problems.push(format!("image: parameter {} holds {shown:?}, which isn't an image id", balancer.image));
        }
        (Some(id), None) => {
            problems.push(format!("image {id} doesn't exist in {}, or isn't shared with you", place.region))
        }
        (Some(id), Some(image)) if !image.available => problems.push(format!("image {id} isn't available")),
        _ => {}
    }
    let Some(kind) = &place.instance_type else {
        problems.push(format!("instance type {} doesn't exist in {}", balancer.instance_type, place.region));
        return;
    };
    if !kind.shows_tags {
        problems.push(format!(
            "instance type {} is a Xen type, which doesn't show changed tags in IMDS: choose a Nitro type such as t3.small",
            kind.name
        ));
    }
    if let Some(image) = place.image.as_ref().filter(|image| !kind.architectures.contains(&image.architecture)) {
        problems.push(format!(
            "image {} is {}, which instance type {} doesn't boot (it takes {})",
            image.id,
            image.architecture,
            kind.name,
            kind.architectures.join(", ")
        ));
    }
}

fn tables(balancer: &Balancer, place: &Surroundings, problems: &mut Vec<String>) {
    if place.vpc.is_none() {
        return;
    }
    if let RouteTables::Only(ids) = &balancer.route_tables {
        for id in ids {
            match place.tables.iter().find(|table| table.id == *id) {
                None => problems.push(format!("route table {id} isn't in {}", balancer.vpc)),
                Some(table) if !table.gateways.is_empty() => problems.push(format!(
                    "route table {table} is associated with a gateway, and can't hold a route outside the VPC"
                )),
                Some(_) => {}
            }
        }
    }
}

/// The policy of the nodes' role names each listed route table.
fn policy(balancer: &Balancer, region: &str, problems: &mut Vec<String>) {
    let RouteTables::Only(ids) = &balancer.route_tables else { return };
    let size = files::permission_policy(balancer, region).chars().filter(|c| !c.is_whitespace()).count();
    if size > ROLE_POLICY {
        problems.push(format!(
            "route_tables lists {} tables: the nodes' policy would have {size} characters, and IAM allows \
             {ROLE_POLICY}; list fewer, or write \"all\"",
            ids.len()
        ));
    }
}

fn routes(balancer: &Balancer, place: &Surroundings, observed: &Observed, problems: &mut Vec<String>) {
    let Balancer { virtual_ips, route_tables, .. } = balancer;
    let taken = taken(virtual_ips, route_tables, &place.others);
    problems.extend(taken.iter().map(|(vip, other)| refusal(*vip, other)));
    let own = observed.interfaces();
    for vip in virtual_ips.iter().filter(|vip| !taken.iter().any(|(taken, _)| taken == *vip)) {
        let routes = eligible(&place.tables, route_tables).into_iter().filter_map(|table| {
            let route = table.route(*vip).filter(|route| !route.blackhole)?;
            let target = route.target.as_deref().unwrap_or("somewhere else");
            (!own.contains(target)).then_some((table, target))
        });
        let routes: Vec<_> = routes.collect();
        let Some((table, target)) = routes.first() else { continue };
        let (others, those) = match routes.len() - 1 {
            0 => (String::new(), "that route"),
            1 => (", and so does another".to_owned(), "those routes"),
            n => (format!(", and so do {n} others"), "those routes"),
        };
        problems.push(format!(
            "virtual IP {vip}: route table {table} already sends {vip}/32 to {target}{others}: choose another, or delete {those}"
        ));
    }
}

/// The problem of its Auto Scaling group, if any.
fn group(balancer: &Balancer, observed: &Observed) -> Option<String> {
    let group = observed.scaling.as_ref();
    if balancer.launch == Launch::Instances {
        return group.filter(|_| same_launch(balancer, observed)).map(group_settings::stray);
    }
    let refresh = group.and_then(|group| group.active_refresh()).map(|refresh| {
        format!(
            "an instance refresh replaces the nodes of {} ({}): run `launcher update` with its file to follow it",
            balancer.name,
            refresh.stands()
        )
    });
    refresh.or_else(|| group_settings::outside(balancer, observed).filter(|_| same_launch(balancer, observed)))
}

/// Whether the existing balancer, if any, has the same `launch`.
fn same_launch(balancer: &Balancer, observed: &Observed) -> bool {
    observed.config().is_none_or(|config| config.balancer.launch == balancer.launch)
}

/// Refuses a file that differs from the existing balancer of its name.
fn other_revision(balancer: &Balancer, observed: &Observed) -> Option<String> {
    let template = observed.template.as_ref()?;
    let wanted = balancer.revision();
    if template.tags.balancer() != Some(&balancer.name) || template.revision == wanted.0 {
        return None;
    }
    let config = observed.config();
    if let Some(other) = config.as_ref().and_then(|config| group_settings::other_launch(&config.balancer, balancer)) {
        return Some(other);
    }
    let differing = config.map(|config| differing(&config.balancer, balancer)).unwrap_or_default();
    let differing =
        if differing.is_empty() { String::new() } else { format!(" (it differs in {})", differing.join(", ")) };
    let (name, revision) = (&balancer.name, &template.revision);
    let there = format!("{name} has revision {revision} and this file has revision {wanted}{differing}");
    let live: Vec<_> = observed.live().collect();
    Some(match &live[..] {
        [] => format!("{there}, and it has no nodes: run `launcher update` with this file to launch them"),
        nodes if !nodes.iter().any(|node| has_reported(node)) => {
            format!("{there}, and its nodes never reported: run `launcher update` with this file to replace them")
        }
        _ => format!(
            "{name} runs revision {revision} and this file is revision {wanted}{differing}: use `launcher update` to \
             change a balancer"
        ),
    })
}

/// Refuses a booted version that this Elbow didn't make the default: `create` doesn't replace it.
fn other_origin(balancer: &Balancer, observed: &Observed) -> Vec<String> {
    let ours = |template: &&Template| template.tags.balancer() == Some(&balancer.name);
    let Some(template) = observed.template.as_ref().filter(ours) else { return Vec::new() };
    let problems = changed_by_hand::unreadable(template).or_else(|| changed_by_hand::by_a_newer_one(template));
    problems.or_else(|| changed_by_hand::by_hand(template)).into_iter().collect()
}

fn differing(old: &Balancer, new: &Balancer) -> Vec<String> {
    let json = |balancer| serde_json::to_value(balancer).expect("a Balancer has only string keys");
    let (old, new) = (json(old), json(new));
    let keys = new.as_object().into_iter().flatten().filter(|(key, value)| old.get(key) != Some(value));
    keys.map(|(key, _)| key.clone()).collect()
}

#[cfg(test)]
pub(crate) mod tests;
