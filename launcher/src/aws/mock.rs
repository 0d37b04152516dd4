//! Clients with a test's answers, in the service's own XML, so that errors are parsed as from AWS.

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_smithy_mocks::{MockResponseInterceptor, Rule, RuleMode, create_mock_http_client};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::http::StatusCode;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::retry::RetryConfig;

/// An EC2 client with these answers, in order, that doesn't retry.
pub(crate) fn ec2(rules: &[&Rule]) -> aws_sdk_ec2::Client {
    let config = aws_sdk_ec2::config::Builder::from(&config()).interceptor(answers(rules));
    aws_sdk_ec2::Client::from_conf(config.build())
}

/// The same for S3.
pub(crate) fn s3(rules: &[&Rule]) -> aws_sdk_s3::Client {
    let config = aws_sdk_s3::config::Builder::from(&config()).interceptor(answers(rules));
    aws_sdk_s3::Client::from_conf(config.build())
}

fn config() -> SdkConfig {
    let credentials = Credentials::new("AKIATEST", "secret", None, None, "test");
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("eu-west-1"))
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .retry_config(RetryConfig::disabled())
        .http_client(create_mock_http_client())
        .build()
}

fn answers(rules: &[&Rule]) -> MockResponseInterceptor {
    let answers = MockResponseInterceptor::new().rule_mode(RuleMode::Sequential);
    rules.iter().fold(answers, |answers, rule| answers.with_rule(rule))
}

/// An error as EC2 writes it (EC2 API reference, "Error response").
pub(crate) fn ec2_error(status: u16, code: &str, message: &str) -> HttpResponse {
    let body = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Response><Errors><Error><Code>{code}</Code><Message>{message}</Message>\
         </Error></Errors><RequestID>1</RequestID></Response>"
    );
    HttpResponse::new(StatusCode::try_from(status).expect("a status"), SdkBody::from(body))
}

/// An error as S3 writes it (S3 API reference, "REST error responses").
pub(crate) fn s3_error(status: u16, code: &str, message: &str) -> HttpResponse {
    let body = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Error><Code>{code}</Code><Message>{message}</Message>\
         <RequestId>1</RequestId></Error>"
    );
    HttpResponse::new(StatusCode::try_from(status).expect("a status"), SdkBody::from(body))
}
