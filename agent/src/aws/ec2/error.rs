//! The error of an API call: a message of one line for the log, and a kind for the code.

use std::fmt;

use aws_sdk_ec2::error::{ProvideErrorMetadata, SdkError};

/// A failed call.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{action}: {message}")]
pub struct ApiError {
    /// The name of the call.
    pub action: &'static str,
    /// What the error means for the caller.
    pub kind: Kind,
    /// The API's code and message, or why there was no answer.
    pub message: String,
}

/// What an error means for the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// ReplaceRoute: the table has no such route.
    NoRoute,
    /// CreateRoute: the table already has this route.
    RouteExists,
    /// The resource doesn't exist.
    Gone,
    /// Too many calls.
    Throttled,
    /// Not allowed. Permissions of a new role can take minutes to apply.
    Denied,
    /// No answer, or an internal error of the API.
    Unavailable,
    /// Any other refusal.
    Refused,
}

impl ApiError {
    /// Converts the error that `action` failed with.
    pub fn of<E, R>(action: &'static str, error: &SdkError<E, R>) -> ApiError
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
        R: fmt::Debug,
    {
        match error.as_service_error() {
            Some(service) => {
                let (code, text) = (service.code().unwrap_or("no code"), service.message().unwrap_or_default());
                let readable = text.split("Encoded authorization failure message").next().unwrap_or_default();
                ApiError { action, kind: kind(code, text), message: one_line(&format!("{code}: {readable}")) }
            }
            None if matches!(error, SdkError::TimeoutError(_)) => ApiError::unavailable(action, "no answer in time"),
            None => ApiError::unavailable(action, &chain(error)),
        }
    }

    fn unavailable(action: &'static str, message: &str) -> ApiError {
        ApiError { action, kind: Kind::Unavailable, message: one_line(message) }
    }
}

/// Codes as in AWS's "Error codes for the Amazon EC2 API".
pub(super) fn kind(code: &str, text: &str) -> Kind {
    match code {
        "InvalidParameterValue" if text.to_lowercase().contains("there is no route defined") => Kind::NoRoute,
        "InvalidRoute.NotFound" => Kind::NoRoute,
        "RouteAlreadyExists" => Kind::RouteExists,
        "InvalidLaunchTemplateId.VersionNotFound"
        | "InvalidLaunchTemplateId.NotFound"
        | "InvalidLaunchTemplateName.NotFoundException" => Kind::Gone,
        // The API uses both spellings.
        "InvalidRouteTableID.NotFound" | "InvalidRouteTableId.NotFound" => Kind::Gone,
        "RequestLimitExceeded" | "Throttling" | "ThrottlingException" | "RequestThrottled" => Kind::Throttled,
        "UnauthorizedOperation"
        // Auto Scaling's code (its API reference, "Common errors").
        | "AccessDenied"
        | "AuthFailure"
        | "InvalidClientTokenId"
        | "ExpiredToken"
        | "RequestExpired"
        | "OptInRequired"
        | "Blocked"
        | "SignatureDoesNotMatch" => Kind::Denied,
        "InternalError" | "InternalFailure" | "ServiceUnavailable" | "Unavailable" | "InternalServerError"
        // Another call tags the same resource at this moment.
        | "ConcurrentTagAccess" => Kind::Unavailable,
        _ => Kind::Refused,
    }
}

/// An error and its causes. The SDK's own formatter adds each cause a second time, as debug output.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let causes: Vec<String> =
        std::iter::successors(Some(error), |error| error.source()).map(ToString::to_string).collect();
    causes.join(": ")
}

/// Joins lines and cuts the text after 400 characters, as the SDK's chains are long.
fn one_line(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(400) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_absent_route_is_distinguished_from_other_bad_values() {
        let absent = "There is no route defined for '10.255.0.10/32' in the route table. Use CreateRoute instead.";
        assert_eq!(kind("InvalidParameterValue", absent), Kind::NoRoute);
        assert_eq!(kind("InvalidParameterValue", "The destination CIDR block is invalid"), Kind::Refused);
    }

    #[test]
    fn a_missing_table_is_recognized_in_either_spelling() {
        for code in ["InvalidRouteTableID.NotFound", "InvalidRouteTableId.NotFound"] {
            assert_eq!(kind(code, "The routeTable ID 'rtb-1' does not exist"), Kind::Gone);
        }
    }

    #[test]
    fn the_cause_of_a_failed_call_appears_once() {
        let cause = std::io::Error::other("failed to look up ec2.eu-west-1.amazonaws.com");
        let cause = aws_smithy_runtime_api::client::result::ConnectorError::io(cause.into());
        let error = SdkError::<aws_sdk_ec2::Error, ()>::dispatch_failure(cause);
        let message = ApiError::of("DescribeInstances", &error).message;
        assert_eq!(message, "dispatch failure: io error: failed to look up ec2.eu-west-1.amazonaws.com");
    }

    #[test]
    fn errors_take_one_line() {
        assert_eq!(one_line("a\n  b\tc"), "a b c");
        assert_eq!(one_line(&"x".repeat(1000)).chars().count(), 401);
    }
}
