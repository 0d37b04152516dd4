//! `init`: chooses VPC, subnets and a virtual IP for a new balancer, and says why. Everything but [`read`] is pure.

pub mod file;
pub mod read;
pub mod seen;
mod subnets;
mod virtual_ip;
mod vpc;

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use templates::balancer::{Address, AgentPlace, Protocol};

use self::file::{Agent, Draft, problems};
use self::seen::{Place, Region, Vpc};

/// What the operator gave. The rest is chosen.
#[derive(Debug, Clone)]
pub struct Wishes {
    pub name: Option<String>,
    pub vpc: Option<String>,
    pub subnets: Vec<String>,
    pub virtual_ip: Option<Ipv4Addr>,
    pub protocol: Protocol,
    pub port: Option<u16>,
    pub targets: Vec<Address>,
    pub agent: Option<Agent>,
}

impl Wishes {
    fn addresses(&self) -> Vec<Ipv4Addr> {
        self.targets.iter().map(|target| target.ip).collect()
    }
}

/// What is wrong with what the operator gave, before a look at the account. Valid values stand in for what is chosen.
pub fn wrong(wishes: &Wishes) -> Vec<String> {
    let port = match port(wishes) {
        Ok(port) => port,
        Err(problem) => return vec![problem],
    };
    let subnets = match &wishes.subnets[..] {
        [] => ["subnet-0", "subnet-1"].map(str::to_owned).to_vec(),
        given => given.to_vec(),
    };
    problems(&Draft {
        name: wishes.name.clone().unwrap_or_else(|| "web".to_owned()),
        region: String::new(),
        vpc: wishes.vpc.clone().unwrap_or_else(|| "vpc-0".to_owned()),
        subnets,
        // An address for documents (RFC 5737), which no target has.
        virtual_ip: wishes.virtual_ip.unwrap_or(Ipv4Addr::new(198, 51, 100, 1)),
        protocol: wishes.protocol,
        port,
        targets: wishes.targets.clone(),
        agent: wishes.agent.clone(),
    })
}

/// The VPC with the notes on it, or why there is none. A given subnet decides if no VPC is given.
pub fn choose_vpc<'a>(wishes: &Wishes, region: &'a Region) -> Result<(&'a Vpc, Vec<String>), Vec<String>> {
    let of_subnets = wishes.subnets.iter().find_map(|id| region.subnets.iter().find(|subnet| subnet.id == *id));
    let given = wishes.vpc.as_deref().or(of_subnets.map(|subnet| subnet.vpc.as_str()));
    let (vpc, why) = vpc::choose(region, given, &wishes.addresses())?;
    let mut notes = vec![format!("VPC {vpc}: {why}")];
    for address in wishes.addresses().into_iter().filter(|address| !vpc.holds(*address)) {
        notes
            .push(format!("target {address} is outside of {}: the nodes reach it only through other networks", vpc.id));
    }
    Ok((vpc, notes))
}

/// Everything else, with the notes on it, or all reasons against it.
pub fn choose(wishes: &Wishes, region: &Region, vpc: &Vpc, place: &Place) -> Result<(Draft, Vec<String>), Vec<String>> {
    let gets_from_s3 = wishes.agent.as_ref().is_none_or(|agent| AgentPlace::of(&agent.source).is_in_s3());
    let services: &[&str] = if gets_from_s3 { &["ec2", "s3"] } else { &["ec2"] };
    let subnets = subnets::choose(region, vpc, place, &wishes.subnets, &wishes.addresses(), services);
    let virtual_ip = virtual_ip::choose(wishes.virtual_ip, &virtual_ip::taken(region, vpc, place));
    let ((subnets, of_subnets), (virtual_ip, of_virtual_ip), port) = match (subnets, virtual_ip, port(wishes)) {
        (Ok(subnets), Ok(virtual_ip), Ok(port)) => (subnets, virtual_ip, port),
        (subnets, virtual_ip, port) => {
            let problems = [subnets.err(), virtual_ip.err(), port.err().map(|problem| vec![problem])];
            return Err(problems.into_iter().flatten().flatten().collect());
        }
    };
    let draft = Draft {
        name: wishes.name.clone().unwrap_or_else(|| name(&region.balancers)),
        region: region.name.clone(),
        vpc: vpc.id.clone(),
        subnets: subnets.iter().map(|subnet| subnet.id.clone()).collect(),
        virtual_ip,
        protocol: wishes.protocol,
        port,
        targets: wishes.targets.clone(),
        agent: wishes.agent.clone(),
    };
    let mut notes = [of_subnets, of_virtual_ip].concat();
    if gets_from_s3 {
        notes.extend(subnets::without_s3(&subnets, region, place));
    }
    notes.extend(
        place.transit.unread.iter().map(|line| format!("not read, so the virtual IP may be in use there: {line}")),
    );
    notes.extend(remarks(&draft));
    Ok((draft, notes))
}

/// What is left to do.
fn remarks(draft: &Draft) -> Vec<String> {
    let mut remarks = Vec::new();
    if draft.targets.is_empty() {
        let said = "no target is given: HAProxy itself answers each request with 200; name targets with --target";
        remarks.push(said.to_owned());
    }
    remarks
}

/// The port: HTTP's usual one, or the first target's.
fn port(wishes: &Wishes) -> Result<u16, String> {
    let of_target = wishes.targets.first().and_then(|target| target.port);
    match (wishes.protocol, wishes.port) {
        (Protocol::Tcp, _) if wishes.targets.is_empty() => {
            Err("--protocol tcp needs a target: name one with --target".to_owned())
        }
        (_, Some(port)) => Ok(port),
        (Protocol::Http, None) => Ok(80),
        (Protocol::Tcp, None) => of_target.ok_or_else(|| "--protocol tcp needs a --port".to_owned()),
    }
}

/// The first free one of `web`, `web-2`, `web-3`, …
fn name(balancers: &BTreeSet<String>) -> String {
    let mut names = (1..).map(|n| if n == 1 { "web".to_owned() } else { format!("web-{n}") });
    names.find(|name| !balancers.contains(name)).unwrap_or_default()
}

#[cfg(test)]
mod tests;
