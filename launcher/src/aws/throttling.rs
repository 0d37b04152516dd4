//! Retries calls of every service that AWS defers, for up to two minutes: for their rate, for a concurrent writer, or
//! because a service isn't ready.
//! The SDK's own retries end after seconds and share a budget, which many throttled calls exhaust.

use std::sync::Mutex;
use std::time::Duration;

use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::byte_stream::ByteStream;
use tokio::time::Instant;

use super::retry::pause;

/// Another program may exhaust the account's rate limit. A request's signature is valid for five minutes.
const PATIENCE: Duration = Duration::from_secs(120);
/// A longer wait is reported, once per [`AGAIN`].
const UNMENTIONED: Duration = Duration::from_secs(4);
const AGAIN: Duration = Duration::from_secs(60);
/// The first and the longest average pause between attempts; it doubles each time.
const PAUSE: [Duration; 2] = [Duration::from_millis(300), Duration::from_secs(3)];

/// Transient codes, from the common errors of EC2, IAM, Auto Scaling, Systems Manager and S3.
const PASSING: [&str; 13] = [
    "RequestLimitExceeded",
    "Throttling",
    "ThrottlingException",
    "RequestThrottled",
    "TooManyRequestsException",
    // Concurrent writers: of one resource's tags in EC2, of one role in IAM, of one group in Auto Scaling.
    "ConcurrentTagAccess",
    "ConcurrentModification",
    "ConcurrentModificationException",
    "ResourceContention",
    // IAM is still creating Auto Scaling's role, for an account's first group (Auto Scaling API reference,
    // CreateAutoScalingGroup).
    "ServiceLinkedRoleFailure",
    // S3: its rate; concurrent creations or a recent deletion of one bucket; concurrent creations of one object (S3 API
    // reference, "Error responses").
    "SlowDown",
    "OperationAborted",
    "ConditionalRequestConflict",
];

/// The policy, and when a wait was reported last.
#[derive(Debug)]
pub(super) struct Throttled {
    patience: Duration,
    pause: [Duration; 2],
    mentioned: Mutex<Option<Instant>>,
}

impl Default for Throttled {
    fn default() -> Throttled {
        Throttled { patience: PATIENCE, pause: PAUSE, mentioned: Mutex::default() }
    }
}

impl Throttled {
    /// `send`s the request until AWS executes the call or rejects it for another reason.
    pub(super) async fn outlast<F>(
        &self,
        mut request: HttpRequest,
        send: impl Fn(HttpRequest) -> F,
    ) -> Result<HttpResponse, ConnectorError>
    where
        F: Future<Output = Result<HttpResponse, ConnectorError>>,
    {
        let (action, began, mut about) = (action(&request), Instant::now(), self.pause[0]);
        loop {
            let again = request.try_clone();
            let mut response = send(request).await?;
            let (Some(again), false) = (again, response.status().is_success()) else { return Ok(response) };
            let body = std::mem::replace(response.body_mut(), SdkBody::empty());
            let body =
                ByteStream::new(body).collect().await.map_err(|error| ConnectorError::io(error.into()))?.into_bytes();
            let Some(code) = passing(&body) else {
                *response.body_mut() = SdkBody::from(body);
                return Ok(response);
            };
            if began.elapsed() >= self.patience {
                let why = format!("{code} for {} s, try again later", self.patience.as_secs());
                // A response would make the SDK retry.
                return Err(ConnectorError::other(why.into(), None));
            }
            if began.elapsed() >= UNMENTIONED {
                self.mention(&action, code);
            }
            pause(about).await;
            (request, about) = (again, (about * 2).min(self.pause[1]));
        }
    }

    fn mention(&self, action: &str, code: &str) {
        let mut said = self.mentioned.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if said.is_none_or(|said| said.elapsed() >= AGAIN) {
            *said = Some(Instant::now());
            crate::output::say(&format!("  … AWS rejected {action} ({code}), retrying"));
        }
    }
}

