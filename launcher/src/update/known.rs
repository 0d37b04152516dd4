//! An update's whole picture: what is to be and all that is known of what is. Pure: it says what would change, and whether
//! anything would.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use serde_json::json;
use templates::balancer::Launch;
use templates::names::TAG_REVISION;
use templates::{Balancer, Order, files};

use super::against::empty;
use super::next::{active, running};
use super::replace::{replaced, stays};

use super::settings::Settings;
use super::tell::called;
use crate::check;
use crate::desired::Desired;
use crate::discover::Surroundings;
use crate::observe::Observed;
use crate::plan::Change;
use crate::resources::instances::Node;
use crate::resources::launch_template::{Template, Version};
use crate::resources::route_tables::{self, left_behind};

/// What was looked up.
pub struct Found {
    /// The balancer's launch template, by its default version.
    pub template: Template,
    /// All of its versions.
    pub versions: Vec<Version>,
    /// What there is.
    pub observed: Observed,
    /// Where it is.
    pub place: Surroundings,
}

/// What is to be, and all that is known of what is.
pub struct Known {
    /// What is to be.
    pub new: Balancer,
    /// What nodes boot.
    pub old: Balancer,
    /// Worked out of `new`.
    pub desired: Desired,
    /// The balancer's launch template, by its default version.
    pub template: Template,
    /// What there is.
    pub observed: Observed,
    /// The VPC's own addresses.
    pub cidrs: Vec<Ipv4Net>,
    /// The Region.
    pub region: String,
    versions: Vec<Version>,
    place: Surroundings,
    /// The version that is to be run, where it is a version that is asked for.
    version: Option<i64>,
}

impl Known {
    /// Puts it together; what stands against `new` at its place, a line each.
    pub fn of(new: Balancer, version: Option<i64>, found: Found, region: &str) -> Result<Known, Vec<String>> {
        let Found { template, versions, observed, place } = found;
        let mut problems = check::surroundings(&new, &place, &observed);
        let old = files::read_back(&template.contents.user_data).map_err(anyhow::Error::new);
        if let Err(error) = &old {
            problems.push(format!(
                "version {} of launch template {}, which nodes boot, can't be read ({error:#}): it was made by a newer Elbow, or by \
                 hand; use that Elbow, or make a version of this one's the default",
                template.version, template.name
            ));
        }
        let user_data = files::user_data_gzip(&new).map_err(|big| vec![big.to_string()])?;
        let (Ok(old), true) = (old, problems.is_empty()) else { return Err(problems) };
        let cidrs: Vec<Ipv4Net> = place.vpc.as_ref().map(|vpc| vpc.cidrs.clone()).unwrap_or_default();
        let (old, region) = (old.balancer, region.to_owned());
        // An image that was pinned stays until the file names another one.
        let pinned = Some(&template.contents.image).filter(|_| old.image == new.image);
        let image = pinned.or(place.image_id.as_ref()).cloned().unwrap_or_default();
        let desired = Desired::of(&new, &region, &cidrs, &image, &user_data);
        Ok(Known { new, old, desired, template, observed, cidrs, region, versions, place, version })
    }

    /// The version that nodes boot now.
    pub fn baseline(&self) -> Order {
        Order { version: self.template.version, revision: self.old.revision() }
    }

    /// The version that holds what is to be run, if one does.
    pub fn target(&self) -> Option<i64> {
        let group = self.observed.group(&self.new.vpc)?;
        let wanted = self.desired.contents(&group.id, None);
        let holds = |version: &&Version| version.revision == self.desired.revision.0 && version.contents == wanted;
        let same = self.versions.iter().filter(holds).map(|version| version.number);
        let default = same.clone().find(|number| *number == self.template.version);
        self.version.or(default).or_else(|| same.max())
    }

    /// Routes to the balancer's nodes that are no virtual IP's of the new revision.
    pub fn stale_routes(&self, tables: &[route_tables::Table]) -> Vec<(String, String)> {
        let configs = self.versions.iter().filter_map(|version| files::read_back(&version.contents.user_data).ok());
        let vips: BTreeSet<Ipv4Addr> = configs.flat_map(|config| config.balancer.virtual_ips).collect();
        let gone: Vec<Ipv4Addr> = vips.into_iter().filter(|vip| !self.new.virtual_ips.contains(vip)).collect();
        let destinations: BTreeSet<String> = gone.iter().map(|vip| format!("{vip}/32")).collect();
        let routes = left_behind(tables, &gone, &self.observed.interfaces());
        routes.into_iter().filter(|(_, destination)| destinations.contains(destination)).collect()
    }

