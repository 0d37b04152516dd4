//! Plans what `destroy` removes, and in which order. Pure.
//!
//! The launch template goes after the routes: it lists the virtual IPs, which a repeated `destroy` needs.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use serde::Serialize;
use templates::balancer::Launch;

use crate::model::observe::{Glance, Kind, Observed};
use crate::plan::Change;
use crate::resources::route_tables::{Table, left_behind};

/// One step of a removal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum Removal {
    /// Delete the Auto Scaling group, which would replace ended instances.
    Scaling(String),
    /// End these instances, and wait until they have ended.
    Terminate(Vec<String>),
    /// Delete a virtual IP's route.
    Route {
        table: String,
        /// The virtual IP, `/32`.
        destination: String,
    },
    /// Delete the launch template.
    Template {
        /// `lt-…`
        id: String,
        /// `elbow-…`
        name: String,
    },
    /// Take the role out of the instance profile and delete it.
    Profile { name: String, role: Option<String> },
    /// Remove the role's policies and delete it.
    Role(String),
    /// Delete the security group.
    Group {
        /// `sg-…`
        id: String,
        /// `elbow-…`
        name: String,
    },
}

/// The kinds in the order in which they are removed.
pub const ORDER: [Kind; 7] =
    [Kind::Scaling, Kind::Nodes, Kind::Tables, Kind::Template, Kind::Profile, Kind::Role, Kind::Groups];

/// The kinds that must be gone before this kind is removed.
fn before(kind: Kind) -> &'static [Kind] {
    match kind {
        Kind::Scaling => &[],
        // The group would replace them.
        Kind::Nodes => &[Kind::Scaling],
        Kind::Tables | Kind::Profile | Kind::Groups => &[Kind::Nodes],
        // It lists the virtual IPs.
        Kind::Template => &[Kind::Nodes, Kind::Tables],
        Kind::Role => &[Kind::Nodes, Kind::Profile],
    }
}

/// The kind that prevents the removal of this kind, if any: one of `stuck`, which couldn't be removed or read.
pub fn in_the_way(kind: Kind, stuck: &BTreeSet<Kind>) -> Option<Kind> {
    before(kind).iter().find(|before| stuck.contains(before)).copied()
}

/// The unread kinds of which something may exist. An Auto Scaling group counts only if the template or a node indicates
/// it.
pub fn unsure(glance: &Glance) -> BTreeSet<Kind> {
    let observed = &glance.observed;
    let without = observed.config().is_some_and(|config| config.balancer.launch == Launch::Instances)
        && observed.live().all(|node| node.group().is_none());
    let unread = glance.unread.iter().map(|unread| unread.kind);
    unread.filter(|kind| *kind != Kind::Scaling || !without).collect()
}

impl Removal {
    /// The kind that it removes.
    pub fn kind(&self) -> Kind {
        match self {
            Removal::Scaling(_) => Kind::Scaling,
            Removal::Terminate(_) => Kind::Nodes,
            Removal::Route { .. } => Kind::Tables,
            Removal::Template { .. } => Kind::Template,
            Removal::Profile { .. } => Kind::Profile,
            Removal::Role(_) => Kind::Role,
            Removal::Group { .. } => Kind::Groups,
        }
    }

    /// The removal as text and for `--output json`.
    pub fn change(&self) -> Change {
        let (action, what) = match self {
            Removal::Scaling(name) => ("delete-auto-scaling-group", format!("delete Auto Scaling group {name}")),
            Removal::Terminate(ids) => ("terminate", format!("terminate {}", ids.join(", "))),
            Removal::Route { table, destination } => ("delete-route", format!("delete route {destination} in {table}")),
            Removal::Template { id, name } => {
                ("delete-launch-template", format!("delete launch template {name} ({id})"))
            }
            Removal::Profile { name, .. } => ("delete-instance-profile", format!("delete instance profile {name}")),
            Removal::Role(name) => ("delete-role", format!("delete IAM role {name} and its policy")),
            Removal::Group { id, name } => ("delete-security-group", format!("delete security group {name} ({id})")),
        };
        Change { action, what }
    }
}

/// Everything to remove, in order.
pub fn all(observed: &Observed, vpc: &str, tables: &[Table]) -> Vec<Removal> {
    let nodes = scaling(observed).into_iter().chain(instances(observed));
    nodes.chain(routes(observed, tables)).chain(rest(observed, vpc)).collect()
}

/// The group to delete, first of all.
pub fn scaling(observed: &Observed) -> Option<Removal> {
    observed.scaling.as_ref().map(|group| Removal::Scaling(group.name.clone()))
}

/// The instances to end.
pub fn instances(observed: &Observed) -> Option<Removal> {
    let ids: Vec<String> = observed.live().chain(observed.live_untagged()).map(|node| node.id.clone()).collect();
    (!ids.is_empty()).then_some(Removal::Terminate(ids))
}

/// The routes to delete, once the instances have ended.
pub fn routes(observed: &Observed, tables: &[Table]) -> Vec<Removal> {
    let vips: Vec<Ipv4Addr> = observed.config().map(|config| config.balancer.virtual_ips).unwrap_or_default();
    // Routes to ended instances become blackholes, but AWS may show that late.
    let own =
        observed.nodes.iter().chain(&observed.untagged).flat_map(|node| &node.interfaces).map(String::as_str).collect();
    let routes = left_behind(tables, &vips, &own).into_iter();
    routes.map(|(table, destination)| Removal::Route { table, destination }).collect()
}

/// The rest, in order.
pub fn rest(observed: &Observed, vpc: &str) -> Vec<Removal> {
    let template = observed.template.iter();
    let template = template.map(|template| Removal::Template { id: template.id.clone(), name: template.name.clone() });
    let profile = observed.profile.iter();
    let profile = profile.map(|profile| Removal::Profile { name: profile.name.clone(), role: profile.role.clone() });
    let role = observed.role.iter().map(|role| Removal::Role(role.name.clone()));
    let group = observed.group(vpc).into_iter();
    let group = group.map(|group| Removal::Group { id: group.id.clone(), name: group.name.clone() });
    template.chain(profile).chain(role).chain(group).collect()
}

#[cfg(test)]
mod tests;
