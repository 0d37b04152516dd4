//! The launcher's AWS clients, their transport, errors and retries.

mod credentials;
mod endpoint;
pub mod error;
mod http;
#[cfg(test)]
pub(crate) mod mock;
mod profile;
pub mod retry;
mod throttling;
mod transport;

use std::time::Duration;

use anyhow::Context;
use aws_config::environment::EnvironmentVariableRegionProvider;
use aws_config::imds::{self, region::ImdsRegionProvider};
use aws_config::meta::region::RegionProviderChain;
use aws_config::profile::ProfileFileRegionProvider;
use aws_config::provider_config::ProviderConfig;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{AppName, BehaviorVersion, Region, SdkConfig};
use aws_smithy_runtime_api::client::http::SharedHttpClient;

use self::profile::Profile;
use crate::output::failure::Failure;

/// IMDS is one hop away or absent: on a laptop without credentials the launcher must fail at once.
const IMDS: Duration = Duration::from_millis(800);

/// Page size of Describe calls. EC2 throttles unpaged calls sooner, and some calls allow no larger page.
pub const PAGE: i32 = 100;

/// The clients of one account and Region.
#[derive(Debug, Clone)]
pub struct Aws {
    pub region: String,
    /// Auto Scaling groups.
    pub auto_scaling: aws_sdk_autoscaling::Client,
    /// Instances, templates, groups, routes.
    pub ec2: aws_sdk_ec2::Client,
    /// Roles and instance profiles.
    pub iam: aws_sdk_iam::Client,
    /// The bucket of the agents.
    pub s3: aws_sdk_s3::Client,
    /// Image parameters.
    pub ssm: aws_sdk_ssm::Client,
    /// The caller's account.
    pub sts: aws_sdk_sts::Client,
}

/// The command line's profile and Region; AWS's standard environment and profiles supply the rest.
#[derive(Debug, Clone, Default)]
pub struct Account {
    pub profile: Option<String>,
    pub region: Option<String>,
}

/// Finds the Region and credentials, and fails at once without them.
pub async fn connect(account: &Account) -> Result<Aws, Failure> {
    let tls = http::tls()?;
    let profile = Profile::selected(account.profile.as_deref()).await?;
    endpoint::check(profile.as_ref())?;
    let imds = imds_client(&http::direct(&tls));
    let region = region(account, imds.clone()).await?;
    check_region(region.as_ref())?;
    let http = transport::client(&tls, region.as_ref());
    let mut loader = aws_config::defaults(BehaviorVersion::latest())
        .http_client(http.clone())
        .app_name(AppName::new("elbow-launcher").context("setting the application name")?)
        .retry_config(RetryConfig::standard().with_max_attempts(6).with_max_backoff(Duration::from_secs(5)))
        .timeout_config(
            TimeoutConfig::builder()
                .connect_timeout(Duration::from_secs(4))
                .read_timeout(Duration::from_secs(20))
                // Longer than a throttled call is repeated for.
                .operation_timeout(Duration::from_secs(150))
                .build(),
        )
        .region(region.clone())
        .credentials_provider(credentials::find(account, profile.as_ref(), &http, imds, region.clone()).await?);
    if let Some(profile) = &account.profile {
        loader = loader.profile_name(profile);
    }
    let config = loader.load().await;
    Ok(Aws {
        region: region.to_string(),
        auto_scaling: aws_sdk_autoscaling::Client::new(&config),
        ec2: aws_sdk_ec2::Client::new(&config),
        iam: aws_sdk_iam::Client::new(&config),
        s3: s3(&config),
        ssm: aws_sdk_ssm::Client::new(&config),
        sts: aws_sdk_sts::Client::new(&config),
    })
}

/// At an endpoint that was set, a bucket is a part of the path: its name in front of the host may not resolve.
fn s3(config: &SdkConfig) -> aws_sdk_s3::Client {
    let own = std::env::var_os("AWS_ENDPOINT_URL_S3").is_some_and(|url| !url.is_empty());
    let by_path = own || config.endpoint_url().is_some();
    let config = aws_sdk_s3::config::Builder::from(config).force_path_style(by_path).build();
    aws_sdk_s3::Client::from_conf(config)
}

async fn region(account: &Account, imds: imds::Client) -> Result<Region, Failure> {
    if let Some(region) = &account.region {
        return Ok(Region::new(region.clone()));
    }
    let mut profile = ProfileFileRegionProvider::builder();
    if let Some(name) = &account.profile {
        profile = profile.profile_name(name);
    }
    RegionProviderChain::first_try(EnvironmentVariableRegionProvider::new())
        .or_else(profile.build())
        .or_else(ImdsRegionProvider::builder().imds_client(imds).build())
        .region()
        .await
        .ok_or_else(|| Failure::bad_input("no region: set AWS_REGION, name a profile that has one, or use --region"))
}

/// Refuses an invalid Region name. It becomes part of host names, where each call would fail, and of ARNs in policies.
pub fn check_region(region: &str) -> Result<(), Failure> {
    let good = !region.is_empty()
        && region.len() <= 63
        && region.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if good {
        return Ok(());
    }
    Err(Failure::bad_input(format!("region {region:?} isn't a valid name: use one such as eu-west-1")))
}

fn imds_client(http: &SharedHttpClient) -> imds::Client {
    imds::Client::builder()
        .configure(&ProviderConfig::without_region().with_http_client(http.clone()))
        .max_attempts(2)
        .connect_timeout(IMDS)
        .read_timeout(IMDS)
        .operation_timeout(IMDS * 2)
        .build()
}
