//! Whether the route tables keep the virtual IPs' routes, and have room for them. Pure.

use super::case::Case;
use super::finding::{Finding, or_ok};
use super::ids::Id;
use crate::model::tags::Tags;
use crate::resources::route_tables::eligible;

/// AWS's default quota of IPv4 routes in a table (VPC user guide, "Amazon VPC quotas"). A route to a prefix list of the
/// account's own counts as many; their lengths aren't read.
const ROUTES: usize = 500;
/// The default until June 2025, which an account may still have.
const OLD_ROUTES: usize = 50;

/// At each apply, Terraform deletes routes that it doesn't know from a table with inline `route` blocks. The API doesn't
/// show whether a table has such blocks.
pub fn terraform(case: &Case<'_>) -> Vec<Finding> {
    let id = Id::TerraformTables;
    let used = eligible(&case.place.tables, &case.balancer.route_tables);
    let terraforms = used.into_iter().filter(|table| is_terraforms(&table.tags));
    let ids: Vec<&str> = terraforms.map(|table| table.id.as_str()).collect();
    let unclear = (!ids.is_empty()).then(|| {
        Finding::unknown(
            id,
            format!("Terraform seems to manage {}", ids.join(", ")),
            "use aws_route resources there: with inline route blocks, each apply deletes the virtual IPs' routes",
        )
    });
    or_ok(id, unclear.into_iter().collect(), "no route table has a tag of Terraform's")
}

/// Whether a tag names Terraform or OpenTofu, as in `ManagedBy = terraform`.
fn is_terraforms(tags: &Tags) -> bool {
    let names = |text: &str| ["terraform", "opentofu"].iter().any(|tool| text.to_lowercase().contains(tool));
    tags.0.iter().any(|(key, value)| names(key) || names(value))
}

/// Whether the tables have room for the routes.
pub fn routes(case: &Case<'_>) -> Vec<Finding> {
    let id = Id::RoutesPerTable;
    let used = eligible(&case.place.tables, &case.balancer.route_tables);
    let sizes = used.into_iter().filter_map(|table| {
        let vips = case.balancer.virtual_ips.iter().map(|vip| format!("{vip}/32"));
        let new = vips.filter(|vip| !table.routes.iter().any(|route| route.destination == *vip)).count();
        (new > 0).then(|| (table.id.as_str(), table.routes.len() - table.uncounted + new))
    });
    let (large, small): (Vec<_>, Vec<_>) = sizes.partition(|(_, routes)| *routes > ROUTES);
    let medium: Vec<_> = small.into_iter().filter(|(_, routes)| *routes > OLD_ROUTES).collect();
    let told = |tables: &[(&str, usize)]| {
        let tables: Vec<String> = tables.iter().map(|(table, routes)| format!("{table} ({routes})")).collect();
        format!("with the virtual IPs' routes, these tables have many routes: {}", tables.join(", "))
    };
    let remedy = "raise the quota \"Routes per route table\", or list fewer tables in route_tables";
    let full = (!large.is_empty())
        .then(|| Finding::warning(id, format!("{}; AWS's default quota is {ROUTES}", told(&large)), remedy));
    let unclear = (!medium.is_empty()).then(|| {
        let quota = format!("AWS's default quota is {ROUTES}, and an account may still have {OLD_ROUTES}");
        Finding::unknown(id, format!("{}; {quota}", told(&medium)), format!("if it has, {remedy}"))
    });
    or_ok(id, full.into_iter().chain(unclear).collect(), "the route tables have room for the routes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terraforms_tables_are_known_by_their_tags() {
        assert!(is_terraforms(&Tags::from_iter([("ManagedBy", "Terraform")])));
        assert!(is_terraforms(&Tags::from_iter([("terraform", "true")])));
        assert!(!is_terraforms(&Tags::from_iter([("Name", "private-a")])));
    }
}
