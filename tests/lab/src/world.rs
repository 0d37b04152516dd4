//! The resources that exist in the lab's API: VPCs, subnets, route tables, security groups, interfaces and instances.
//!
//! moto holds them and returns all of them from `GET /lab/world`. The lab makes the kernel and IMDS match them.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use anyhow::Context;
use ipnet::Ipv4Net;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::api::upstream::Upstream;

/// Tags, or any other names with values.
pub type Tags = BTreeMap<String, String>;

/// All resources at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct World {
    /// Increases with every change.
    pub generation: u64,
    /// The Region, such as `eu-west-1`.
    pub region: String,
    /// The account's 12 digits.
    pub account: String,
    pub vpcs: Vec<Vpc>,
    /// The subnets of every VPC.
    pub subnets: Vec<Subnet>,
    /// The route tables of every VPC.
    pub route_tables: Vec<RouteTable>,
    /// The security groups of every VPC.
    pub security_groups: Vec<SecurityGroup>,
    /// The network interfaces.
    pub interfaces: Vec<Interface>,
    /// The instances, terminated ones for as long as the API shows them.
    pub instances: Vec<Instance>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vpc {
    /// `vpc-…`
    pub id: String,
    /// Its CIDR blocks, the primary one first.
    pub cidrs: Vec<Ipv4Net>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subnet {
    /// `subnet-…`
    pub id: String,
    pub vpc: String,
    /// Its CIDR block.
    pub cidr: Ipv4Net,
    /// Its availability zone, such as `eu-west-1a`.
    pub zone: String,
    /// The zone's ID, such as `euw1-az3`.
    #[serde(default)]
    pub zone_id: Option<String>,
    #[serde(default)]
    pub tags: Tags,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteTable {
    /// `rtb-…`
    pub id: String,
    pub vpc: String,
    /// Whether it is the VPC's main table, which subnets without an associated table use.
    #[serde(default)]
    pub main: bool,
    /// The subnets associated with it.
    #[serde(default)]
    pub subnets: Vec<String>,
    /// The gateways associated with it.
    #[serde(default)]
    pub gateways: Vec<String>,
    #[serde(default)]
    pub tags: Tags,
    pub routes: Vec<Route>,
}

/// A route of a table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// The destination CIDR block.
    pub destination: Ipv4Net,
    /// The target, if it is an interface: `eni-…`.
    pub interface: Option<String>,
    /// The target, if it is a gateway: `igw-…` or `local`.
    pub gateway: Option<String>,
    /// Whether its target exists.
    pub state: RouteState,
}

/// Whether a route's target exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RouteState {
    /// It exists.
    Active,
    /// It doesn't exist: packets are dropped.
    Blackhole,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecurityGroup {
    /// `sg-…`
    pub id: String,
    pub vpc: String,
    pub name: String,
    #[serde(default)]
    pub tags: Tags,
    /// The inbound rules.
    #[serde(default)]
    pub ingress: Vec<Permission>,
    /// The outbound rules.
    #[serde(default)]
    pub egress: Vec<Permission>,
}

/// A rule of a security group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Permission {
    /// `tcp`, `udp`, `icmp`, a protocol number such as `112`, or `-1` for any.
    pub protocol: String,
    /// The first port (or ICMP type; -1 is any).
    pub from: Option<i32>,
    /// The last port (or ICMP code; -1 is any).
    pub to: Option<i32>,
    /// The addresses at the other end.
    #[serde(default)]
    pub cidrs: Vec<Ipv4Net>,
    /// The security groups at the other end.
    #[serde(default)]
    pub groups: Vec<String>,
}

