//! The probes: three instances that run a Python program from their user-data and answer by tags. Two echoes carry the
//! virtual IP; the prober moves its route and measures.

use std::collections::BTreeSet;
use std::io::Write;
use std::time::Duration;

use anyhow::{Context, Result};
use aws_sdk_ec2::types::{
    AttributeBooleanValue, HttpTokensState, IamInstanceProfileSpecification, InstanceMetadataEndpointState,
    InstanceMetadataOptionsRequest, InstanceMetadataTagsState, InstanceType, ResourceType, ShutdownBehavior,
};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::write::GzEncoder;
use launcher::aws::Aws;
use launcher::aws::error::{CallFailed, Named};
use launcher::aws::retry::{Patience, until};
use launcher::resources::instance_profile;
use launcher::resources::role::{self, NewRole};
use launcher::resources::security_group::{self, Rule, Source};
use serde_json::{Value, json};

use crate::names::{Run, TAG};
use crate::site::{Site, once_known};

const COMMON: &str = include_str!("probe/common.py");
const ECHO: &str = include_str!("probe/echo.py");
const PROBER: &str = include_str!("probe/prober.py");

/// How often the route moves.
const MOVES: u32 = 50;
/// EC2 learns of a new instance profile after some seconds.
const PROFILE: Patience = Patience { total: Duration::from_secs(90), pause: Duration::from_secs(2) };
const TRUST: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole"}]}"#;

/// The systems and their vendors' public parameters, which name the newest images.
pub const IMAGES: [(&str, &str); 3] = [
    ("al2023", "resolve:ssm:/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64"),
    ("ubuntu", "resolve:ssm:/aws/service/canonical/ubuntu/server/24.04/stable/current/amd64/hvm/ebs-gp3/ami-id"),
    ("debian", "resolve:ssm:/aws/service/debian/release/12/latest/amd64"),
];

/// A launched instance.
#[derive(Debug, Clone)]
pub struct Probe {
    pub id: String,
    pub interface: String,
    pub address: String,
}

/// What all probes share.
pub struct Stage<'a> {
    pub aws: &'a Aws,
    pub run: &'a Run,
    pub site: &'a Site,
    group: String,
}

/// Makes the security group and the role.
pub async fn stage<'a>(aws: &'a Aws, run: &'a Run, site: &'a Site) -> Result<Stage<'a>> {
    let (name, tags) = (run.name(), run.tags());
    let description = "Probes of Elbow";
    let new = NewRole { name: &name, path: "/", trust: TRUST, description, boundary: None, tags: &tags };
    role::create(&aws.iam, new).await?;
    let caller = aws.sts.get_caller_identity().send().await.named("sts:GetCallerIdentity", "the caller")?;
    let policy = policy(run, &arns(caller.arn().unwrap_or_default(), &aws.region)?, site);
    role::set_policy(&aws.iam, &name, &policy.to_string()).await?;
    instance_profile::create(&aws.iam, &name, "/", &tags).await?;
    instance_profile::add_role(&aws.iam, &name, &name).await?;
    let group = security_group::create(&aws.ec2, &name, description, &site.vpc, &tags).await?;
    security_group::allow(&aws.ec2, &group, &rules(&site.cidrs)).await?;
    Ok(Stage { aws, run, site, group })
}

/// `arn:aws:ec2:eu-west-1:123456789012`, from the caller's `arn:aws:iam::123456789012:user/…`.
fn arns(caller: &str, region: &str) -> Result<String> {
    let words: Vec<&str> = caller.split(':').collect();
    let [_, partition, _, _, account, ..] = words[..] else { anyhow::bail!("{caller:?} isn't the caller's ARN") };
    Ok(format!("arn:{partition}:ec2:{region}:{account}"))
}

