//! What an AWS call's failure means, in a line that names the call and its object.

use std::error::Error;

use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;

/// A call to AWS that didn't do what it should.
#[derive(Debug, thiserror::Error)]
#[error("{}", self.line())]
pub struct CallFailed {
    /// As IAM policies write it: `ec2:CreateRoute`.
    pub action: &'static str,
    /// What it was about: a name or an id.
    pub object: String,
    /// Why.
    pub reason: Reason,
}

/// Why a call failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// AWS answered with an error of this code.
    Refused {
        /// AWS's error code.
        code: String,
        /// AWS's own words.
        message: String,
    },
    /// The caller's policies don't let it.
    Denied(String),
    /// There are no credentials, or AWS doesn't know them.
    NoCredentials(String),
    /// No usable answer came.
    Unanswered(String),
}

impl CallFailed {
    /// AWS's error code, if it answered with an error.
    pub fn code(&self) -> Option<&str> {
        match &self.reason {
            Reason::Refused { code, .. } => Some(code),
            _ => None,
        }
    }

    /// Whether AWS answered with this code.
    pub fn is(&self, code: &str) -> bool {
        self.code() == Some(code)
    }

    /// Whether somebody else made, at the same moment, what this call was to make. All of EC2's, IAM's and Auto
    /// Scaling's codes for it.
    pub fn is_already_there(&self) -> bool {
        const CODES: [&str; 5] = [
            "InvalidGroup.Duplicate",
            "InvalidPermission.Duplicate",
            "InvalidLaunchTemplateName.AlreadyExistsException",
            "EntityAlreadyExists",
            "AlreadyExists",
        ];
        self.code().is_some_and(|code| CODES.contains(&code))
    }

    /// Whether what was looked at to work this call out isn't so, or not any more: look again.
    pub fn is_outdated(&self) -> bool {
        self.is("InvalidPermission.Duplicate") || self.is("InvalidPermission.NotFound")
    }

    /// Whether AWS doesn't know (or no longer, or not yet) what the call was about.
    pub fn is_absent(&self) -> bool {
        self.code().is_some_and(|code| {
            // Also of a part of a thing: `InvalidLaunchTemplateId.VersionNotFound`, `ParameterVersionNotFound`.
            code == "NoSuchEntity" || code.contains("NotFound")
        })
    }

    fn line(&self) -> String {
        let CallFailed { action, object, reason } = self;
        match reason {
            Reason::Refused { code, message } => format!("{action} {object}: {code}: {}", one_line(message)),
            Reason::Denied(message) => {
                format!("not allowed to call {action} for {object}: add it to your IAM policy ({})", one_line(message))
            }
            Reason::NoCredentials(message) => format!("AWS doesn't accept these credentials: {}", one_line(message)),
            // Where it was says more than what was asked there: all that is asked at once goes unanswered.
            Reason::Unanswered(why) => {
                format!("no answer from AWS: {}; it was asked for {action} {object}", one_line(why))
            }
        }
    }
}

/// AWS's messages may have several lines, and end in pages of encoded policy.
fn one_line(message: &str) -> String {
    let message = message.split("Encoded authorization failure message").next().unwrap_or_default();
    let words: Vec<&str> = message.split_whitespace().collect();
    words.join(" ").trim_end_matches('.').to_owned()
}

/// The last of a chain of errors: the one that says what happened.
pub fn innermost(error: &dyn Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

/// Gives an SDK result its call's name and object.
pub trait Named<T> {
    /// `action` as IAM policies write it, `object` a name or an id.
    fn named(self, action: &'static str, object: impl Into<String>) -> Result<T, CallFailed>;
}

impl<T, E, R> Named<T> for Result<T, SdkError<E, R>>
where
    E: ProvideErrorMetadata + Error + 'static,
    R: std::fmt::Debug + 'static,
{
    fn named(self, action: &'static str, object: impl Into<String>) -> Result<T, CallFailed> {
        self.map_err(|error| CallFailed { action, object: object.into(), reason: reason(&error) })
    }
}

fn reason<E, R>(error: &SdkError<E, R>) -> Reason
where
    E: ProvideErrorMetadata + Error + 'static,
    R: std::fmt::Debug + 'static,
{
    let Some(service) = error.as_service_error() else {
        return Reason::Unanswered(innermost(error));
    };
    let code = service.code().unwrap_or("no error code").to_owned();
    let message = service.message().unwrap_or_default().to_owned();
    match code.as_str() {
        "UnauthorizedOperation" | "AccessDenied" | "AccessDeniedException" => Reason::Denied(message),
        "AuthFailure"
        | "InvalidClientTokenId"
        | "UnrecognizedClientException"
        | "SignatureDoesNotMatch"
        | "ExpiredToken"
        | "ExpiredTokenException"
        | "RequestExpired" => Reason::NoCredentials(message),
        _ => Reason::Refused { code, message },
    }
}

/// Absence is a value: a call that finds nothing found `None`.
pub fn found<T>(result: Result<T, CallFailed>) -> Result<Option<T>, CallFailed> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.is_absent() => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(reason: Reason) -> CallFailed {
        CallFailed { action: "ec2:CreateSecurityGroup", object: "elbow-web".to_owned(), reason }
    }

    fn refused(code: &str) -> CallFailed {
        failed(Reason::Refused { code: code.to_owned(), message: "no,\nreally.".to_owned() })
    }

    #[test]
    fn a_refusal_is_one_line_with_call_object_code_and_message() {
        assert_eq!(refused("Boom").to_string(), "ec2:CreateSecurityGroup elbow-web: Boom: no, really");
    }

    #[test]
    fn a_denial_names_the_missing_permission_and_leaves_the_encoded_policy_out() {
        let line =
            failed(Reason::Denied("You can't. Encoded authorization failure message: AAAA".to_owned())).to_string();
        assert_eq!(
            line,
            "not allowed to call ec2:CreateSecurityGroup for elbow-web: add it to your IAM policy (You can't)"
        );
    }

    #[test]
    fn what_is_there_already_and_what_is_absent_are_told_apart() {
        assert!(refused("InvalidGroup.Duplicate").is_already_there());
        assert!(refused("EntityAlreadyExists").is_already_there());
        assert!(!refused("InvalidGroup.NotFound").is_already_there());
        for code in [
            "InvalidGroup.NotFound",
            "NoSuchEntity",
            "InvalidLaunchTemplateName.NotFoundException",
            "InvalidLaunchTemplateId.VersionNotFound",
            "ParameterVersionNotFound",
        ] {
            assert!(refused(code).is_absent(), "{code}");
        }
        assert!(!refused("DependencyViolation").is_absent());
    }
}
