//! Classifies failed AWS calls. An error's text names the call and its object.

use std::error::Error;

use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;

/// A failed call to AWS.
#[derive(Debug, thiserror::Error)]
#[error("{}", self.line())]
pub struct CallFailed {
    /// As IAM policies write it: `ec2:CreateRoute`.
    pub action: &'static str,
    /// The name or id that the call was about.
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
        /// AWS's message.
        message: String,
    },
    /// The caller's policies don't allow it.
    Denied(String),
    /// AWS rejects the credentials.
    NoCredentials(String),
    /// AWS gave no usable answer.
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

    /// Whether the call would create what exists already, by the codes of EC2, IAM and Auto Scaling.
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

    /// Whether the call was planned from old data: observe again.
    pub fn is_outdated(&self) -> bool {
        self.is("InvalidPermission.Duplicate") || self.is("InvalidPermission.NotFound")
    }

    /// Whether AWS doesn't know the call's object, not yet or not any more.
    pub fn is_absent(&self) -> bool {
        self.code().is_some_and(|code| {
            // Also for a part of an object: `InvalidLaunchTemplateId.VersionNotFound`, `ParameterVersionNotFound`.
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
            // The address comes first: all concurrent calls to it fail.
            Reason::Unanswered(why) => {
                format!("no answer from AWS: {}; the call was {action} {object}", one_line(why))
            }
        }
    }
}

/// Joins the lines of AWS's message, and drops an encoded policy at its end.
fn one_line(message: &str) -> String {
    let message = message.split("Encoded authorization failure message").next().unwrap_or_default();
    let words: Vec<&str> = message.split_whitespace().collect();
    words.join(" ").trim_end_matches('.').to_owned()
}

/// The innermost error of a chain, which says what happened.
pub fn innermost(error: &dyn Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

/// Adds a call's name and object to its SDK result.
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

/// Turns the error of an absent object into `None`.
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
    fn existing_and_absent_objects_are_distinguished() {
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