/// The code of a transient error: `<Code>` in XML, the end of `__type` in JSON.
fn passing(body: &[u8]) -> Option<&'static str> {
    let body = std::str::from_utf8(body).ok()?;
    let xml = body.split_once("<Code>").and_then(|(_, rest)| rest.split_once('<'));
    let json = || body.split_once("\"__type\"")?.1.split_once('"')?.1.split_once('"');
    let (code, _) = xml.or_else(json)?;
    PASSING.into_iter().find(|passing| code.rsplit('#').next() == Some(passing))
}

fn action(request: &HttpRequest) -> String {
    let form = request.body().bytes().and_then(|body| std::str::from_utf8(body).ok()).unwrap_or_default();
    let form = form.split('&').find_map(|pair| pair.strip_prefix("Action="));
    form.or_else(|| request.headers().get("x-amz-target")?.rsplit('.').next()).unwrap_or("a call").to_owned()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use aws_smithy_runtime_api::http::StatusCode;

    use super::*;
    use crate::aws::mock::ec2_error;

    const QUICK: Duration = Duration::from_secs(1);

    fn request() -> HttpRequest {
        HttpRequest::new(SdkBody::from("Action=CreateTags&Version=2016-11-15"))
    }

    /// The outcome of a call with these codes as its answers, the last one repeated, and how often it is sent.
    async fn outcome(codes: &'static [&'static str]) -> (Result<String, String>, u32) {
        let sent = AtomicU32::new(0);
        let send = |_| {
            let turn = sent.fetch_add(1, Ordering::SeqCst) as usize;
            let answer = match codes[turn.min(codes.len() - 1)] {
                "" => HttpResponse::new(StatusCode::try_from(200).unwrap(), SdkBody::from("done")),
                code => ec2_error(503, code, "No."),
            };
            std::future::ready(Ok(answer))
        };
        let pause = [Duration::from_millis(1), Duration::from_millis(10)];
        let policy = Throttled { patience: QUICK, pause, mentioned: Mutex::default() };
        let response = policy.outlast(request(), send).await;
        let text = |response: HttpResponse| String::from_utf8_lossy(response.body().bytes().unwrap()).into_owned();
        (response.map(text).map_err(|error| crate::aws::error::innermost(&error)), sent.load(Ordering::SeqCst))
    }

    #[tokio::test]
    async fn a_call_that_was_not_carried_out_is_repeated_until_it_is() {
        let codes = &["RequestLimitExceeded", "ConcurrentTagAccess", "RequestLimitExceeded", "Throttling", ""];
        assert_eq!(outcome(codes).await, (Ok("done".to_owned()), 5));
    }

    #[tokio::test]
    async fn another_error_is_returned_unchanged() {
        let (answer, sent) = outcome(&["Throttling", "DependencyViolation"]).await;
        assert!(answer.unwrap().contains("<Code>DependencyViolation</Code><Message>No.</Message>"));
        assert_eq!(sent, 2);
    }

    #[tokio::test]
    async fn patience_ends_and_names_the_code() {
        let began = Instant::now();
        let (answer, sent) = outcome(&["RequestLimitExceeded"]).await;
        assert_eq!(answer.unwrap_err(), "RequestLimitExceeded for 1 s, try again later");
        assert!(began.elapsed() >= QUICK && (5..200).contains(&sent), "{sent}");
    }

    #[test]
    fn codes_are_read_from_xml_and_json() {
        for (body, code) in [
            (
                "<ErrorResponse><Error><Code>ConcurrentModification</Code></Error></ErrorResponse>",
                "ConcurrentModification",
            ),
            (r#"{"__type":"ThrottlingException","message":"Rate exceeded"}"#, "ThrottlingException"),
            (r#"{"__type": "com.amazonaws.ssm#ThrottlingException"}"#, "ThrottlingException"),
        ] {
            assert_eq!(passing(body.as_bytes()), Some(code), "{body}");
        }
        for body in ["<html>bad gateway</html>", "<Code>AccessDenied</Code>", r#"{"__type":"X"}"#, ""] {
            assert_eq!(passing(body.as_bytes()), None, "{body}");
        }
        assert_eq!(action(&request()), "CreateTags");
    }
}
