//! What a balancer consists of on AWS: everything the launcher makes, worked out before anything is made.

use std::collections::BTreeSet;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ipnet::Ipv4Net;
use templates::balancer::Revision;
use templates::{Balancer, Slot, files, names, paths};

use crate::resources::launch_template::{Contents, METADATA};
use crate::resources::security_group::{Rule, Source};
use crate::scaling::Wanted;
use crate::tags::Tags;

/// Everything that is to be there.
#[derive(Debug, Clone)]
pub struct Desired {
    /// The balancer's name.
    pub balancer: String,
    /// Its VPC.
    pub vpc: String,
    /// What its nodes run.
    pub revision: Revision,
    /// Of security group and launch template; its slot is added for an instance.
    pub name: String,
    /// Of role, role policy and instance profile.
    pub global_name: String,
    /// On everything.
    pub tags: Tags,
    /// What the security group lets in.
    pub rules: BTreeSet<Rule>,
    /// Who may take the role (JSON).
    pub trust: String,
    /// What the role may do (JSON).
    pub policy: String,
    /// The image, as it was resolved now.
    pub image: String,
    /// For example `t3.small`.
    pub instance_type: String,
    /// Base64 of gzip of cloud-config.
    pub user_data: String,
    /// One node in each, by slot.
    pub subnets: Vec<String>,
    /// The Auto Scaling group, if one launches the nodes.
    pub scaling: Option<Wanted>,
}

impl Desired {
    /// Works it out. `user_data` is the gzip, `image` what the balancer's image stands for today, `cidrs` the VPC's.
    pub fn of(balancer: &Balancer, region: &str, cidrs: &[Ipv4Net], image: &str, user_data: &[u8]) -> Desired {
        Desired {
            balancer: balancer.name.clone(),
            vpc: balancer.vpc.clone(),
            revision: balancer.revision(),
            name: names::regional(&balancer.name),
            global_name: names::global(region, &balancer.name),
            tags: Tags::of(&balancer.name, &balancer.vpc),
            rules: rules(balancer, cidrs),
            trust: files::trust_policy(),
            policy: files::permission_policy(balancer, region),
            image: image.to_owned(),
            instance_type: balancer.instance_type.clone(),
            user_data: STANDARD.encode(user_data),
            subnets: balancer.subnets.clone(),
            scaling: Wanted::of(balancer),
        }
    }

    /// The slots and where each goes.
    pub fn slots(&self) -> impl Iterator<Item = (Slot, &str)> {
        self.subnets.iter().enumerate().map(|(slot, subnet)| (Slot(slot as u8), subnet.as_str()))
    }

    /// What a launch template's version should hold. An image that was pinned stays: another one is an update.
    pub fn contents(&self, group: &str, pinned: Option<&str>) -> Contents {
        Contents {
            image: pinned.unwrap_or(&self.image).to_owned(),
            instance_type: self.instance_type.clone(),
            groups: vec![group.to_owned()],
            profile: self.global_name.clone(),
            user_data: self.user_data.clone(),
            metadata: METADATA,
        }
    }
}

/// What the security group lets in for this balancer.
pub fn rules(balancer: &Balancer, cidrs: &[Ipv4Net]) -> BTreeSet<Rule> {
    let clients = if balancer.clients.is_empty() { cidrs } else { &balancer.clients };
    let readers = balancer.metrics.as_ref().map_or(&[][..], |metrics| &metrics.clients);
    let tcp = |port: u16, source| Rule { protocol: "tcp".to_owned(), ports: Some((port.into(), port.into())), source };
    let from = |net: &Ipv4Net| Source::Cidr(net.to_string());
    let mut rules = BTreeSet::new();
    for listener in &balancer.listeners {
        rules.extend(clients.iter().map(|client| tcp(listener.port, from(client))));
    }
    rules.extend(readers.iter().map(|reader| tcp(paths::HEALTH_PORT, from(reader))));
    rules.insert(Rule { protocol: "112".to_owned(), ports: None, source: Source::Members });
    rules.insert(tcp(paths::HEALTH_PORT, Source::Members));
    let tunnel = i32::from(paths::TUNNEL_PORT);
    rules.insert(Rule { protocol: "udp".to_owned(), ports: Some((tunnel, tunnel)), source: Source::Members });
    rules
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
mode = "http"
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
    fn readers_of_metrics_are_let_in_where_they_are_read() {
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
