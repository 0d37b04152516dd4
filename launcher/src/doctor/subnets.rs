//! Whether the nodes' subnets have free addresses. Pure.

use super::case::Case;
use super::finding::{Finding, or_ok};
use super::ids::Id;

/// AWS refuses a launch into a subnet without a free address (`InsufficientFreeAddressesInSubnet`).
pub fn addresses(case: &Case<'_>) -> Vec<Finding> {
    let subnets = case.subnets();
    let full = subnets.iter().filter(|subnet| subnet.free < 1).map(|subnet| {
        let seen = format!("{} ({}) has no free address", subnet.id, subnet.zone);
        match case.observed.live().any(|node| node.subnet == subnet.id) {
            true => Finding::warning(
                Id::SubnetAddresses,
                format!("{seen} for a node that replaces the one there"),
                "free an address, or name another subnet of this zone",
            ),
            false => {
                Finding::problem(Id::SubnetAddresses, seen, "free an address, or name another subnet of this zone")
            }
        }
    });
    let free: Vec<String> = subnets.iter().map(|subnet| format!("{}: {}", subnet.id, subnet.free)).collect();
    or_ok(Id::SubnetAddresses, full.collect(), format!("free addresses in {}", free.join(", ")))
}
