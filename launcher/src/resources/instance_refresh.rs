//! Instance refreshes, by which an Auto Scaling group replaces its instances. New instances complete the launch hook
//! before old ones end, and old ones hand over at the termination hook.

use aws_sdk_autoscaling::Client;
use aws_sdk_autoscaling::types::{
    DesiredConfiguration, InstanceRefresh, LaunchTemplateSpecification, RefreshPreferences, ScaleInProtectedInstances,
};

use crate::aws::error::{CallFailed, Named};

/// The fewest and the most healthy nodes during a refresh, in percent of the desired capacity: new nodes come first.
pub const BOUNDS: (i32, i32) = (100, 200);

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refresh {
    pub id: String,
    /// The launch template's id and the version that it launches, if it names one.
    pub to: Option<(String, i64)>,
    /// AWS's status, such as `InProgress`.
    pub status: String,
    /// AWS's reason for the status.
    pub reason: Option<String>,
    /// Its progress in percent.
    pub percent: i32,
}

/// The direction of a refresh.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// It replaces instances.
    Forward,
    /// It is being cancelled or rolled back.
    Back,
    Ended,
}

impl Refresh {
    pub fn phase(&self) -> Phase {
        match self.status.as_str() {
            "Successful" | "Failed" | "Cancelled" | "RollbackSuccessful" | "RollbackFailed" => Phase::Ended,
            "Cancelling" | "RollbackInProgress" => Phase::Back,
            _ => Phase::Forward,
        }
    }

    /// Status, progress and reason for messages.
    pub fn stands(&self) -> String {
        let reason = self.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
        format!("{}, {} %{reason}", self.status, self.percent)
    }
}

/// The group's newest refresh (API reference, DescribeInstanceRefreshes: the newest is first).
pub async fn newest(client: &Client, group: &str) -> Result<Option<Refresh>, CallFailed> {
    let call = client.describe_instance_refreshes().auto_scaling_group_name(group).max_records(1);
    let output = call.send().await.named("autoscaling:DescribeInstanceRefreshes", group)?;
    Ok(output.instance_refreshes().first().map(read))
}

fn read(refresh: &InstanceRefresh) -> Refresh {
    let template = refresh.desired_configuration().and_then(|desired| desired.launch_template());
    let to = template
        .and_then(|template| Some((template.launch_template_id()?.to_owned(), template.version()?.parse().ok()?)));
    Refresh {
        id: refresh.instance_refresh_id().unwrap_or_default().to_owned(),
        to,
        status: refresh.status().map(|status| status.as_str().to_owned()).unwrap_or_default(),
        reason: refresh.status_reason().map(str::to_owned),
        percent: refresh.percentage_complete().unwrap_or_default(),
    }
}

/// Starts a refresh to this version and returns its id. With `skip`, instances of this version stay. The group launches
/// the version once the refresh has succeeded.
pub async fn start(
    client: &Client,
    group: &str,
    (template, version): (&str, i64),
    skip: bool,
) -> Result<String, CallFailed> {
    let version = version.to_string();
    let template = LaunchTemplateSpecification::builder().launch_template_id(template).version(version).build();
    let (lowest, highest) = BOUNDS;
    let preferences = RefreshPreferences::builder()
        .min_healthy_percentage(lowest)
        .max_healthy_percentage(highest)
        // The launch hook shows when a node serves.
        .instance_warmup(0)
        .skip_matching(skip)
        .auto_rollback(true)
        .scale_in_protected_instances(ScaleInProtectedInstances::Refresh)
        .build();
    let call = client
        .start_instance_refresh()
        .auto_scaling_group_name(group)
        .desired_configuration(DesiredConfiguration::builder().launch_template(template).build())
        .preferences(preferences);
    let output = call.send().await.named("autoscaling:StartInstanceRefresh", group)?;
    Ok(output.instance_refresh_id().unwrap_or_default().to_owned())
}

/// Rolls the group's refresh back. A refresh that has ended meanwhile stays.
pub async fn roll_back(client: &Client, group: &str) -> Result<(), CallFailed> {
    let call = client.rollback_instance_refresh().auto_scaling_group_name(group);
    match call.send().await.named("autoscaling:RollbackInstanceRefresh", group) {
        Err(error) if error.is("ActiveInstanceRefreshNotFound") => Ok(()),
        outcome => outcome.map(drop),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A refresh of this status to this version of the example's launch template.
    pub(crate) fn refresh(status: &str, version: i64) -> Refresh {
        let to = Some(("lt-1".to_owned(), version));
        Refresh { id: "r-1".to_owned(), to, status: status.to_owned(), reason: None, percent: 50 }
    }

    #[test]
    fn every_status_has_a_phase_and_an_unknown_one_is_forward() {
        for (status, phase) in [
            ("Pending", Phase::Forward),
            ("InProgress", Phase::Forward),
            ("Baking", Phase::Forward),
            ("Cancelling", Phase::Back),
            ("RollbackInProgress", Phase::Back),
            ("RollbackFailed", Phase::Ended),
            ("Successful", Phase::Ended),
        ] {
            assert_eq!(refresh(status, 2).phase(), phase, "{status}");
        }
    }
}
