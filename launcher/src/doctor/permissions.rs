//! The caller's credentials, and whether the caller may make the calls of `create`. Pure.

use super::case::Case;
use super::facts::{Answer, Permission};
use super::finding::{Finding, or_ok};
use super::ids::Id;
use crate::aws::error::{CallFailed, Reason};

/// The identity that makes the calls.
pub fn credentials(case: &Case<'_>) -> Vec<Finding> {
    vec![Finding::ok(Id::Credentials, format!("the calls are made by {}", case.place.caller.arn))]
}

/// Whether the caller may make the calls that `create` would make.
pub fn permissions(case: &Case<'_>) -> Vec<Finding> {
    let id = Id::Permissions;
    let findings = case.facts.permissions.iter().filter_map(|Permission { action, answer }| match answer {
        Answer::Allowed => None,
        Answer::Denied(why) => Some(Finding::problem(
            id,
            format!("you may not call {action} ({why})"),
            "add it to your IAM policy, and check the policies of your organization",
        )),
        Answer::Unclear(why) => Some(Finding::unknown(
            id,
            format!("whether you may call {action} isn't known: {why}"),
            "docs/permissions.md lists what the launcher calls",
        )),
    });
    let seen = match case.facts.permissions.len() {
        0 => "`create` would make none of the calls that can be tried".to_owned(),
        count => format!("{count} calls that `create` would make are allowed"),
    };
    or_ok(id, findings.collect(), seen)
}

/// The answer to a dry run (EC2 API reference, "Common query parameters").
pub fn dry_run(outcome: Result<(), CallFailed>) -> Answer {
    match outcome {
        Ok(()) => Answer::Allowed,
        Err(error) if error.is("DryRunOperation") => Answer::Allowed,
        Err(error) if matches!(error.reason, Reason::Denied(_)) => {
            Answer::Denied(format!("a dry run of {} is denied", error.action))
        }
        Err(error) => Answer::Unclear(error.to_string()),
    }
}

/// A denied launch without the launch template proves nothing: a policy may allow launches from Elbow's template only.
pub fn launch_without_template(answer: Answer) -> Answer {
    match answer {
        Answer::Denied(why) => Answer::Unclear(format!("{why} without a launch template")),
        other => other,
    }
}

/// The identity to simulate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Identity {
    /// The account's root user, which may call everything.
    Root,
    /// A user or a role.
    Arn(String),
}

/// The identity of a caller, if IAM simulates it. STS shows the session of a role, IAM knows the role. IAM doesn't find a
/// role with a path, such as those of IAM Identity Center, by the name that STS shows.
pub fn identity(caller: &str) -> Option<Identity> {
    let mut parts = caller.splitn(6, ':');
    let (partition, service) = (parts.nth(1)?, parts.next()?);
    let (account, name) = (parts.nth(1)?, parts.next()?);
    match (service, name) {
        ("iam", "root") => Some(Identity::Root),
        ("iam", _) => Some(Identity::Arn(caller.to_owned())),
        ("sts", session) => {
            let role = session.strip_prefix("assumed-role/")?.split('/').next()?;
            Some(Identity::Arn(format!("arn:{partition}:iam::{account}:role/{role}")))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(reason: Reason) -> Result<(), CallFailed> {
        Err(CallFailed { action: "ec2:CreateSecurityGroup", object: "elbow-web".to_owned(), reason })
    }

    #[test]
    fn a_dry_run_is_allowed_denied_or_unclear() {
        let refused = |code: &str| Reason::Refused { code: code.to_owned(), message: "no".to_owned() };
        assert_eq!(dry_run(failed(refused("DryRunOperation"))), Answer::Allowed);
        let denied = dry_run(failed(Reason::Denied("no".to_owned())));
        assert_eq!(denied, Answer::Denied("a dry run of ec2:CreateSecurityGroup is denied".to_owned()));
        assert!(matches!(launch_without_template(denied), Answer::Unclear(_)));
        assert!(matches!(dry_run(failed(refused("InvalidVpcID.NotFound"))), Answer::Unclear(_)));
    }

    #[test]
    fn a_session_is_simulated_as_its_role() {
        let arn = |text: &str| Some(Identity::Arn(text.to_owned()));
        let user = "arn:aws:iam::123456789012:user/ops/anna";
        assert_eq!(identity(user), arn(user));
        assert_eq!(
            identity("arn:aws-cn:sts::123456789012:assumed-role/deploy/session"),
            arn("arn:aws-cn:iam::123456789012:role/deploy")
        );
        assert_eq!(identity("arn:aws:iam::123456789012:root"), Some(Identity::Root));
        assert_eq!(identity("arn:aws:sts::123456789012:federated-user/anna"), None);
        assert_eq!(identity("nonsense"), None);
    }
}