/// A network interface.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interface {
    /// `eni-…`
    pub id: String,
    pub subnet: String,
    pub vpc: String,
    /// Its primary address.
    pub address: Ipv4Addr,
    /// Its MAC address, lowercase with colons.
    pub mac: String,
    /// Whether it accepts and sends only packets of its own address.
    pub source_dest_check: bool,
    /// Its security groups.
    #[serde(default)]
    pub groups: Vec<String>,
    /// The instance it is attached to.
    pub instance: Option<String>,
    /// `in-use` or `available`.
    pub status: String,
    #[serde(default)]
    pub tags: Tags,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instance {
    /// `i-…`
    pub id: String,
    /// Its state in the API.
    pub state: InstanceState,
    /// Its index within its RunInstances call.
    #[serde(default)]
    pub launch_index: u32,
    /// Its type, such as `t3.small`.
    #[serde(rename = "type")]
    pub instance_type: String,
    /// `ami-…`
    pub image: String,
    /// Its subnet; none once it is terminated.
    pub subnet: Option<String>,
    /// Its VPC; none once it is terminated.
    pub vpc: Option<String>,
    /// Its availability zone.
    #[serde(default)]
    pub zone: String,
    /// Its primary address; none once it is terminated.
    pub address: Option<Ipv4Addr>,
    /// Its primary interface; none once it is terminated.
    pub interface: Option<String>,
    /// The MAC address of that interface.
    pub mac: Option<String>,
    /// The role in its instance profile.
    pub role: Option<String>,
    /// The ARN of its instance profile.
    pub profile_arn: Option<String>,
    /// Its user-data in base64.
    pub user_data: Option<String>,
    #[serde(default)]
    pub tags: Tags,
    /// The lifecycle state that its Auto Scaling group moves it to, such as `Terminated`; none if it was never in a
    /// group.
    #[serde(default)]
    pub target_lifecycle_state: Option<String>,
    /// Whether IMDS shows its tags.
    #[serde(default)]
    pub metadata_tags: bool,
    /// The hop limit of IMDS answers.
    #[serde(default)]
    pub hop_limit: Option<u32>,
    /// `required` for IMDSv2 only, `optional` for IMDSv1 as well.
    #[serde(default)]
    pub tokens: Option<String>,
    /// When it was launched.
    pub launched: Timestamp,
    /// `r-…`
    pub reservation: String,
}

/// An instance's state in the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum InstanceState {
    /// Launching.
    Pending,
    /// Running, whether or not it has power.
    Running,
    /// Being terminated.
    ShuttingDown,
    /// Terminated; still shown for a while.
    Terminated,
    /// Being stopped.
    Stopping,
    /// Stopped; can be started again.
    Stopped,
}

impl InstanceState {
    /// Whether it is pending or running.
    pub fn has_power(self) -> bool {
        matches!(self, InstanceState::Pending | InstanceState::Running)
    }

    /// Whether it is shutting down or terminated.
    pub fn is_ending(self) -> bool {
        matches!(self, InstanceState::ShuttingDown | InstanceState::Terminated)
    }
}

impl World {
    /// The live instance with this primary address.
    pub fn instance_at(&self, address: Ipv4Addr) -> Option<&Instance> {
        self.instances.iter().find(|i| i.address == Some(address) && i.state != InstanceState::Terminated)
    }

    pub fn instance(&self, id: &str) -> Option<&Instance> {
        self.instances.iter().find(|i| i.id == id)
    }

    pub fn interface(&self, id: &str) -> Option<&Interface> {
        self.interfaces.iter().find(|i| i.id == id)
    }

    pub fn subnet(&self, id: &str) -> Option<&Subnet> {
        self.subnets.iter().find(|s| s.id == id)
    }

    pub fn vpc(&self, id: &str) -> Option<&Vpc> {
        self.vpcs.iter().find(|v| v.id == id)
    }

    pub fn security_group(&self, id: &str) -> Option<&SecurityGroup> {
        self.security_groups.iter().find(|g| g.id == id)
    }

    /// The route table that a subnet uses: its own, or its VPC's main one.
    pub fn table_of(&self, subnet: &Subnet) -> Option<&RouteTable> {
        let own = self.route_tables.iter().find(|t| t.subnets.contains(&subnet.id));
        own.or_else(|| self.route_tables.iter().find(|t| t.main && t.vpc == subnet.vpc))
    }
}

