//! Chooses the nodes' subnets: private ones in distinct zones, preferably with a way to the EC2 API and in the targets'
//! zones.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use super::seen::{Place, Region, Vpc};
use crate::model::ways::{Net, Way};
use crate::resources::network::Subnet;

/// Two nodes are the fewest that can replace each other.
const NODES: usize = 2;
/// A node, and the node that replaces it at an update.
const ADDRESSES: i32 = 2;

/// The subnets, and why these.
pub type Chosen<'a> = (Vec<&'a Subnet>, Vec<String>);

/// The subnets, or why there aren't enough. `given` are the operator's. Nodes call the `services`, the gravest first.
pub fn choose<'a>(
    region: &'a Region,
    vpc: &Vpc,
    place: &Place,
    given: &[String],
    targets: &[Ipv4Addr],
    services: &[&str],
) -> Result<Chosen<'a>, Vec<String>> {
    let here: Vec<&Subnet> = region.subnets.iter().filter(|subnet| subnet.vpc == vpc.id).collect();
    let chosen = match given {
        [] => found(&here, region, vpc, place, targets, services)?,
        ids => named(&here, vpc, ids)?,
    };
    let mut notes = Vec::new();
    for subnet in &chosen {
        let doubt = refusal(subnet, region, place).map(|why| format!("given, although {why}"));
        let why = match given.is_empty() {
            true => "private".to_owned(),
            false => doubt.unwrap_or_else(|| "given".to_owned()),
        };
        let way = match way(subnet, region, place, "ec2") {
            Way::Own(through) => format!("reaches the EC2 API through {through}"),
            Way::OtherZone(through) => {
                format!("reaches the EC2 API through {through}: if that zone fails, {} loses it too", subnet.zone)
            }
            Way::Unclear(through) => format!("may reach the EC2 API through {through}"),
            Way::Nowhere(why) => format!(
                "no way to the EC2 API was found ({why}): add a NAT gateway or an ec2 interface endpoint, or failovers \
                 and the first boot fail"
            ),
        };
        let near = match targets.iter().filter(|target| zone_of(**target, &here) == Some(&subnet.zone)).count() {
            0 => "",
            _ => "; targets are in this zone",
        };
        notes.push(format!("subnet {subnet}: {why}; {way}{near}"));
    }
    Ok((chosen, notes))
}

/// The subnets of these ids.
fn named<'a>(here: &[&'a Subnet], vpc: &Vpc, ids: &[String]) -> Result<Vec<&'a Subnet>, Vec<String>> {
    let mut problems = Vec::new();
    let mut chosen = Vec::new();
    for id in ids {
        match here.iter().copied().find(|subnet| subnet.id == *id) {
            Some(subnet) => chosen.push(subnet),
            None => problems.push(format!("subnet {id} isn't in {vpc}")),
        }
    }
    let zones: BTreeSet<&str> = chosen.iter().map(|subnet| subnet.zone.as_str()).collect();
    if problems.is_empty() && zones.len() < NODES {
        problems.push(format!("subnets {}: name subnets in at least two availability zones", ids.join(", ")));
    }
    if problems.is_empty() { Ok(chosen) } else { Err(problems) }
}

