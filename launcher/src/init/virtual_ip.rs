//! Chooses the virtual IP: the first address outside of every network that the account knows.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use super::seen::{Place, Region, Vpc};

/// The first two octets of the private networks that are searched, the least usual ones first.
const POOLS: [(u8, u8); 6] = [(10, 255), (10, 254), (10, 253), (172, 30), (172, 29), (192, 168)];
/// The last octets that are tried in each /24: usual gateways and resolvers have lower and higher ones.
const HOSTS: std::ops::RangeInclusive<u8> = 10..=250;

/// A network that a virtual IP may not be in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    pub net: Ipv4Net,
    /// What has it.
    pub by: String,
    /// Whether `create` refuses a virtual IP there. Otherwise the address may be free: a wide route covers unused
    /// addresses, too.
    pub is_certain: bool,
}

/// The virtual IP with the notes on it, or why there is none. `given` is the operator's.
pub fn choose(given: Option<Ipv4Addr>, taken: &[Taken]) -> Result<(Ipv4Addr, Vec<String>), Vec<String>> {
    let holders = |vip: Ipv4Addr| taken.iter().filter(move |taken| taken.net.contains(&vip));
    if let Some(vip) = given {
        let (certain, doubtful): (Vec<&Taken>, Vec<&Taken>) = holders(vip).partition(|taken| taken.is_certain);
        if !certain.is_empty() {
            return Err(certain.iter().map(|taken| format!("virtual IP {vip} is taken by {}", taken.by)).collect());
        }
        let mut notes = vec![format!("virtual IP {vip}: given")];
        notes.extend(doubtful.iter().map(|taken| format!("virtual IP {vip} may be in use: it lies in {}", taken.by)));
        return Ok((vip, notes));
    }
    let Some(vip) = free(taken) else {
        return Err(vec![
            "no free virtual IP was found: choose an address that nothing uses with --virtual-ip".to_owned(),
        ]);
    };
    let mut notes = vec![format!("virtual IP {vip}: outside of the {} networks that were found", taken.len())];
    let (a, b) = POOLS[0];
    let first = Ipv4Addr::new(a, b, 0, *HOSTS.start());
    notes.extend(holders(first).map(|taken| format!("not {first}: it lies in {}", taken.by)));
    Ok((vip, notes))
}

/// The first address that no network has.
fn free(taken: &[Taken]) -> Option<Ipv4Addr> {
    let blocks = POOLS.iter().flat_map(|&(a, b)| (0..=255).map(move |c| (a, b, c)));
    let mut addresses = blocks.filter_map(|(a, b, c)| {
        let block = Ipv4Net::new(Ipv4Addr::new(a, b, c, 0), 24).ok()?;
        let near = taken.iter().map(|taken| taken.net).filter(|net| net.contains(&block) || block.contains(net));
        let near: Vec<Ipv4Net> = near.collect();
        let mut hosts = HOSTS.map(|d| Ipv4Addr::new(a, b, c, d));
        hosts.find(|host| !near.iter().any(|net| net.contains(host)))
    });
    addresses.next()
}

/// Every network that is in use: of VPCs, peerings, routes, transit gateways and balancers. A default route and the
/// VPC's own route name no network.
pub fn taken(region: &Region, vpc: &Vpc, place: &Place) -> Vec<Taken> {
    let mut taken = Vec::new();
    for other in &region.vpcs {
        let is_certain = other.id == vpc.id;
        taken.extend(other.cidrs.iter().map(|net| Taken { net: *net, by: other.to_string(), is_certain }));
    }
    for peering in &place.peerings {
        let by = |net: &Ipv4Net| format!("{net} of peering {}", peering.id);
        taken.extend(peering.cidrs.iter().map(|net| Taken { net: *net, by: by(net), is_certain: false }));
    }
    for table in &place.tables {
        for route in table.routes.iter().filter(|route| route.target.as_deref() != Some("local")) {
            let Ok(net) = route.destination.parse::<Ipv4Net>() else { continue };
            let target = route.target.as_deref().unwrap_or("an unknown target");
            let by = format!("the route {net} to {target} in {}", table.id);
            taken.push(Taken { net, by, is_certain: net.prefix_len() == 32 && !route.blackhole });
        }
    }
    for (net, table) in &place.transit.routes {
        taken.push(Taken { net: *net, by: format!("the route {net} in {table}"), is_certain: false });
    }
    for claim in &region.claims {
        // `create` refuses only those of the same VPC.
        let is_certain = claim.vpc == vpc.id;
        taken.push(Taken { net: claim.address.into(), by: format!("balancer {}", claim.balancer), is_certain });
    }
    taken.retain(|taken| taken.net.prefix_len() > 0);
    taken
}