/// Fetches the current world from moto.
pub async fn fetch(moto: &Upstream) -> anyhow::Result<World> {
    let body = moto.get("/lab/world").await.context("fetching the lab's world from moto")?;
    serde_json::from_slice(&body).context("reading the lab's world")
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"{"generation":17,"region":"eu-west-1","account":"123456789012",
        "vpcs":[{"id":"vpc-1","cidrs":["10.0.0.0/16"]}],
        "subnets":[{"id":"subnet-a","vpc":"vpc-1","cidr":"10.0.1.0/24","zone":"eu-west-1a","tags":{"Name":"private-a"}},
                   {"id":"subnet-c","vpc":"vpc-1","cidr":"10.0.3.0/24","zone":"eu-west-1c","tags":{}}],
        "route_tables":[
          {"id":"rtb-main","vpc":"vpc-1","main":true,"subnets":[],"gateways":[],"tags":{},"routes":[
            {"destination":"10.0.0.0/16","interface":null,"gateway":"local","state":"active"}]},
          {"id":"rtb-a","vpc":"vpc-1","main":false,"subnets":["subnet-a"],"gateways":[],"tags":{"Name":"private-a"},"routes":[
            {"destination":"10.255.0.10/32","interface":"eni-1","gateway":null,"state":"blackhole"}]}],
        "security_groups":[{"id":"sg-1","vpc":"vpc-1","name":"default","tags":{},
          "ingress":[{"protocol":"112","from":null,"to":null,"cidrs":[],"groups":["sg-1"]}],
          "egress":[{"protocol":"-1","from":null,"to":null,"cidrs":["0.0.0.0/0"],"groups":[]}]}],
        "interfaces":[{"id":"eni-1","subnet":"subnet-a","vpc":"vpc-1","address":"10.0.1.10","mac":"02:00:00:00:00:01",
          "source_dest_check":false,"groups":["sg-1"],"instance":"i-1","status":"in-use","tags":{}}],
        "instances":[
          {"id":"i-0","state":"terminated","launch_index":0,"type":"t3.small","image":"ami-1","subnet":null,"vpc":null,
           "zone":"eu-west-1a","address":null,"interface":null,"mac":null,"role":null,"profile_arn":null,"user_data":null,
           "tags":{},"metadata_tags":false,"hop_limit":1,"tokens":"required","launched":"2026-01-02T03:04:05Z","reservation":"r-0"},
          {"id":"i-1","state":"running","launch_index":0,"type":"t3.small","image":"ami-1","subnet":"subnet-a","vpc":"vpc-1",
           "zone":"eu-west-1a","address":"10.0.1.10","interface":"eni-1","mac":"02:00:00:00:00:01","role":"elbow-eu-west-1-web",
           "profile_arn":"arn:aws:iam::123456789012:instance-profile/p","user_data":"aGk=","tags":{"elbow:vpc":"0"},
           "metadata_tags":true,"hop_limit":1,"tokens":"required","launched":"2026-01-02T03:04:05Z","reservation":"r-1"}]}"#;

    #[test]
    fn the_world_reads_as_moto_writes_it() {
        let world: World = serde_json::from_str(TEXT).unwrap();
        assert_eq!(world.generation, 17);
        assert_eq!(world.instance_at("10.0.1.10".parse().unwrap()).unwrap().id, "i-1");
        assert_eq!(world.instance("i-0").unwrap().state, InstanceState::Terminated);
        assert_eq!(world.route_tables[1].routes[0].state, RouteState::Blackhole);
        assert_eq!(world.security_groups[0].ingress[0].protocol, "112");
        let again: World = serde_json::from_str(&serde_json::to_string(&world).unwrap()).unwrap();
        assert_eq!(world, again);
    }

    #[test]
    fn a_subnet_without_a_table_uses_the_main_one() {
        let world: World = serde_json::from_str(TEXT).unwrap();
        let table = |subnet| world.table_of(world.subnet(subnet).unwrap()).unwrap().id.as_str();
        assert_eq!(table("subnet-a"), "rtb-a");
        assert_eq!(table("subnet-c"), "rtb-main");
    }
}