/// A probe may replace routes of the one table, and write its results into the run's instances' tags.
fn policy(run: &Run, arns: &str, site: &Site) -> Value {
    json!({
        "Version": "2012-10-17",
        "Statement": [
            {
                "Sid": "MoveRoutes", "Effect": "Allow", "Action": "ec2:ReplaceRoute",
                "Resource": format!("{arns}:route-table/{}", site.table),
                "Condition": { "ArnLike": { "ec2:Vpc": format!("{arns}:vpc/{}", site.vpc) } },
            },
            {
                "Sid": "Report", "Effect": "Allow", "Action": "ec2:CreateTags",
                "Resource": format!("{arns}:instance/*"),
                "Condition": {
                    "StringEquals": { format!("aws:ResourceTag/{TAG}"): run.id },
                    "ForAllValues:StringLike": { "aws:TagKeys": ["prove.*"] },
                    "Null": { "aws:TagKeys": "false" },
                },
            },
        ],
    })
}

/// The rules of Elbow's own group (a listener, VRRP, health, tunnels), and the probes' ports.
fn rules(cidrs: &[String]) -> BTreeSet<Rule> {
    let rule = |protocol: &str, port: Option<i32>, source: Source| Rule {
        protocol: protocol.to_owned(),
        ports: port.map(|port| (port, port)),
        source,
    };
    let open = cidrs.iter().flat_map(|cidr| {
        [("tcp", 80), ("tcp", 8080), ("udp", 8091)]
            .map(|(protocol, port)| rule(protocol, Some(port), Source::Cidr(cidr.clone())))
    });
    let members = [("112", None), ("tcp", Some(9110)), ("udp", Some(4789))];
    open.chain(members.map(|(protocol, port)| rule(protocol, port, Source::Members))).collect()
}

impl Stage<'_> {
    /// Launches an echo, which carries the virtual IP.
    pub async fn echo(&self, name: &str, subnet: usize, image: &str) -> Result<Probe> {
        let setting = json!({ "name": name, "vip": self.run.virtual_ip() });
        let probe = self.launch(name, subnet, image, &user_data(&setting, ECHO)?).await?;
        let off = AttributeBooleanValue::builder().value(false).build();
        once_known(async || {
            let call = self.aws.ec2.modify_network_interface_attribute().network_interface_id(&probe.interface);
            let call = call.source_dest_check(off.clone()).send().await;
            call.named("ec2:ModifyNetworkInterfaceAttribute", &probe.interface)
        })
        .await?;
        Ok(probe)
    }

    /// Creates the route that the prober moves. It leads to the first echo.
    pub async fn route(&self, to: &Probe) -> Result<(), CallFailed> {
        let call = self.aws.ec2.create_route().route_table_id(&self.site.table);
        let call = call.destination_cidr_block(format!("{}/32", self.run.virtual_ip()));
        call.network_interface_id(&to.interface).send().await.named("ec2:CreateRoute", &self.site.table).map(drop)
    }

    /// Launches the prober. With `balancer`, it also waits for a power cut of the balancer's active node.
    pub async fn prober(&self, echoes: &[Probe; 2], image: &str, balancer: bool) -> Result<Probe> {
        let echo =
            |name: &str, probe: &Probe| json!({ "name": name, "address": probe.address, "interface": probe.interface });
        let echoes = [echo("a", &echoes[0]), echo("b", &echoes[1])];
        let setting = json!({
            "vip": self.run.virtual_ip(), "table": self.site.table, "moves": MOVES,
            "echoes": echoes,
            "balancer": balancer.then(|| self.run.balancer_ip()),
        });
        self.launch("prober", 0, image, &user_data(&setting, PROBER)?).await
    }

    async fn launch(&self, name: &str, subnet: usize, image: &str, user_data: &str) -> Result<Probe> {
        let subnet = &self.site.subnets[subnet];
        let metadata = InstanceMetadataOptionsRequest::builder()
            .http_endpoint(InstanceMetadataEndpointState::Enabled)
            .http_tokens(HttpTokensState::Required)
            .instance_metadata_tags(InstanceMetadataTagsState::Enabled);
        let tags = self.run.tags().with("Name", format!("{} {name}", self.run.name()));
        let kinds = [ResourceType::Instance, ResourceType::NetworkInterface, ResourceType::Volume];
        let request = self
            .aws
            .ec2
            .run_instances()
            .image_id(image)
            .instance_type(InstanceType::T3Micro)
            .subnet_id(subnet)
            .security_group_ids(&self.group)
            .iam_instance_profile(IamInstanceProfileSpecification::builder().name(self.run.name()).build())
            .metadata_options(metadata.build())
            .instance_initiated_shutdown_behavior(ShutdownBehavior::Terminate)
            .set_tag_specifications(Some(kinds.map(|kind| tags.specification(kind)).to_vec()))
            .user_data(user_data)
            .min_count(1)
            .max_count(1);
        let not_known_yet = |error: &CallFailed| {
            error.is("InvalidGroup.NotFound") || error.to_string().contains("IAM Instance Profile")
        };
        let call = || async { request.clone().send().await.named("ec2:RunInstances", format!("{name} with {image}")) };
        let made = until(PROFILE, not_known_yet, |_| (), call).await?;
        let instance = made.instances().first().context("RunInstances: an answer without an instance")?;
        let text = |text: Option<&str>| text.unwrap_or_default().to_owned();
        let interface = instance.network_interfaces().first().and_then(|interface| interface.network_interface_id());
        Ok(Probe {
            id: text(instance.instance_id()),
            interface: text(interface),
            address: text(instance.private_ip_address()),
        })
    }
}

