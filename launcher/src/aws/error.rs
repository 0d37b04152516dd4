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

    /// How to see which policy denied the call, if AWS sent that (STS API reference, DecodeAuthorizationMessage).
    pub fn decoding(&self) -> Option<String> {
        let Reason::Denied(message) = &self.reason else { return None };
        let encoded = message.split_once(ENCODED)?.1.trim_start_matches([':', ' ']);
        let is_base64 = |c: char| c.is_ascii_alphanumeric() || "+/=-_".contains(c);
        let encoded = encoded.split(|c| !is_base64(c)).next()?;
        Some(format!(
            "to see which policy denies {}: aws sts decode-authorization-message --query DecodedMessage --output text \
             --encoded-message {encoded}",
            self.action
        ))
    }

    fn line(&self) -> String {
        let CallFailed { action, object, reason } = self;
        match reason {
            Reason::Refused { code, message } => {
                let remedy = remedy(code).map(|remedy| format!("; {remedy}")).unwrap_or_default();
                format!("{action} {object}: {code}: {}{remedy}", one_line(message))
            }
            Reason::Denied(message) => format!(
                "not allowed to call {action} for {object}: add it to your IAM policy, and check the policies of your \
                 organization ({})",
                one_line(message)
            ),
            Reason::NoCredentials(message) => format!("AWS doesn't accept these credentials: {}", one_line(message)),
            // The address comes first: all concurrent calls to it fail.
            Reason::Unanswered(why) => {
                format!(
                    "no answer from AWS: {}; the call was {action} {object}; check the network, --region and AWS_ENDPOINT_URL",
                    one_line(why)
                )
            }
        }
    }
}

/// What precedes the encoded reason of a denial.
const ENCODED: &str = "Encoded authorization failure message";

/// What the operator can do about an error of this code.
fn remedy(code: &str) -> Option<&'static str> {
    match code {
        // Of RunInstances: see `reason`.
        "AuthFailure" => Some("share the image with this account, or name another image"),
        "InvalidAMIID.NotFound" | "InvalidAMIID.Unavailable" => {
            Some("run `launcher update` with --new-image, or with a file that names another image")
        }
        "BucketAlreadyExists" => {
            Some("another account has a bucket of this name: write [agent] with a source in the balancer's file")
        }
        _ => None,
    }
}

/// Joins the lines of AWS's message, and drops the encoded reason of a denial.
fn one_line(message: &str) -> String {
    let message = message.split(ENCODED).next().unwrap_or_default();
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
        self.map_err(|error| CallFailed { action, object: object.into(), reason: reason(action, &error) })
    }
}

fn reason<E, R>(action: &str, error: &SdkError<E, R>) -> Reason
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
        // The image isn't this account's: "Not authorized for images" (EC2 API reference, "Error codes", AuthFailure).
        "AuthFailure" if action == "ec2:RunInstances" => Reason::Refused { code, message },
        "UnauthorizedOperation" | "AccessDenied" | "AccessDeniedException" => Reason::Denied(message),
        "AuthFailure"
        | "InvalidAccessKeyId"
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

/// Calls for all of these ids at once; one by one if AWS doesn't know one of them, because such a call does nothing (EC2
/// API reference, TerminateInstances). An unknown id is no error.
pub async fn known<T>(
    ids: &[String],
    call: impl AsyncFn(Vec<String>) -> Result<T, CallFailed>,
) -> Result<(), CallFailed> {
    match call(ids.to_vec()).await {
        Err(error) if error.is_absent() => {
            for id in ids.iter().filter(|_| ids.len() > 1) {
                found(call(vec![id.clone()]).await)?;
            }
            Ok(())
        }
        outcome => outcome.map(drop),
    }
}

#[cfg(test)]
mod tests {
    use aws_sdk_ec2::Client;

    use super::*;
    use crate::aws::mock::{ec2, ec2_error};

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
    fn a_missing_answer_names_the_address_and_what_to_check() {
        assert_eq!(
            failed(Reason::Unanswered("https://a: refused".to_owned())).to_string(),
            "no answer from AWS: https://a: refused; the call was ec2:CreateSecurityGroup elbow-web; check the network, \
             --region and AWS_ENDPOINT_URL"
        );
    }

    #[test]
    fn a_denial_names_the_missing_permission_and_how_to_decode_its_reason() {
        let denied = |message: &str| failed(Reason::Denied(message.to_owned()));
        let error = denied("You can't. Encoded authorization failure message: AAAA-b_c\n");
        assert_eq!(
            error.to_string(),
            "not allowed to call ec2:CreateSecurityGroup for elbow-web: add it to your IAM policy, and check the policies of \
             your organization (You can't)"
        );
        assert_eq!(
            error.decoding().as_deref(),
            Some(
                "to see which policy denies ec2:CreateSecurityGroup: aws sts decode-authorization-message --query \
                 DecodedMessage --output text --encoded-message AAAA-b_c"
            )
        );
        assert_eq!(denied("You can't.").decoding(), None);
        assert_eq!(refused("Boom").decoding(), None);
    }

    #[tokio::test]
    async fn an_auth_failure_of_a_launch_is_about_the_image_and_of_other_calls_about_the_credentials() {
        let answer = || ec2_error(401, "AuthFailure", "Not authorized for images: [ami-1]");
        let rule = aws_smithy_mocks::mock!(Client::run_instances).then_http_response(answer);
        let error = ec2(&[&rule]).run_instances().send().await.named("ec2:RunInstances", "subnet-a").unwrap_err();
        assert_eq!(
            error.to_string(),
            "ec2:RunInstances subnet-a: AuthFailure: Not authorized for images: [ami-1]; share the image with this account, \
             or name another image"
        );
        let rule = aws_smithy_mocks::mock!(Client::describe_vpcs).then_http_response(answer);
        let error = ec2(&[&rule]).describe_vpcs().send().await.named("ec2:DescribeVpcs", "vpc-1").unwrap_err();
        assert!(matches!(error.reason, Reason::NoCredentials(_)), "{error}");
    }

    #[tokio::test]
    async fn one_unknown_id_does_not_save_the_others() {
        let calls = std::cell::RefCell::new(Vec::new());
        let call = |ids: Vec<String>| {
            calls.borrow_mut().push(ids.join(" "));
            std::future::ready(match ids.contains(&"i-gone".to_owned()) {
                true => Err(refused("InvalidInstanceID.NotFound")),
                false => Ok(()),
            })
        };
        let ids = ["i-a", "i-gone", "i-b"].map(str::to_owned);
        assert!(known(&ids, call).await.is_ok());
        assert!(known(&ids[1..2], call).await.is_ok());
        assert_eq!(calls.take(), ["i-a i-gone i-b", "i-a", "i-gone", "i-b", "i-gone"]);
        let denied = |_: Vec<String>| std::future::ready(Err::<(), _>(refused("OperationNotPermitted")));
        assert!(known(&ids, denied).await.unwrap_err().is("OperationNotPermitted"));
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
