//! Shows an operator how the version that nodes boot differs from the one that Elbow made the default, before either is
//! replaced.

use ipnet::Ipv4Net;

use crate::aws::Aws;
use crate::aws::error::CallFailed;
use crate::output;
use crate::resources::launch_template::{self, Template};
use crate::update::diff::{Scene, between_versions};

/// Prints the difference on standard error, if the default was set by hand.
pub async fn show(aws: &Aws, template: &Template, cidrs: &[Ipv4Net]) -> Result<(), CallFailed> {
    let defaults = template.defaults();
    let Some(own) = defaults.overruled(template.version) else { return Ok(()) };
    let Some(own) = launch_template::version(&aws.ec2, &template.id, own.version).await? else { return Ok(()) };
    let scene = Scene { region: &aws.region, cidrs, members: &[] };
    let changes = between_versions(&own.contents, &template.contents, &scene);
    output::say(&format!(
        "from version {} of launch template {} to version {}:",
        own.number, template.name, template.version
    ));
    for change in &changes {
        output::say(change.file);
        change.diff.lines().for_each(output::say);
    }
    if changes.is_empty() {
        output::say(
            "no difference in the fields that Elbow reads; see `aws ec2 describe-launch-template-versions` for the others",
        );
    }
    Ok(())
}
