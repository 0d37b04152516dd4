//! The snapshot that an update is planned from: the wanted balancer, and everything that was read of the present one. Pure.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use serde_json::json;
use templates::names::TAG_REVISION;
use templates::values::Image as Reference;
use templates::{Balancer, Order, files};

use super::in_place::plan::Goal;
use super::replacement::plan::{self, never_served, stays};
use super::settings::{self, Setting};
use crate::model::desired::{Desired, many};
use crate::model::discover::Surroundings;
use crate::model::group_settings::unpinned;
use crate::model::node::Node;
use crate::model::node_status::{called, follows, running};
use crate::model::observe::Observed;
use crate::model::operator_tags::{self, Prescribed, Retag};
use crate::plan::Change;
use crate::preflight;
use crate::preflight::changed_by_hand;
use crate::resources::launch_template::{Template, Version};
use crate::resources::route_tables::{self, eligible, left_behind};

/// The wanted balancer.
#[derive(Debug, Clone)]
pub struct Intent {
    /// The balancer of the file, or of an earlier version.
    pub new: Balancer,
    /// Which image nodes are launched from.
    pub image: Image,
    /// A line to show about it.
    pub note: Option<String>,
}

/// Which image nodes are launched from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Image {
    /// The one that the file's image resolved to when it was first used.
    Pinned,
    /// What the file's image resolves to now: nodes of another are replaced.
    Newest,
    /// That of this version, which is wanted: nodes of another are replaced.
    Of(i64),
}

/// What was fetched of the present balancer.
pub struct Fetched {
    /// Its launch template, by its default version.
    pub template: Template,
    /// All of the template's versions.
    pub versions: Vec<Version>,
    /// All that Elbow made for it.
    pub observed: Observed,
}

/// The wanted balancer, and everything that was read of the present one.
pub struct Snapshot {
    /// The wanted balancer.
    pub new: Balancer,
    /// The balancer of the version that nodes boot.
    pub old: Balancer,
    /// Derived from `new`.
    pub desired: Desired,
    /// The balancer's launch template, by its default version.
    pub template: Template,
    /// The balancer's resources.
    pub observed: Observed,
    /// The VPC's CIDRs.
    pub cidrs: Vec<Ipv4Net>,
    pub region: String,
    /// What the operator accepts.
    pub goal: Goal,
    image: Image,
    versions: Vec<Version>,
    place: Surroundings,
}

impl Snapshot {
    /// Builds the snapshot. Fails with the reasons why `intent` can't work in this account and VPC, a line each.
    pub fn of(intent: &Intent, goal: Goal, found: Fetched, place: Surroundings) -> Result<Snapshot, Vec<String>> {
        let (new, image) = (intent.new.clone(), intent.image);
        let Fetched { template, versions, mut observed } = found;
        observed.number(&new.subnets);
        let mut problems = preflight::surroundings(&new, &place, &observed);
        problems.extend(changed_by_hand::unreadable(&template));
        let user_data = files::user_data_gzip(&new).map_err(|big| vec![big.to_string()])?;
        let (Ok(old), true) = (files::read_back(&template.contents.user_data), problems.is_empty()) else {
            return Err(problems);
        };
        let cidrs: Vec<Ipv4Net> = place.vpc.as_ref().map(|vpc| vpc.cidrs.clone()).unwrap_or_default();
        let (old, region) = (old.balancer, place.region.clone());
        let boots = pinned(image, &new, &template, &versions).or(place.image_id.clone()).unwrap_or_default();
        let desired = Desired::of(&new, &region, &cidrs, &boots, &user_data).with_store(&place.store);
        Ok(Snapshot { new, old, desired, template, observed, cidrs, region, goal, image, versions, place })
    }

    /// Lines for the operator that are no reason for a change.
    pub fn notes(&self) -> Vec<String> {
        let (pinned, today) = (&self.desired.image, self.place.image_id.as_ref());
        let newer =
            today.filter(|today| matches!(self.new.image, Reference::Parameter(_)) && *today != pinned).map(|today| {
                format!(
                    "image {} now resolves to {today}, and nodes boot {pinned}: use --new-image to switch",
                    self.new.image
                )
            });
        let strays = self.other_images().filter(|_| self.image == Image::Pinned).map(|node| {
            format!(
                "{} was launched from {}, and nodes boot {pinned}: use --new-image or --rollback to replace it",
                called(node),
                node.image
            )
        });
        let strays: Vec<String> = strays.collect();
        newer.into_iter().chain(strays).collect()
    }

