//! Counts each request to the EC2 API, retries included, as EC2's own throttling does.

use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::Intercept;
use aws_smithy_runtime_api::client::interceptors::context::FinalizerInterceptorContextRef;
use aws_smithy_runtime_api::client::orchestrator::Metadata;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::config_bag::ConfigBag;

use super::error::{Kind, kind};
use crate::telemetry::metrics::Calls;

#[derive(Debug)]
pub(super) struct Counting(pub Calls);

impl Intercept for Counting {
    fn name(&self) -> &'static str {
        "Counting"
    }

    fn read_after_attempt(
        &self,
        context: &FinalizerInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let action = config.load::<Metadata>().map_or("unknown", |metadata| metadata.name());
        let result = match context.output_or_error() {
            Some(Ok(_)) => "ok",
            _ => {
                let body = context.response().and_then(|response| response.body().bytes());
                body.and_then(|body| refusal(std::str::from_utf8(body).ok()?)).map_or("unavailable", result)
            }
        };
        self.0.count(action, result);
        Ok(())
    }
}

/// The kind of an error document (EC2 API reference, "Error responses"), or `None` if `body` isn't one.
fn refusal(body: &str) -> Option<Kind> {
    let text = |tag: &str| {
        let (_, rest) = body.split_once(&format!("<{tag}>"))?;
        Some(rest.split_once('<')?.0)
    };
    Some(kind(text("Code")?, text("Message").unwrap_or_default()))
}

fn result(kind: Kind) -> &'static str {
    match kind {
        Kind::NoRoute => "no_route",
        Kind::RouteExists => "route_exists",
        Kind::Gone => "gone",
        Kind::Throttled => "throttled",
        Kind::Denied => "denied",
        Kind::Unavailable => "unavailable",
        Kind::Refused => "refused",
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use aws_sdk_ec2::Client;
    use aws_sdk_ec2::config::{BehaviorVersion, Config, Credentials, Region, retry::RetryConfig};
    use aws_smithy_http_client::{Builder, tls};
    use axum::http::StatusCode;

    use super::*;

    /// A client of an API that gives these answers in turn, and then stays silent.
    async fn client(answers: Vec<(u16, &'static str)>, calls: &Calls) -> Client {
        let left = std::sync::Arc::new(std::sync::Mutex::new(answers.into_iter()));
        let answer = move || {
            let next = left.lock().unwrap().next();
            async move {
                let Some((status, body)) = next else { std::future::pending().await };
                (StatusCode::from_u16(status).unwrap(), body)
            }
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, axum::Router::new().fallback(answer)).await });
        let ring = tls::Provider::Rustls(tls::rustls_provider::CryptoMode::Ring);
        let limit = aws_config::timeout::TimeoutConfig::builder().operation_attempt_timeout(Duration::from_secs(2));
        let config = Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("eu-west-1"))
            .endpoint_url(address)
            .credentials_provider(Credentials::new("id", "secret", None, None, "test"))
            .retry_config(RetryConfig::standard().with_max_attempts(2).with_initial_backoff(Duration::from_millis(1)))
            .timeout_config(limit.build())
            .http_client(Builder::new().tls_provider(ring).build_https())
            .interceptor(Counting(calls.clone()));
        Client::from_conf(config.build())
    }

    const THROTTLED: &str = "<Response><Errors><Error><Code>RequestLimitExceeded</Code><Message>Request limit \
                             exceeded.</Message></Error></Errors></Response>";
    const DENIED: &str = "<Response><Errors><Error><Code>UnauthorizedOperation</Code><Message>You are not \
                          authorized.</Message></Error></Errors></Response>";
    const DONE: &str = "<ReplaceRouteResponse><return>true</return></ReplaceRouteResponse>";

    #[tokio::test]
    async fn every_request_is_counted_by_action_and_result() {
        let calls = Calls::default();
        let client =
            client(vec![(503, THROTTLED), (200, DONE), (403, DENIED), (200, "ok, but no document")], &calls).await;
        client.replace_route().route_table_id("rtb-1").send().await.unwrap();
        client.replace_route().route_table_id("rtb-1").send().await.unwrap_err();
        client.describe_instances().send().await.unwrap_err();
        let counted = ["ok", "throttled", "denied", "unavailable"].map(|result| calls.get("ReplaceRoute", result));
        assert_eq!(counted, [1, 1, 1, 0]);
        assert!(calls.get("DescribeInstances", "unavailable") > 0, "a request without an answer is counted");
    }

    #[test]
    fn only_an_error_document_has_a_kind() {
        assert_eq!(refusal(THROTTLED), Some(Kind::Throttled));
        assert_eq!(refusal("<html>bad gateway</html>"), None);
    }
}
