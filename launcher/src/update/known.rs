//! An update's whole picture: what is to be and all that is known of what is. Pure: it says what would change, and whether
//! anything would.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use serde_json::json;
use templates::{Balancer, Order, files};

use super::next::{active, running};

use super::settings::Settings;
use super::tell::called;
use crate::check;
use crate::desired::Desired;
use crate::discover::Surroundings;
use crate::observe::Observed;
use crate::plan::Change;
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
        let desired = Desired::of(&new, region, &cidrs, &template.contents.image, &user_data);
        let (old, region) = (old.balancer, region.to_owned());
        Ok(Known { new, old, desired, template, observed, cidrs, region, versions, place, version })
    }

    /// The version that nodes boot now.
    pub fn baseline(&self) -> Order {
        Order { version: self.template.version, revision: self.old.revision() }
    }

    /// The version that holds what is to be run, if one does.
    pub fn target(&self) -> Option<i64> {
        let group = self.observed.group(&self.new.vpc)?;
        let wanted = self.desired.contents(&group.id, Some(&self.template.contents.image));
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
            && narrower == Settings::default()
            && wider == Settings::default()
            && self.stale_routes(&self.place.tables).is_empty()
    }

    /// What would be done, in order.
    pub fn planned(&self) -> Vec<Change> {
        let target = self.target();
        let mut changes = Vec::new();
        let mut add = |action, what: String| changes.push(Change { action, what });
        let revision = &self.desired.revision;
        if self.is_done() {
            return changes;
        }
        if target.is_none() {
            let name = &self.template.name;
            add(
                "create-launch-template-version",
                format!("add a version of revision {revision} to launch template {name}"),
            );
        }
        let pending = self.observed.live().filter(|node| running(node) != Some(&revision.0));
        let mut pending: Vec<_> = pending.collect();
        pending.sort_by_key(|node| active(node));
        for node in pending {
            add("tell", format!("tell {} to run revision {revision}", called(node)));
        }
        if target != Some(self.template.version) {
            add("set-default", "make that version the one that nodes boot".to_owned());
        }
        for (table, destination) in self.stale_routes(&self.place.tables) {
            add("delete-route", format!("delete route {destination} in {table}"));
        }
        changes
    }

    /// For `--output json`.
    pub fn document(&self, outcome: &str, changes: &[Change]) -> serde_json::Value {
        json!({
            "outcome": outcome, "balancer": self.new.name, "region": self.region, "revision": self.desired.revision,
            "from": self.old.revision(), "changes": changes,
        })
    }
}