    /// Live nodes that were launched from another image than the wanted one.
    fn other_images(&self) -> impl Iterator<Item = &Node> {
        self.observed.live().filter(|node| !node.image.is_empty() && node.image != self.desired.image)
    }

    /// The image that nodes must have, if the operator asked for one. Otherwise nodes keep theirs.
    pub fn wanted_image(&self) -> Option<&str> {
        (self.image != Image::Pinned).then_some(self.desired.image.as_str())
    }

    /// Whether nodes are replaced only because of their image.
    fn is_outdated(&self) -> bool {
        self.wanted_image().is_some() && self.other_images().next().is_some()
    }

    /// The version that nodes boot now.
    pub fn baseline(&self) -> Order {
        Order { version: self.template.version, revision: self.old.revision() }
    }

    /// The version that holds the wanted revision, if one does. Not a default that was set by hand: it may hold fields that
    /// Elbow doesn't read.
    pub fn target(&self) -> Option<i64> {
        let group = self.observed.group(&self.new.vpc)?;
        let wanted = self.desired.contents(&group.id, None);
        let default = self.template.version;
        let by_hand =
            |version: &Version| version.number == default && self.template.defaults().overruled(default).is_some();
        let holds = |version: &&Version| {
            version.revision == self.desired.revision.0 && version.contents == wanted && !by_hand(version)
        };
        let same = self.versions.iter().filter(holds).map(|version| version.number);
        let boots = same.clone().find(|number| *number == default);
        // A node takes an older version only if it is the default. Another must be as new as every order.
        let told = |node: &Node| node.tags.get(TAG_REVISION)?.parse::<Order>().ok().map(|order| order.version);
        let newest = self.observed.live().filter_map(told).chain([default]).max();
        let asked = if let Image::Of(version) = self.image { Some(version) } else { None };
        asked.or(boots).or_else(|| same.filter(|number| Some(*number) >= newest).max())
    }

    /// Whether all new nodes boot the wanted version, also those that a group or a person launches.
    pub fn boots_target(&self) -> bool {
        let Template { id, version, default, .. } = &self.template;
        let group = self.group().is_none_or(|group| default == version && unpinned(group, (id, *version)).is_none());
        self.target() == Some(*version) && group
    }

    /// Routes of an earlier version that the new revision doesn't have: of removed virtual IPs, and in removed route tables.
    /// They lead to the balancer's nodes or are blackholes.
    pub fn stale_routes(&self) -> Vec<(String, String)> {
        let earlier = self.versions.iter().filter_map(|version| files::read_back(&version.contents.user_data).ok());
        let earlier: Vec<Balancer> = earlier.map(|config| config.balancer).chain([self.old.clone()]).collect();
        stale(&earlier, &self.new, &self.place.tables, &self.observed.interfaces())
    }

    /// The settings that are widened before any node changes.
    pub fn wider(&self) -> Vec<Setting> {
        settings::wider(&self.old, &self.new, &self.region, &self.cidrs, &self.observed)
    }

    /// What gives everything in `observed` the operator's tags of `only`, and removes those of other versions.
    pub fn retags(&self, only: &Balancer, observed: &Observed) -> Vec<Retag> {
        let versions = self.versions.iter().filter_map(|version| files::read_back(&version.contents.user_data).ok());
        let versions = versions.flat_map(|config| config.balancer.tags.into_keys());
        let keys: BTreeSet<String> =
            versions.chain(self.new.tags.keys().chain(self.old.tags.keys()).cloned()).collect();
        operator_tags::missing(Prescribed::by(only), &keys, observed)
    }

