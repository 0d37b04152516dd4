//! Computes a balancer's desired resources on AWS from its file, before anything is created.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ipnet::Ipv4Net;
use templates::balancer::{Iam, Revision, RouteTables, Volume};
use templates::{Balancer, Slot, files, names, paths};

use crate::model::agent_store::AgentStore;
use crate::model::group_settings::Wanted;
use crate::model::tags::{self, Tags};
use crate::resources::launch_template::{Contents, LAUNCHED, METADATA};
use crate::resources::security_group::{Rule, Source};

/// The default of AWS's quota L-0EA8095F (VPC user guide, "Amazon VPC quotas"); a rule from a group counts as one, too.
const RULES: usize = 60;

/// The desired resources.
#[derive(Debug, Clone)]
pub struct Desired {
    /// The balancer's name.
    pub balancer: String,
    pub vpc: String,
    /// The revision of its nodes.
    pub revision: Revision,
    /// The name of security group and launch template; an instance's name adds the slot.
    pub name: String,
    /// The name of Elbow's own role, role policy and instance profile.
    pub global_name: String,
    /// Which of role and instance profile are Elbow's, and their settings.
    pub iam: Iam,
    /// The tags of every resource, the operator's too.
    pub tags: Tags,
    /// The operator's tags.
    pub operator_tags: BTreeMap<String, String>,
    /// Its virtual IPs, which the security group claims.
    pub virtual_ips: Vec<Ipv4Addr>,
    /// The tables of their routes.
    pub route_tables: RouteTables,
    /// The security group's rules.
    pub rules: BTreeSet<Rule>,
    /// The role's trust policy (JSON).
    pub trust: String,
    /// The role's permission policy (JSON).
    pub policy: String,
    /// The resolved image id.
    pub image: String,
    /// For example `t3.small`.
    pub instance_type: String,
    /// Further security groups of the nodes.
    pub other_groups: Vec<String>,
    /// The nodes' root volume, unless it is as the image says.
    pub volume: Option<Volume>,
    /// Base64 of gzip of cloud-config.
    pub user_data: String,
    /// One node in each, by slot.
    pub subnets: Vec<String>,
    /// The Auto Scaling group, if one launches the nodes.
    pub scaling: Option<Wanted>,
    /// Elbow's bucket, if nodes get the agent there.
    pub store: Option<AgentStore>,
}

impl Desired {
    /// `user_data` is the gzip, `image` the resolved image id, `cidrs` the VPC's.
    pub fn of(balancer: &Balancer, region: &str, cidrs: &[Ipv4Net], image: &str, user_data: &[u8]) -> Desired {
        Desired {
            balancer: balancer.name.clone(),
            vpc: balancer.vpc.clone(),
            revision: balancer.revision(),
            name: names::regional(&balancer.name),
            global_name: names::global(region, &balancer.name),
            iam: balancer.iam.clone(),
            tags: Tags::of(&balancer.name, &balancer.vpc).and(&balancer.tags),
            operator_tags: balancer.tags.clone(),
            virtual_ips: balancer.virtual_ips.clone(),
            route_tables: balancer.route_tables.clone(),
            rules: rules(balancer, cidrs),
            trust: files::trust_policy(),
            policy: files::permission_policy(balancer, region),
            image: image.to_owned(),
            instance_type: balancer.instance_type.clone(),
            other_groups: balancer.node.security_groups.clone(),
            volume: balancer.volume.clone(),
            user_data: STANDARD.encode(user_data),
            subnets: balancer.subnets.clone(),
            scaling: Wanted::of(balancer),
            store: None,
        }
    }

    /// The same, with what Elbow's bucket holds.
    pub fn with_store(self, store: &Option<AgentStore>) -> Desired {
        Desired { store: store.clone(), ..self }
    }

    /// The name of Elbow's bucket.
    pub fn bucket(&self) -> &str {
        self.store.as_ref().map_or("", |store| &store.bucket.name)
    }

    /// Each slot and its subnet.
    pub fn slots(&self) -> impl Iterator<Item = (Slot, &str)> {
        self.subnets.iter().enumerate().map(|(slot, subnet)| (Slot(slot as u8), subnet.as_str()))
    }

    /// The security group's tags, claims included.
    pub fn group_tags(&self) -> Tags {
        self.virtual_ips.iter().fold(self.tags.clone(), |tags, vip| tags.with(&tags::claim(*vip), ""))
    }

    /// The contents of the launch template's version. A pinned image stays: only `update` changes it.
    pub fn contents(&self, group: &str, pinned: Option<&str>) -> Contents {
        Contents {
            image: pinned.unwrap_or(&self.image).to_owned(),
            instance_type: self.instance_type.clone(),
            groups: [group.to_owned()].into_iter().chain(self.other_groups.iter().cloned()).collect(),
            profile: self.iam.profile(&self.global_name).to_owned(),
            volume: self.volume.clone(),
            user_data: self.user_data.clone(),
            metadata: METADATA,
            launched: LAUNCHED.map(|kind| (kind.as_str().to_owned(), self.tags.clone())).into(),
        }
    }
}

