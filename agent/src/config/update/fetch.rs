//! Reads the ordered revision from the balancer's launch template: one call reads the ordered version and the default
//! version. The node takes the ordered version if it holds the ordered revision and isn't older than the default. A
//! writer of tags can't change the default, so it can't send a node back to a version that the operator has replaced.

use aws_sdk_ec2::Client;
use aws_sdk_ec2::types::LaunchTemplateVersion;
use templates::balancer::NodeConfig;
use templates::{Order, files, names};

use crate::aws::ec2::{ApiError, Kind};

/// EC2's name for a template's default version.
const DEFAULT: &str = "$Default";

#[derive(Debug)]
pub(super) enum Fetched {
    /// The ordered configuration.
    Config(Box<NodeConfig>),
    /// The API shows no such version, or an older one than the default. A read may be stale: this may change.
    Missing(String),
    /// The version doesn't hold what was ordered, and never will.
    Unreadable(String),
    /// The read failed, and may succeed later.
    NotNow(String),
}

/// Reads the version that `order` names. It finds the template by its name, which is unique in its Region, so a node
/// that was launched without a template finds it, too.
pub(super) async fn fetch(client: &Client, balancer: &str, order: &Order) -> Fetched {
    let name = names::regional(balancer);
    let call = client.describe_launch_template_versions().launch_template_name(&name);
    let output = match call.versions(order.version.to_string()).versions(DEFAULT).send().await {
        Ok(output) => output,
        Err(error) => {
            let error = ApiError::of("DescribeLaunchTemplateVersions", &error);
            return match error.kind {
                Kind::Gone => Fetched::Missing(format!("launch template {name} has no version {}", order.version)),
                _ => Fetched::NotNow(error.to_string()),
            };
        }
    };
    let versions = output.launch_template_versions();
    let Some(version) = versions.iter().find(|one| one.version_number() == Some(order.version)) else {
        return Fetched::Missing(format!("launch template {name} has no version {}", order.version));
    };
    match older_than_default(order, versions) {
        Some(why) => Fetched::Missing(format!("launch template {name}: {why}")),
        None => {
            let data = version.launch_template_data().and_then(|data| data.user_data()).unwrap_or_default();
            judge(order, data)
        }
    }
}

/// Why the order is refused, if its version is older than the template's default.
fn older_than_default(order: &Order, versions: &[LaunchTemplateVersion]) -> Option<String> {
    let default = versions.iter().find(|version| version.default_version() == Some(true));
    let Some(default) = default.and_then(LaunchTemplateVersion::version_number) else {
        return Some("the API shows no default version".to_owned());
    };
    (order.version < default).then(|| {
        format!(
            "version {} is older than the default, version {default}: to go back, run `launcher update --rollback`",
            order.version
        )
    })
}

fn judge(order: &Order, user_data: &str) -> Fetched {
    match files::read_back(user_data) {
        Ok(config) if config.revision == order.revision => Fetched::Config(Box::new(config)),
        Ok(config) => Fetched::Unreadable(format!("the version holds revision {}", config.revision)),
        Err(error) => Fetched::Unreadable(format!("{:#}", anyhow::Error::new(error))),
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use templates::Balancer;

    use super::*;

    fn judged(change: impl Fn(&mut Balancer)) -> Fetched {
        let balancer = Balancer::parse(include_str!("../../../../templates/goldens/small/balancer.toml")).unwrap();
        let order = Order { version: 3, revision: balancer.revision() };
        let mut held = balancer;
        change(&mut held);
        let bytes = files::user_data_gzip(&held).unwrap();
        judge(&order, &base64::engine::general_purpose::STANDARD.encode(bytes))
    }

    #[test]
    fn a_version_that_holds_what_was_ordered_is_taken_and_no_other() {
        assert!(matches!(judged(|_| ()), Fetched::Config(_)));
        let Fetched::Unreadable(why) = judged(|held| held.failover.preempt = true) else { panic!("it was taken") };
        assert!(why.starts_with("the version holds revision "), "{why}");
    }

    #[test]
    fn an_order_to_an_older_version_than_the_default_is_refused() {
        let version =
            |number, default| LaunchTemplateVersion::builder().version_number(number).default_version(default).build();
        let order: Order = "3:0123456789ab".parse().unwrap();
        assert_eq!(older_than_default(&order, &[version(3, true)]), None, "a rollback moves the default first");
        assert_eq!(older_than_default(&order, &[version(3, false), version(2, true)]), None, "it is new");
        let why = older_than_default(&order, &[version(3, false), version(4, true)]).unwrap();
        assert!(why.starts_with("version 3 is older than the default, version 4: "), "{why}");
        let why = older_than_default(&order, &[version(3, false)]).unwrap();
        assert_eq!(why, "the API shows no default version");
    }

    #[test]
    fn foreign_user_data_is_no_revision() {
        let order: Order = "3:0123456789ab".parse().unwrap();
        let Fetched::Unreadable(why) = judge(&order, "IyEvYmluL3NoCg==") else { panic!("it was taken") };
        assert_eq!(why, "the user-data is not base64 of gzip of cloud-config, as Elbow writes it");
    }
}