    /// Whether nodes are replaced: because one can't be updated in place, or because the subnets change.
    pub fn replaces(&self) -> bool {
        let live = self.observed.live().filter(|node| running(node) != Some(&self.desired.revision.0));
        self.old.subnets != self.new.subnets
            || self.gives_up()
            || self.is_outdated()
            || live.into_iter().any(|node| !stays(&self.config(node), &self.new))
    }

    /// Whether nothing has to be kept: no node of an old revision ever reported, and no route leads to one.
    pub fn never_served(&self) -> bool {
        never_served(&self.aim(), &self.observed.nodes, &self.place.tables)
    }

    /// Whether nodes are terminated because they never reported: such a node wouldn't read an order either.
    fn gives_up(&self) -> bool {
        let aim = self.aim();
        self.never_served() && self.observed.live().any(|node| !plan::is_new(&aim, node))
    }

    /// The reasons why nodes are replaced: keys of the file, mostly.
    pub fn because(&self) -> Vec<&'static str> {
        let live = self.observed.live().filter(|node| running(node) != Some(&self.desired.revision.0));
        let configs: Vec<Balancer> = live.map(|node| self.config(node)).chain([self.old.clone()]).collect();
        let mut keys: Vec<&str> = Vec::new();
        for config in &configs {
            let in_place = Some("[updates] in_place = false").filter(|_| !config.updates.in_place);
            keys.extend(config.needs_new_nodes(&self.new).into_iter().chain(in_place));
        }
        keys.extend(Some("nodes that never reported").filter(|_| self.gives_up()));
        keys.extend(Some("image").filter(|_| self.is_outdated()));
        let mut said = BTreeSet::new();
        keys.retain(|key| said.insert(*key));
        keys
    }

    /// The balancer that the node runs, or boots.
    fn config(&self, node: &Node) -> Balancer {
        let told = || node.tags.get(TAG_REVISION)?.parse::<Order>().ok().map(|order| order.revision.0);
        let revision = running(node).map(str::to_owned).or_else(told);
        let version = self.versions.iter().find(|version| Some(&version.revision) == revision.as_ref());
        let config = version.and_then(|version| files::read_back(&version.contents.user_data).ok());
        config.map_or_else(|| self.old.clone(), |config| config.balancer)
    }

    /// Whether a node needs another order.
    pub fn tells(&self) -> bool {
        !self.boots_target() || self.observed.live().any(|node| !follows(&self.desired.revision, node))
    }

    /// The warning before the first change.
    pub fn warning(&self) -> Option<String> {
        let there = self.observed.group(&self.new.vpc).map_or(0, |group| group.rules.len());
        self.wider().iter().find_map(|setting| match setting {
            Setting::Allow(rules) => many(there + rules.len()),
            _ => None,
        })
    }

    /// The order for the nodes; its version is 0 until the version exists.
    pub fn order(&self) -> Order {
        Order { version: self.target().unwrap_or_default(), revision: self.desired.revision.clone() }
    }

    /// The aim of a replacement.
    pub fn aim(&self) -> plan::Aim {
        let slots = self.new.subnets.len() as u8;
        let (image, asks) = (self.wanted_image().map(str::to_owned), !self.old.failover.preempt);
        plan::Aim { order: self.order(), boots: self.baseline(), image, goal: self.goal.clone(), slots, asks }
    }

    /// For `--output json`.
    pub fn document(&self, outcome: &str, changes: &[Change]) -> serde_json::Value {
        json!({
            "outcome": outcome, "balancer": self.new.name, "region": self.region, "revision": self.desired.revision,
            "from": self.old.revision(), "changes": changes, "notes": self.notes(),
        })
    }
}

/// The image that stays, if one does: until the file names another, or the operator asks for another.
fn pinned(image: Image, new: &Balancer, template: &Template, versions: &[Version]) -> Option<String> {
    if let Image::Of(version) = image {
        return versions.iter().find(|one| one.number == version).map(|one| one.contents.image.clone());
    }
    // Don't keep the image of a default that was set by hand.
    let last = last_made(template, versions).map_or(&template.contents, |version| &version.contents);
    let named = files::read_back(&last.user_data).ok().map(|config| config.balancer.image);
    (image == Image::Pinned && named.as_ref() == Some(&new.image)).then(|| last.image.clone())
}