/// The security group's rules, as few as possible: AWS limits their number.
pub fn rules(balancer: &Balancer, cidrs: &[Ipv4Net]) -> BTreeSet<Rule> {
    let readers = balancer.metrics.as_ref().map_or(&[][..], |metrics| &metrics.clients);
    let tcp = |(first, last): (u16, u16), source| Rule {
        protocol: "tcp".to_owned(),
        ports: Some((first.into(), last.into())),
        source,
    };
    let from = |net: &Ipv4Net| Source::Cidr(net.to_string());
    let [health, peers] = [paths::HEALTH_PORT, paths::PEERS_PORT].map(|port| (port, port));
    let readers = Ipv4Net::aggregate(&readers.to_vec());
    let admitted = balancer.admitted(cidrs);
    let mut rules: BTreeSet<Rule> =
        admitted.iter().map(|(client, ports)| tcp((ports.first, ports.last), from(client))).collect();
    rules.extend(readers.iter().map(|reader| tcp(health, from(reader))));
    rules.insert(Rule { protocol: "112".to_owned(), ports: None, source: Source::Members });
    rules.insert(tcp(health, Source::Members));
    if balancer.shares_tables() {
        rules.insert(tcp(peers, Source::Members));
    }
    let tunnel = i32::from(paths::TUNNEL_PORT);
    rules.insert(Rule { protocol: "udp".to_owned(), ports: Some((tunnel, tunnel)), source: Source::Members });
    rules
}

/// The warning about a group with more rules than AWS's default quota.
pub fn many(rules: usize) -> Option<String> {
    (rules > RULES).then(|| {
        format!(
            "the security group needs {rules} rules, and AWS's quota \"Inbound or outbound rules per security group\" \
             is {RULES} by default: list fewer clients, use consecutive ports, or raise the quota"
        )
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use templates::balancer::Launch;

    use super::*;

    pub(crate) const WEB: &str = r#"
name = "web"
vpc = "vpc-0a1b2c3d"
subnets = ["subnet-0aaa", "subnet-0bbb"]
virtual_ips = ["10.255.0.10"]
instance_type = "t3.small"
image = "ami-0a1b2c3d"

[agent]
source = "https://example.com/agent"
sha256 = "0000000000000000000000000000000000000000000000000000000000000000"

[[listener]]
name = "http"
port = 80
protocol = "http"
targets = ["10.0.1.20:8080", "10.0.2.20:8080"]
"#;

    pub(crate) fn web() -> Balancer {
        Balancer::parse(WEB).expect("the example is valid")
    }

    /// The same, launched by an Auto Scaling group.
    pub(crate) fn auto_scaling() -> Balancer {
        Balancer { launch: Launch::AutoScaling, ..web() }
    }

    pub(crate) fn desired() -> Desired {
        desired_of(&web())
    }

    pub(crate) fn desired_of(balancer: &Balancer) -> Desired {
        let user_data = files::user_data_gzip(balancer).expect("it is small");
        Desired::of(balancer, "eu-west-1", &["10.0.0.0/16".parse().unwrap()], "ami-0a1b2c3d", &user_data)
    }

    #[test]
    fn clients_are_the_vpcs_addresses_unless_named() {
        let said = |balancer: &Balancer| -> Vec<String> {
            rules(balancer, &["10.0.0.0/16".parse().unwrap()]).iter().map(Rule::to_string).collect()
        };
        let mut balancer = web();
        assert_eq!(
            said(&balancer),
            ["VRRP among the nodes", "tcp 80 from 10.0.0.0/16", "tcp 9110 among the nodes", "udp 4789 among the nodes"]
        );
        balancer.clients = vec!["192.168.0.0/24".parse().unwrap()];
        assert_eq!(
            said(&balancer),
            [
                "VRRP among the nodes",
                "tcp 80 from 192.168.0.0/24",
                "tcp 9110 among the nodes",
                "udp 4789 among the nodes"
            ]
        );
    }

    #[test]
    fn nodes_share_stick_tables_among_themselves_only_if_there_are_any() {
        let rule = "tcp 9112 among the nodes";
        for (keys, is_there) in [("cookie = 'ELBOW'", false), ("app_cookie = 'ID'", true), ("source = true", true)] {
            let mut balancer = web();
            let mut group = balancer.groups().remove(0);
            group.sticky = Some(toml::from_str(keys).expect("the example is valid"));
            balancer.target_groups = vec![group];
            assert_eq!(rules(&balancer, &[]).iter().any(|one| one.to_string() == rule), is_there, "{keys}");
        }
    }

    #[test]
    fn consecutive_ports_and_adjacent_networks_are_one_rule() {
        let mut balancer = web();
        let listener = balancer.listeners[0].clone();
        let ports = [8081, 65535, 8080, 8082, 65534, 443];
        balancer.listeners =
            ports.map(|port| templates::balancer::Listener { port: Some(port), ..listener.clone() }).into();
        balancer.clients =
            ["10.0.0.0/17", "192.168.7.0/24", "10.0.128.0/17", "10.0.9.0/24"].map(|net| net.parse().unwrap()).into();
        let said: Vec<String> = rules(&balancer, &[]).iter().map(Rule::to_string).collect();
        let mut expected = vec!["VRRP among the nodes".to_owned()];
        for ports in ["443", "8080-8082", "9110 among the nodes", "65534-65535"] {
            match ports.contains(' ') {
                true => expected.push(format!("tcp {ports}")),
                false => {
                    expected.extend(["10.0.0.0/16", "192.168.7.0/24"].map(|net| format!("tcp {ports} from {net}")))
                }
            }
        }
        expected.push("udp 4789 among the nodes".to_owned());
        assert_eq!(said, expected);
        assert!(many(60).is_none() && many(61).is_some_and(|line| line.contains("61 rules")));
    }

    #[test]
    fn metrics_clients_may_reach_the_health_port() {
        let mut balancer = web();
        balancer.metrics = Some(templates::balancer::Metrics { clients: vec!["10.0.9.0/24".parse().unwrap()] });
        let said: Vec<String> = rules(&balancer, &[]).iter().map(Rule::to_string).collect();
        assert_eq!(
            said,
            [
                "VRRP among the nodes",
                "tcp 9110 from 10.0.9.0/24",
                "tcp 9110 among the nodes",
                "udp 4789 among the nodes"
            ]
        );
    }
}
