//! Which instances an Auto Scaling group has: those that run already are taken in, and go on running when they are taken
//! out (Auto Scaling User Guide, "Detach or attach instances"). Nothing here has a group launch or end any.

use aws_sdk_autoscaling::Client;
use templates::handover::HOOK;

use super::scaling_group::{is_absent, is_pending_delete};
use crate::aws::error::{CallFailed, Named};

/// Takes running instances in. The group wants as many more, and may not want more than its maximum.
pub async fn attach(client: &Client, name: &str, ids: &[String]) -> Result<(), CallFailed> {
    let call = client.attach_instances().auto_scaling_group_name(name).set_instance_ids(Some(ids.to_vec()));
    call.send().await.named("autoscaling:AttachInstances", ids.join(" ")).map(drop)
}

/// Takes instances out, which run on. The group wants as many less, and may not want less than its minimum.
pub async fn detach(client: &Client, name: &str, ids: &[String]) -> Result<(), CallFailed> {
    let call = client
        .detach_instances()
        .auto_scaling_group_name(name)
        .set_instance_ids(Some(ids.to_vec()))
        .should_decrement_desired_capacity(true);
    call.send().await.named("autoscaling:DetachInstances", ids.join(" ")).map(drop)
}

/// Lets the group have no instances; how many it wants stays as it is.
pub async fn allow_none(client: &Client, name: &str) -> Result<(), CallFailed> {
    let call = client.update_auto_scaling_group().auto_scaling_group_name(name).min_size(0);
    call.send().await.named("autoscaling:UpdateAutoScalingGroup", name).map(drop)
}

/// Has the group not wait any longer for an instance that has ended: its agent, which would say so, ended with it.
pub async fn forget(client: &Client, name: &str, id: &str) -> Result<(), CallFailed> {
    let call = client.complete_lifecycle_action().auto_scaling_group_name(name).lifecycle_hook_name(HOOK);
    let call = call.instance_id(id).lifecycle_action_result("CONTINUE");
    call.send().await.named("autoscaling:CompleteLifecycleAction", id).map(drop)
}

/// Deletes a group without instances. One that has some after all refuses.
pub async fn delete_empty(client: &Client, name: &str) -> Result<(), CallFailed> {
    let call = client.delete_auto_scaling_group().auto_scaling_group_name(name).force_delete(false);
    match call.send().await.named("autoscaling:DeleteAutoScalingGroup", name) {
        Err(error) if is_absent(&error) || is_pending_delete(&error) => Ok(()),
        outcome => outcome.map(drop),
    }
}

/// Whether the group isn't as it was described a moment ago, or is at work: another look tells. Auto Scaling has one code
/// for whatever isn't valid; the words tell (seen in answers, not documented).
pub fn has_changed(error: &CallFailed) -> bool {
    const WORDS: [&str; 5] = [
        "is already part of",
        "is not part of",
        "is not in InService",
        "No active Lifecycle Action",
        "No managed instance",
    ];
    let line = error.to_string();
    is_absent(error)
        || ["ResourceInUse", "ScalingActivityInProgress", "ResourceContention"].iter().any(|code| error.is(code))
        || error.is("ValidationError") && WORDS.iter().any(|words| line.contains(words))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aws::error::Reason;

    #[test]
    fn a_group_that_has_changed_is_looked_at_again_and_one_that_is_too_small_is_an_error() {
        let refused = |code: &str, message: &str| {
            let reason = Reason::Refused { code: code.to_owned(), message: message.to_owned() };
            has_changed(&CallFailed { action: "autoscaling:AttachInstances", object: "i-1".to_owned(), reason })
        };
        for (code, message) in [
            ("ValidationError", "Instance i-1 is already part of AutoScalingGroup:elbow-web"),
            ("ValidationError", "The instance i-1 is not part of Auto Scaling group elbow-web."),
            ("ValidationError", "The instance i-1 is not in InService or Standby."),
            ("ValidationError", "AutoScalingGroup name not found - AutoScalingGroup 'elbow-web' not found"),
            ("ScalingActivityInProgress", ""),
            ("ResourceInUse", ""),
        ] {
            assert!(refused(code, message), "{code} {message}");
        }
        let small = "AutoScalingGroup elbow-web has min-size=0, max-size=1, and desired-size=0. To attach 2 instances, please \
                     update the AutoScalingGroup sizes appropriately.";
        assert!(!refused("ValidationError", small));
    }
}