/// The version that Elbow made the default, if nodes boot another.
fn last_made<'a>(template: &Template, versions: &'a [Version]) -> Option<&'a Version> {
    let defaults = template.defaults();
    let own = defaults.overruled(template.version)?;
    versions.iter().find(|version| version.number == own.version)
}

/// The routes that `earlier` had and `new` doesn't, if they lead to `own` interfaces or are blackholes. Routes in tables that
/// no earlier version listed belong to others.
fn stale(
    earlier: &[Balancer],
    new: &Balancer,
    tables: &[route_tables::Table],
    own: &BTreeSet<&str>,
) -> Vec<(String, String)> {
    let vips: BTreeSet<Ipv4Addr> = earlier.iter().flat_map(|balancer| balancer.virtual_ips.clone()).collect();
    let all: Vec<Ipv4Addr> = vips.iter().copied().collect();
    let destinations: BTreeSet<String> = vips.iter().map(|vip| format!("{vip}/32")).collect();
    let kept: BTreeSet<String> = new.virtual_ips.iter().map(|vip| format!("{vip}/32")).collect();
    let ids = |balancer: &Balancer| -> BTreeSet<String> {
        eligible(tables, &balancer.route_tables).into_iter().map(|table| table.id.clone()).collect()
    };
    let (had, has): (BTreeSet<String>, BTreeSet<String>) = (earlier.iter().flat_map(ids).collect(), ids(new));
    let is_stale = |(table, destination): &(String, String)| match kept.contains(destination) {
        true => had.contains(table) && !has.contains(table),
        false => destinations.contains(destination),
    };
    left_behind(tables, &all, own).into_iter().filter(is_stale).collect()
}

#[cfg(test)]
mod tests {
    use templates::balancer::RouteTables;

    use super::*;
    use crate::model::desired::tests::web;

    fn table(id: &str, vip: &str, target: &str, blackhole: bool) -> route_tables::Table {
        let route =
            route_tables::Route { destination: format!("{vip}/32"), target: Some(target.to_owned()), blackhole };
        route_tables::Table { id: id.to_owned(), routes: vec![route], ..route_tables::Table::default() }
    }

    fn only(ids: &[&str]) -> Balancer {
        Balancer { route_tables: RouteTables::Only(ids.iter().map(|id| (*id).to_owned()).collect()), ..web() }
    }

    fn gone(earlier: &[Balancer], new: &Balancer, tables: &[route_tables::Table]) -> Vec<String> {
        stale(earlier, new, tables, &BTreeSet::from(["eni-0"])).into_iter().map(|(table, _)| table).collect()
    }

    #[test]
    fn a_route_in_a_removed_table_is_stale_and_routes_of_others_stay() {
        let vip = "10.255.0.10";
        let tables = [
            table("rtb-1", vip, "eni-0", false),
            table("rtb-2", vip, "eni-0", false),
            table("rtb-3", vip, "eni-gone", true),
            table("rtb-4", vip, "eni-others", false),
            table("rtb-5", vip, "eni-0", false),
        ];
        let listed = only(&["rtb-1", "rtb-2", "rtb-3", "rtb-4"]);
        assert_eq!(gone(&[listed], &only(&["rtb-1"]), &tables), ["rtb-2", "rtb-3"], "rtb-5 was never listed");
        assert_eq!(gone(&[web()], &only(&["rtb-1"]), &tables), ["rtb-2", "rtb-3", "rtb-5"]);
        assert_eq!(gone(&[only(&["rtb-1"])], &web(), &tables), [] as [&str; 0]);
    }

    #[test]
    fn a_route_of_a_removed_virtual_ip_is_stale_in_every_table() {
        let tables = [table("rtb-1", "10.255.0.11", "eni-0", false), table("rtb-2", "10.255.0.99", "eni-0", false)];
        let old = Balancer { virtual_ips: vec![[10, 255, 0, 10].into(), [10, 255, 0, 11].into()], ..web() };
        assert_eq!(gone(&[old], &web(), &tables), ["rtb-1"], "10.255.0.99 was never a virtual IP");
    }
}