    /// Whether there is nothing to do.
    pub fn is_done(&self) -> bool {
        let narrower = Settings::narrower(&self.new, &self.region, &self.cidrs, &self.observed);
        let wider = Settings::wider(&self.old, &self.new, &self.region, &self.cidrs, &self.observed);
        self.target() == Some(self.template.version)
            && self.observed.live().all(|node| running(node) == Some(&self.desired.revision.0))
            && (self.new.launch == Launch::AutoScaling || empty(&self.new, &self.observed).is_empty())
            && narrower == Settings::default()
            && wider == Settings::default()
            && self.stale_routes(&self.place.tables).is_empty()
    }

    /// Whether nodes are replaced: because a running one can't change to it, or because other subnets have them.
    pub fn replaces(&self) -> bool {
        let live = self.observed.live().filter(|node| running(node) != Some(&self.desired.revision.0));
        self.old.subnets != self.new.subnets || live.into_iter().any(|node| !stays(&self.config(node), &self.new))
    }

    /// The keys for which nodes are replaced.
    pub fn because(&self) -> Vec<&'static str> {
        let live = self.observed.live().filter(|node| running(node) != Some(&self.desired.revision.0));
        let configs: Vec<Balancer> = live.map(|node| self.config(node)).chain([self.old.clone()]).collect();
        let mut keys: Vec<&str> = Vec::new();
        for config in &configs {
            let in_place = Some("[updates] in_place = false").filter(|_| !config.updates.in_place);
            keys.extend(config.needs_new_nodes(&self.new).into_iter().chain(in_place));
        }
        let mut said = BTreeSet::new();
        keys.retain(|key| said.insert(*key));
        keys
    }

    /// What the node runs, or boots.
    fn config(&self, node: &Node) -> Balancer {
        let told = || node.tags.get(TAG_REVISION)?.parse::<Order>().ok().map(|order| order.revision.0);
        let revision = running(node).map(str::to_owned).or_else(told);
        let version = self.versions.iter().find(|version| Some(&version.revision) == revision.as_ref());
        let config = version.and_then(|version| files::read_back(&version.contents.user_data).ok());
        config.map_or_else(|| self.old.clone(), |config| config.balancer)
    }

    /// What would be done, in order.
    pub fn planned(&self) -> Vec<Change> {
        if self.is_done() {
            return Vec::new();
        }
        let target = self.target();
        let revision = &self.desired.revision;
        let change = |action, what| Change { action, what };
        let mut changes = Vec::new();
        if target.is_none() {
            let what = format!("add a version of revision {revision} to launch template {}", self.template.name);
            changes.push(change("create-launch-template-version", what));
        }
        if self.replaces() {
            changes.extend(replaced(self.order(), &self.new.subnets, &self.observed.nodes));
        } else {
            let mut pending: Vec<&Node> =
                self.observed.live().filter(|node| running(node) != Some(&revision.0)).collect();
            pending.sort_by_key(|node| active(node));
            let tell = |node: &Node| change("tell", format!("tell {} to run revision {revision}", called(node)));
            changes.extend(pending.into_iter().map(tell));
        }
        if target != Some(self.template.version) {
            changes.push(change("set-default", "make that version the one that nodes boot".to_owned()));
        }
        for (table, destination) in self.stale_routes(&self.place.tables) {
            changes.push(change("delete-route", format!("delete route {destination} in {table}")));
        }
        changes
    }

    /// What nodes are to be told, as far as it is known: a version that isn't there yet has no number.
    fn order(&self) -> Order {
        Order { version: self.target().unwrap_or_default(), revision: self.desired.revision.clone() }
    }

    /// For `--output json`.
    pub fn document(&self, outcome: &str, changes: &[Change]) -> serde_json::Value {
        json!({
            "outcome": outcome, "balancer": self.new.name, "region": self.region, "revision": self.desired.revision,
            "from": self.old.revision(), "changes": changes,
        })
    }
}