#[cfg(test)]
mod tests {
    use super::super::seen::{Claim, Peering, TransitRoutes};
    use super::*;
    use crate::resources::route_tables::{Route, Table};

    fn nets(texts: &[&str]) -> Vec<Ipv4Net> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn chosen(given: Option<[u8; 4]>, texts: &[&str]) -> (String, String) {
        let taken = nets(texts).into_iter().map(|net| Taken {
            net,
            by: format!("the route {net}"),
            is_certain: net.prefix_len() == 32,
        });
        match choose(given.map(Ipv4Addr::from), &taken.collect::<Vec<_>>()) {
            Ok((vip, notes)) => (vip.to_string(), notes.join("\n")),
            Err(problems) => (String::new(), problems.join("\n")),
        }
    }

    #[test]
    fn the_first_address_outside_of_every_network_is_chosen() {
        let is = |texts: &[&str], vip: &str| {
            let (chosen, notes) = chosen(None, texts);
            assert_eq!(chosen, vip, "{texts:?}: {notes}");
            let first_is_taken = vip != "10.255.0.10";
            assert_eq!(notes.contains("not 10.255.0.10: it lies in the route"), first_is_taken, "{notes}");
        };
        is(&[], "10.255.0.10");
        is(&["10.0.0.0/16", "10.255.9.9/32", "10.255.0.128/25"], "10.255.0.10");
        is(&["10.255.0.10/32", "10.255.0.11/32"], "10.255.0.12");
        is(&["10.255.0.0/25"], "10.255.0.128");
        is(&["10.255.0.0/24"], "10.255.1.10");
        is(&["10.255.0.0/16"], "10.254.0.10");
        is(&["10.0.0.0/8"], "172.30.0.10");
        is(&["10.0.0.0/8", "172.16.0.0/12"], "192.168.0.10");
        let (_, said) = chosen(None, &["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"]);
        assert!(said.contains("--virtual-ip"), "{said}");
    }

    #[test]
    fn a_given_address_is_refused_if_create_would_refuse_it_and_else_noted() {
        let vip = Some([10, 255, 0, 10]);
        assert_eq!(chosen(vip, &["10.254.0.0/16"]).1, "virtual IP 10.255.0.10: given");
        let (_, said) = chosen(vip, &["10.0.0.0/8", "10.255.0.10/32"]);
        assert_eq!(said, "virtual IP 10.255.0.10 is taken by the route 10.255.0.10/32");
        let (_, said) = chosen(vip, &["10.0.0.0/8"]);
        assert!(said.ends_with("may be in use: it lies in the route 10.0.0.0/8"), "{said}");
    }

    #[test]
    fn every_kind_of_network_is_taken() {
        let vpc = |id: &str, cidr| Vpc { id: id.to_owned(), cidrs: nets(&[cidr]), ..Vpc::default() };
        let own = vpc("vpc-1", "10.0.0.0/16");
        let route = |destination: &str, target: &str| Route {
            destination: destination.to_owned(),
            target: Some(target.to_owned()),
            blackhole: false,
        };
        let routes = vec![
            route("10.0.0.0/16", "local"),
            route("0.0.0.0/0", "nat-1"),
            route("pl-1", "vpce-1"),
            route("10.1.0.0/16", "tgw-1"),
            route("10.255.9.9/32", "eni-1"),
        ];
        let transit = TransitRoutes { routes: vec![(nets(&["10.4.0.0/16"])[0], "tgw-rtb-1".into())], unread: vec![] };
        let place = Place {
            tables: vec![Table { id: "rtb-1".into(), routes, ..Table::default() }],
            peerings: vec![Peering { id: "pcx-1".into(), cidrs: nets(&["10.3.0.0/16"]) }],
            transit,
            ..Place::default()
        };
        let region = Region {
            vpcs: vec![own.clone(), vpc("vpc-2", "10.2.0.0/16")],
            claims: vec![Claim { address: [10, 255, 0, 10].into(), balancer: "web".into(), vpc: "vpc-1".into() }],
            ..Region::default()
        };
        let taken = taken(&region, &own, &place);
        let lines: Vec<String> = taken.iter().map(|t| format!("{} {} {}", t.net, t.is_certain, t.by)).collect();
        assert_eq!(
            lines,
            [
                "10.0.0.0/16 true vpc-1 (10.0.0.0/16)",
                "10.2.0.0/16 false vpc-2 (10.2.0.0/16)",
                "10.3.0.0/16 false 10.3.0.0/16 of peering pcx-1",
                "10.1.0.0/16 false the route 10.1.0.0/16 to tgw-1 in rtb-1",
                "10.255.9.9/32 true the route 10.255.9.9/32 to eni-1 in rtb-1",
                "10.4.0.0/16 false the route 10.4.0.0/16 in tgw-rtb-1",
                "10.255.0.10/32 true balancer web",
            ]
        );
    }
}