/// The best subnet of each of the best zones.
fn found<'a>(
    here: &[&'a Subnet],
    region: &Region,
    vpc: &Vpc,
    place: &Place,
    targets: &[Ipv4Addr],
    services: &[&str],
) -> Result<Vec<&'a Subnet>, Vec<String>> {
    let mut zones: BTreeMap<&str, &Subnet> = BTreeMap::new();
    let mut lines = Vec::new();
    // Of equal subnets the first id stays, so that the choice is the same each time.
    let ranks = |subnet: &Subnet| -> Vec<u8> {
        services.iter().map(|service| rank(&way(subnet, region, place, service))).collect()
    };
    let worth = |subnet: &Subnet| (ranks(subnet), subnet.free);
    for &subnet in here {
        if let Some(why) = refusal(subnet, region, place) {
            lines.push(format!("subnet {subnet}: {why}"));
            continue;
        }
        lines.push(format!("subnet {subnet}: private"));
        let best = zones.entry(&subnet.zone).or_insert(subnet);
        if worth(subnet) > worth(best) {
            *best = subnet;
        }
    }
    if zones.len() < NODES {
        let found: Vec<&str> = zones.into_keys().collect();
        let found = if found.is_empty() { "in none".to_owned() } else { format!("in {} only", found.join(", ")) };
        let first = format!(
            "{vpc} needs usable private subnets in two availability zones and has them {found}: add subnets, or name others \
             with --subnet"
        );
        return Err([first].into_iter().chain(lines).collect());
    }
    let mut best: Vec<&Subnet> = zones.into_values().collect();
    let is_near = |subnet: &Subnet| targets.iter().any(|target| zone_of(*target, here) == Some(&subnet.zone));
    // A stable sort: equal zones keep the order of their names.
    best.sort_by_key(|subnet| Reverse((ranks(subnet), is_near(subnet))));
    best.truncate(NODES);
    best.sort_by(|a, b| a.zone.cmp(&b.zone));
    Ok(best)
}

/// Why nodes can't be in this subnet, if so.
fn refusal(subnet: &Subnet, region: &Region, place: &Place) -> Option<String> {
    if let Some(owner) = subnet.owner.as_ref().filter(|owner| **owner != region.account) {
        return Some(format!("shared from account {owner}, which owns its route table"));
    }
    if subnet.cidr.is_none() {
        return Some("it has no IPv4 addresses".to_owned());
    }
    if subnet.is_on_an_outpost {
        return Some("it is on an Outpost".to_owned());
    }
    if place.zones.as_ref().is_some_and(|zones| !zones.contains(&subnet.zone)) {
        return Some(format!("{} doesn't have the nodes' instance type", subnet.zone));
    }
    if let Some((table, gateway)) = public(subnet, place) {
        return Some(format!("public: {table} has a route to {gateway}"));
    }
    match subnet.free {
        free if free < ADDRESSES => Some(format!("{free} addresses are free, and a node needs {ADDRESSES}")),
        _ => None,
    }
}

/// The subnet's route table and an internet gateway that it leads to, if it does.
fn public<'a>(subnet: &Subnet, place: &'a Place) -> Option<(&'a str, &'a str)> {
    let table = place.table(&subnet.id)?;
    let mut targets = table.routes.iter().filter_map(|route| route.target.as_deref());
    let gateway = targets.find(|target| target.starts_with("igw-") || target.starts_with("cagw-"))?;
    Some((table.id.as_str(), gateway))
}

/// The note on subnets without a way to S3, where nodes get the agent.
pub fn without_s3(subnets: &[&Subnet], region: &Region, place: &Place) -> Option<String> {
    let without = subnets.iter().filter_map(|subnet| match way(subnet, region, place, "s3") {
        Way::Nowhere(why) => Some(format!("from {} ({why})", subnet.id)),
        _ => None,
    });
    let without: Vec<String> = without.collect();
    (!without.is_empty()).then(|| {
        let from = without.join(" and ");
        format!("no way to S3 was found {from}: add a gateway endpoint for s3, or nodes can't fetch the agent")
    })
}

/// How nodes in the subnet reach a service.
fn way(subnet: &Subnet, region: &Region, place: &Place, service: &str) -> Way {
    let Place { tables, nats, endpoints, .. } = place;
    Net { region: &region.name, subnets: &region.subnets, tables, nats, endpoints }.to_service(subnet, service)
}

/// Of two ways, the better one has the higher rank.
fn rank(way: &Way) -> u8 {
    match way {
        Way::Own(_) => 3,
        Way::OtherZone(_) => 2,
        Way::Unclear(_) => 1,
        Way::Nowhere(_) => 0,
    }
}

