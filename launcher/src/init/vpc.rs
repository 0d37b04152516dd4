//! Chooses the VPC: the given one, or else the one that holds the targets, or else the account's only one beside the
//! default.

use std::net::Ipv4Addr;

use super::seen::{Region, Vpc};

/// The VPC and why, or the reasons against every VPC. `given` is the operator's.
pub fn choose<'a>(
    region: &'a Region,
    given: Option<&str>,
    targets: &[Ipv4Addr],
) -> Result<(&'a Vpc, String), Vec<String>> {
    let (vpc, why) = match given {
        Some(id) => {
            let found = region.vpcs.iter().find(|vpc| vpc.id == id);
            let vpc = found.ok_or_else(|| {
                let known = listed(&region.vpcs.iter().collect::<Vec<_>>());
                vec![format!("vpc {id} doesn't exist in {}; it has {known}", region.name)]
            })?;
            (vpc, "given".to_owned())
        }
        None if region.vpcs.is_empty() => {
            return Err(vec![format!("no VPC in {}: create one, or name another Region with --region", region.name)]);
        }
        None if targets.is_empty() => alone(region)?,
        None => holding(region, targets)?,
    };
    if vpc.owner != region.account {
        return Err(vec![format!(
            "vpc {} is shared from account {}, which owns its route tables: create the balancer in that account",
            vpc.id, vpc.owner
        )]);
    }
    Ok((vpc, why))
}

/// The VPC that holds all targets.
fn holding<'a>(region: &'a Region, targets: &[Ipv4Addr]) -> Result<(&'a Vpc, String), Vec<String>> {
    let all = region.vpcs.iter().filter(|vpc| targets.iter().all(|target| vpc.holds(*target)));
    match &all.collect::<Vec<&Vpc>>()[..] {
        [vpc] => Ok((*vpc, "it holds every target's address".to_owned())),
        [] => Err(scattered(region, targets)),
        several => {
            let addresses: Vec<String> = targets.iter().map(Ipv4Addr::to_string).collect();
            let (addresses, several) = (addresses.join(", "), listed(several));
            Err(vec![format!("several VPCs hold {addresses}: {several}; choose one with --vpc")])
        }
    }
}

/// Why no VPC holds all targets.
fn scattered(region: &Region, targets: &[Ipv4Addr]) -> Vec<String> {
    let holders = |target: &Ipv4Addr| region.vpcs.iter().filter(|vpc| vpc.holds(*target)).collect::<Vec<_>>();
    let known = listed(&region.vpcs.iter().collect::<Vec<_>>());
    let outside = targets.iter().filter(|target| holders(target).is_empty()).map(|target| {
        format!(
            "target {target} is outside every VPC of {} ({known}): correct it, or choose with --vpc the VPC that reaches it \
             through a peering or a transit gateway",
            region.name
        )
    });
    let outside: Vec<String> = outside.collect();
    if !outside.is_empty() {
        return outside;
    }
    let each = targets.iter().map(|target| format!("{target} in {}", listed(&holders(target))));
    let each = each.collect::<Vec<_>>().join("; ");
    vec![format!("the targets are in several VPCs ({each}): write a file for each, or choose one with --vpc")]
}

/// Without targets: the only VPC beside the default one, or the only one.
fn alone(region: &Region) -> Result<(&Vpc, String), Vec<String>> {
    let own: Vec<&Vpc> = region.vpcs.iter().filter(|vpc| vpc.owner == region.account).collect();
    let made: Vec<&Vpc> = own.iter().copied().filter(|vpc| !vpc.is_default).collect();
    match (&made[..], &own[..]) {
        ([vpc], [_]) | ([], [vpc]) => Ok((*vpc, format!("the only VPC of {}", region.name))),
        ([vpc], _) => Ok((*vpc, format!("the only VPC of {} beside the default one", region.name))),
        ([], []) => {
            Err(vec![format!("every VPC of {} is shared from another account: create a VPC of your own", region.name)])
        }
        (several, _) => Err(vec![format!(
            "several VPCs in {}: {}; choose one with --vpc, or name a target with --target",
            region.name,
            listed(several)
        )]),
    }
}

fn listed(vpcs: &[&Vpc]) -> String {
    match vpcs {
        [] => "none".to_owned(),
        _ => vpcs.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vpc(id: &str, cidrs: &[&str]) -> Vpc {
        let cidrs = cidrs.iter().map(|cidr| cidr.parse().unwrap()).collect();
        Vpc { id: id.to_owned(), cidrs, owner: "111".to_owned(), ..Vpc::default() }
    }

    /// The VPC's id with the reason, or the problems.
    fn chosen(vpcs: &[Vpc], given: Option<&str>, targets: &[&str]) -> String {
        let region =
            Region { name: "eu-west-1".into(), account: "111".into(), vpcs: vpcs.to_vec(), ..Region::default() };
        let targets: Vec<Ipv4Addr> = targets.iter().map(|target| target.parse().unwrap()).collect();
        match choose(&region, given, &targets) {
            Ok((vpc, why)) => format!("{}: {why}", vpc.id),
            Err(problems) => problems.join("\n"),
        }
    }

    #[test]
    fn the_vpc_is_the_given_one_or_the_targets_or_the_only_one() {
        let (a, b) = (vpc("vpc-a", &["10.0.0.0/16", "10.5.0.0/16"]), vpc("vpc-b", &["10.9.0.0/16"]));
        let same = Vpc { name: Some("copy".into()), ..vpc("vpc-c", &["10.0.0.0/16"]) };
        let default = Vpc { is_default: true, ..vpc("vpc-d", &["172.31.0.0/16"]) };
        let shared = Vpc { owner: "222".into(), ..vpc("vpc-s", &["10.7.0.0/16"]) };
        let all = [a.clone(), b.clone(), default.clone(), shared.clone()];
        let says = |vpcs: &[Vpc], given: Option<&str>, targets: &[&str], said: &str| {
            let choice = chosen(vpcs, given, targets);
            assert!(choice.starts_with(said), "{choice}\nnot: {said}");
        };
        says(&all, None, &["10.0.1.20", "10.5.1.20"], "vpc-a: it holds every target's address");
        says(&all, Some("vpc-b"), &["10.0.1.20"], "vpc-b: given");
        says(&all, Some("vpc-x"), &[], "vpc vpc-x doesn't exist in eu-west-1; it has vpc-a (10.0.0.0/16 10.5.0.0/16)");
        says(&all, None, &["10.7.0.1"], "vpc vpc-s is shared from account 222");
        says(&all, None, &["10.0.1.20", "10.9.0.1"], "the targets are in several VPCs (10.0.1.20 in vpc-a");
        says(&all, None, &["10.0.1.20", "192.168.0.1"], "target 192.168.0.1 is outside every VPC of eu-west-1 (vpc-a");
        says(
            &[a.clone(), same],
            None,
            &["10.0.1.20"],
            "several VPCs hold 10.0.1.20: vpc-a (10.0.0.0/16 10.5.0.0/16), vpc-c",
        );
        says(&all, None, &[], "several VPCs in eu-west-1: vpc-a");
        says(
            &[a, default.clone(), shared.clone()],
            None,
            &[],
            "vpc-a: the only VPC of eu-west-1 beside the default one",
        );
        says(&[default], None, &[], "vpc-d: the only VPC of eu-west-1");
        says(&[b], None, &[], "vpc-b: the only VPC of eu-west-1");
        says(&[shared], None, &[], "every VPC of eu-west-1 is shared");
        says(&[], None, &[], "no VPC in eu-west-1: create one");
    }
}