/// The program of a role with its setting: gzipped, because EC2 allows 16 KB, and in base64.
fn user_data(setting: &Value, role: &str) -> Result<String> {
    let setting = STANDARD.encode(setting.to_string());
    let text = format!(
        "#!/usr/bin/python3\nimport base64, json\n\nSETTING = json.loads(base64.b64decode(\"{setting}\"))\n\n{COMMON}\n\n{role}"
    );
    let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
    gzip.write_all(text.as_bytes()).context("compressing user-data")?;
    Ok(STANDARD.encode(gzip.finish().context("compressing user-data")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probe_may_replace_routes_of_one_table_and_report() {
        let site = Site {
            vpc: "vpc-1".into(),
            cidrs: vec!["10.0.0.0/16".into()],
            subnets: ["subnet-a".into(), "subnet-b".into()],
            table: "rtb-1".into(),
        };
        let arns = arns("arn:aws-cn:sts::123456789012:assumed-role/x/y", "cn-north-1").unwrap();
        let policy = policy(&Run::of("0a1b2c3d").unwrap(), &arns, &site);
        assert_eq!(policy["Statement"][0]["Resource"], "arn:aws-cn:ec2:cn-north-1:123456789012:route-table/rtb-1");
        let report = &policy["Statement"][1];
        assert_eq!(report["Condition"]["StringEquals"], json!({"aws:ResourceTag/elbow-prove": "0a1b2c3d"}));
        assert!(super::arns("me", "eu-west-1").is_err());
    }

    #[test]
    fn the_control_port_has_no_rule() {
        let shown: Vec<String> = rules(&["10.0.0.0/16".to_owned()]).iter().map(ToString::to_string).collect();
        assert_eq!(shown.len(), 6, "{shown:?}");
        assert!(shown.contains(&"tcp 9110 among the nodes".to_owned()), "{shown:?}");
        assert!(!shown.iter().any(|rule| rule.contains("9111") || rule.contains("everything")), "{shown:?}");
    }

    #[test]
    fn user_data_is_within_ec2s_limit() {
        for role in [ECHO, PROBER] {
            let data = STANDARD.decode(user_data(&json!({ "vip": "10.255.128.2" }), role).unwrap()).unwrap();
            assert!(data.starts_with(&[0x1f, 0x8b]) && data.len() < 16 * 1024, "{}", data.len());
        }
    }
}
