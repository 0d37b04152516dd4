//! A launch template for operators with their own Auto Scaling groups, as the input of `aws ec2 create-launch-template
//! --cli-input-json`. It isn't tagged as Elbow's, or the launcher would take it for its own.

use askama::Template;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::{TooBig, render, user_data_gzip};
use crate::balancer::{Balancer, Revision};
use crate::names::{self, TAG_BALANCER, TAG_VPC};

/// The resource types that a launch creates and tags.
const LAUNCHED: [&str; 3] = ["instance", "network-interface", "volume"];

#[derive(Template)]
#[template(path = "launch-template.json", escape = "none")]
struct LaunchTemplate<'a> {
    balancer: &'a Balancer,
    name: String,
    revision: Revision,
    group: &'a str,
    profile: String,
    user_data: String,
    launched: [&'static str; 3],
    tag_balancer: &'static str,
    tag_vpc: &'static str,
}

/// The launch template of a balancer's nodes in this Region and security group (`sg-…`). Without an existing instance
/// profile, the profile has the balancer's [`names::global`] name.
pub fn launch_template(balancer: &Balancer, region: &str, group: &str) -> Result<String, TooBig> {
    Ok(render(&LaunchTemplate {
        balancer,
        name: names::regional(&balancer.name),
        revision: balancer.revision(),
        group,
        profile: balancer.iam.profile(&names::global(region, &balancer.name)).to_owned(),
        user_data: STANDARD.encode(user_data_gzip(balancer)?),
        launched: LAUNCHED,
        tag_balancer: TAG_BALANCER,
        tag_vpc: TAG_VPC,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_launched_is_the_compressed_user_data() {
        let balancer = Balancer::parse(include_str!("../../goldens/big/balancer.toml")).unwrap();
        let text = launch_template(&balancer, "eu-west-1", "sg-0a1b").unwrap();
        let json: serde_json::Value = serde_json::from_str(&text).unwrap();
        let launched = json["LaunchTemplateData"]["UserData"].as_str().unwrap();
        assert_eq!(STANDARD.decode(launched).unwrap(), user_data_gzip(&balancer).unwrap());
        assert_eq!(json["VersionDescription"], balancer.revision().to_string());
    }
}