/// The zone of the subnet that holds an address.
fn zone_of<'a>(address: Ipv4Addr, here: &[&'a Subnet]) -> Option<&'a String> {
    here.iter().find(|subnet| subnet.holds(address)).map(|subnet| &subnet.zone)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resources::gateways::{Endpoint, Nat};
    use crate::resources::route_tables::{Route, Table};

    fn subnet(id: &str, zone: &str, third: u8) -> Subnet {
        Subnet {
            id: id.to_owned(),
            vpc: "vpc-1".to_owned(),
            zone: format!("eu-west-1{zone}"),
            cidr: Some(format!("10.0.{third}.0/24").parse().unwrap()),
            free: 200,
            owner: Some("111".to_owned()),
            ..Subnet::default()
        }
    }

    /// A table with a default route, if `target` isn't empty.
    fn table(id: &str, subnets: &[&str], target: &str) -> Table {
        let route = Route { destination: "0.0.0.0/0".into(), target: Some(target.to_owned()), blackhole: false };
        Table {
            id: id.to_owned(),
            is_main: subnets.is_empty(),
            subnets: subnets.iter().map(|id| (*id).to_owned()).collect(),
            routes: if target.is_empty() { vec![] } else { vec![route] },
            ..Table::default()
        }
    }

    fn chosen(subnets: Vec<Subnet>, place: &Place, given: &[&str], targets: &str) -> (String, String) {
        let region = Region { name: "eu-west-1".into(), account: "111".into(), subnets, ..Region::default() };
        let vpc = Vpc { id: "vpc-1".into(), ..Vpc::default() };
        let given: Vec<String> = given.iter().map(|id| (*id).to_owned()).collect();
        let targets: Vec<Ipv4Addr> = targets.split_whitespace().map(|target| target.parse().unwrap()).collect();
        match choose(&region, &vpc, place, &given, &targets, &["ec2", "s3"]) {
            Ok((subnets, notes)) => {
                let ids: Vec<&str> = subnets.iter().map(|subnet| subnet.id.as_str()).collect();
                (ids.join(" "), notes.join("\n"))
            }
            Err(problems) => (String::new(), problems.join("\n")),
        }
    }

    #[test]
    fn private_subnets_in_distinct_zones_are_chosen_by_their_way_then_by_the_targets() {
        let all = || vec![subnet("s-a", "a", 1), subnet("s-a2", "a", 2), subnet("s-b", "b", 3), subnet("s-c", "c", 4)];
        let nat = Nat { id: "nat-1".into(), subnet: Some("s-c".into()), public: true };
        let place = |tables: &[Table]| Place { tables: tables.to_vec(), nats: vec![nat.clone()], ..Place::default() };
        let none = place(&[table("rtb-m", &[], "")]);
        let c_has_nat = place(&[table("rtb-m", &[], ""), table("rtb-1", &["s-c"], "nat-1")]);
        let all_have_nat = place(&[table("rtb-m", &[], "nat-1")]);
        let a2_has_tgw = place(&[table("rtb-m", &[], ""), table("rtb-1", &["s-a2"], "tgw-1")]);
        let main_is_public = place(&[table("rtb-m", &[], "igw-1"), table("rtb-1", &["s-a", "s-c"], "")]);
        let peered = place(&[table("rtb-m", &[], ""), table("rtb-1", &["s-c"], "pcx-1")]);
        for (place, targets, ids, said) in [
            (&none, "", "s-a s-b", "s-a in eu-west-1a: private; no way to the EC2 API was found"),
            (&none, "10.0.4.20", "s-a s-c", "targets are in this zone"),
            (&c_has_nat, "10.0.1.20 10.0.3.20", "s-a s-c", "reaches the EC2 API through nat-1"),
            (&all_have_nat, "", "s-a s-c", "through nat-1 in eu-west-1c: if that zone fails, eu-west-1a loses it too"),
            (&a2_has_tgw, "", "s-a2 s-b", "may reach the EC2 API through tgw-1"),
            (&main_is_public, "", "s-a s-c", "s-c in eu-west-1c: private"),
            (&peered, "", "s-a s-b", "no way"),
        ] {
            let (chosen, notes) = chosen(all(), place, &[], targets);
            assert_eq!(chosen, ids, "{notes}");
            assert!(notes.contains(said), "{notes}\nnot: {said}");
        }
        let endpoint = Endpoint {
            id: "vpce-1".into(),
            service: "com.amazonaws.eu-west-1.ec2".into(),
            interface: true,
            tables: vec![],
            private_dns: true,
            subnets: vec!["s-b".into(), "s-c".into()],
            groups: vec![],
        };
        let gateway = Endpoint {
            service: "com.amazonaws.eu-west-1.s3".into(),
            tables: vec!["rtb-1".into()],
            ..Endpoint::default()
        };
        let (ids, notes) = chosen(all(), &Place { endpoints: vec![endpoint.clone()], ..none }, &[], "");
        assert_eq!(ids, "s-b s-c", "the zones of the endpoint");
        assert_eq!(notes.matches("through vpce-1").count(), 2, "{notes}");
        let tables = vec![table("rtb-m", &[], ""), table("rtb-1", &["s-a2", "s-b"], "")];
        let whole = Endpoint { subnets: vec!["s-a".into(), "s-b".into(), "s-c".into()], ..endpoint };
        let (ids, notes) =
            chosen(all(), &Place { tables, endpoints: vec![whole, gateway], ..Place::default() }, &[], "");
        assert_eq!(ids, "s-a2 s-b", "with a way to S3, too: {notes}");
    }

    #[test]
    fn without_two_zones_each_subnet_is_listed_with_the_reason() {
        let subnets = vec![
            subnet("s-a", "a", 1),
            Subnet { owner: Some("222".into()), ..subnet("s-b", "b", 2) },
            Subnet { free: 1, ..subnet("s-c", "c", 3) },
            Subnet { cidr: None, ..subnet("s-d", "d", 4) },
            Subnet { is_on_an_outpost: true, ..subnet("s-e", "e", 5) },
            subnet("s-f", "f", 6),
            Subnet { name: Some("web".into()), ..subnet("s-g", "g", 7) },
            Subnet { vpc: "vpc-2".into(), ..subnet("s-h", "h", 8) },
        ];
        let zones = ["a", "b", "c", "d", "e", "g", "h"].map(|zone| format!("eu-west-1{zone}"));
        let tables = vec![table("rtb-m", &[], ""), table("rtb-1", &["s-g"], "igw-1")];
        let place = Place { tables, zones: Some(zones.into()), ..Place::default() };
        let (_, said) = chosen(subnets, &place, &[], "");
        for line in [
            "needs usable private subnets in two availability zones and has them in eu-west-1a only",
            "subnet s-a in eu-west-1a: private",
            "subnet s-b in eu-west-1b: shared from account 222",
            "subnet s-c in eu-west-1c: 1 addresses are free, and a node needs 2",
            "subnet s-d in eu-west-1d: it has no IPv4 addresses",
            "subnet s-e in eu-west-1e: it is on an Outpost",
            "subnet s-f in eu-west-1f: eu-west-1f doesn't have the nodes' instance type",
            "subnet s-g (web) in eu-west-1g: public: rtb-1 has a route to igw-1",
        ] {
            assert!(said.contains(line), "{said}\nnot: {line}");
        }
        assert!(!said.contains("s-h"), "{said}");
    }

    #[test]
    fn given_subnets_are_taken_in_their_order_and_doubts_are_noted() {
        let subnets = || vec![subnet("s-a", "a", 1), subnet("s-a2", "a", 2), subnet("s-b", "b", 3)];
        let place = Place { tables: vec![table("rtb-m", &[], "igw-1")], ..Place::default() };
        let (ids, notes) = chosen(subnets(), &place, &["s-b", "s-a"], "");
        assert_eq!(ids, "s-b s-a");
        assert!(notes.contains("given, although public: rtb-m has a route to igw-1"), "{notes}");
        for (given, said) in [
            (["s-a", "s-x"], "subnet s-x isn't in vpc-1"),
            (["s-a", "s-a2"], "name subnets in at least two availability zones"),
        ] {
            let (_, problems) = chosen(subnets(), &place, &given, "");
            assert!(problems.contains(said), "{problems}");
        }
    }
}
