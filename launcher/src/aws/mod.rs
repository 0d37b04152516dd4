//! AWS as the launcher meets it: the clients, what their errors mean, and which of them pass.

pub mod error;
#[cfg(test)]
pub(crate) mod mock;
pub mod retry;

use std::time::Duration;

use anyhow::Context;
use aws_config::default_provider::credentials::DefaultCredentialsChain;
use aws_config::environment::EnvironmentVariableRegionProvider;
use aws_config::imds::{self, region::ImdsRegionProvider};
use aws_config::meta::region::RegionProviderChain;
use aws_config::profile::{ProfileFileCredentialsProvider, ProfileFileRegionProvider};
use aws_config::provider_config::ProviderConfig;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{AppName, BehaviorVersion, Region};
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use aws_smithy_http_client::Builder;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore, rustls_provider::CryptoMode};
use aws_smithy_runtime_api::client::http::SharedHttpClient;

use crate::failure::Failure;

/// Longer than a profile's helper program or an SSO refresh takes; shorter than a person's patience.
const CREDENTIALS: Duration = Duration::from_secs(15);
/// IMDS is one hop away or isn't there: a laptop without credentials must hear so at once.
const IMDS: Duration = Duration::from_millis(800);

/// The clients of one account and Region.
#[derive(Debug, Clone)]
pub struct Aws {
    /// Where.
    pub region: String,
    /// Auto Scaling groups.
    pub auto_scaling: aws_sdk_autoscaling::Client,
    /// Instances, templates, groups, routes.
    pub ec2: aws_sdk_ec2::Client,
    /// Roles and instance profiles.
    pub iam: aws_sdk_iam::Client,
    /// Image parameters.
    pub ssm: aws_sdk_ssm::Client,
    /// Who is asking.
    pub sts: aws_sdk_sts::Client,
}

/// What the command line says about whom to be and where; the rest is AWS's standard environment and profile.
#[derive(Debug, Clone, Default)]
pub struct Account {
    /// `--profile`
    pub profile: Option<String>,
    /// `--region`
    pub region: Option<String>,
}

/// Finds the Region and credentials, and says at once if there are none.
pub async fn connect(account: &Account) -> Result<Aws, Failure> {
    let http = http_client()?;
    let imds = imds_client(&http);
    let region = region(account, imds.clone()).await?;
    check_region(region.as_ref())?;
    let mut loader = aws_config::defaults(BehaviorVersion::latest())
        .http_client(http.clone())
        .app_name(AppName::new("elbow-launcher").context("the launcher's name in its requests")?)
        .retry_config(RetryConfig::standard().with_max_attempts(6).with_max_backoff(Duration::from_secs(5)))
        .timeout_config(
            TimeoutConfig::builder()
                .connect_timeout(Duration::from_secs(4))
                .operation_attempt_timeout(Duration::from_secs(20))
                .operation_timeout(Duration::from_secs(60))
                .build(),
        )
        .region(region.clone())
        .credentials_provider(credentials(account, &http, imds, region.clone()).await?);
    if let Some(profile) = &account.profile {
        loader = loader.profile_name(profile);
    }
    let config = loader.load().await;
    Ok(Aws {
        region: region.to_string(),
        auto_scaling: aws_sdk_autoscaling::Client::new(&config),
        ec2: aws_sdk_ec2::Client::new(&config),
        iam: aws_sdk_iam::Client::new(&config),
        ssm: aws_sdk_ssm::Client::new(&config),
        sts: aws_sdk_sts::Client::new(&config),
    })
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

/// It becomes part of host names, where the SDK would stumble over it call by call.
fn check_region(region: &str) -> Result<(), Failure> {
    let good = !region.is_empty()
        && region.len() <= 63
        && region.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if good {
        return Ok(());
    }
    Err(Failure::bad_input(format!("region {region:?} can't be one: write it as AWS does, such as eu-west-1")))
}

async fn credentials(
    account: &Account,
    http: &SharedHttpClient,
    imds: imds::Client,
    region: Region,
) -> Result<SharedCredentialsProvider, Failure> {
    let config = ProviderConfig::without_region().with_http_client(http.clone()).with_region(Some(region.clone()));
    let (chain, way_out) = match &account.profile {
        // What was named counts, not what else the environment has: the wrong account would be another's balancer.
        Some(name) => {
            let profile = ProfileFileCredentialsProvider::builder().configure(&config).profile_name(name).build();
            (SharedCredentialsProvider::new(profile), format!("has the profile {name:?} any, or must you sign in?"))
        }
        None => {
            let chain = DefaultCredentialsChain::builder().configure(config).region(region).imds_client(imds);
            let way_out = "set AWS_PROFILE or AWS_ACCESS_KEY_ID, or sign in".to_owned();
            (SharedCredentialsProvider::new(chain.build().await), way_out)
        }
    };
    let missing = |why: String| Failure::bad_input(format!("no AWS credentials: {way_out} ({why})"));
    match tokio::time::timeout(CREDENTIALS, chain.provide_credentials()).await {
        Ok(Ok(_)) => Ok(chain),
        // The rest says, over several lines, which providers there are.
        Ok(Err(error)) => {
            let why = error::innermost(&error);
            let first = why.lines().next().unwrap_or_default().trim_end_matches(['.', ':']);
            Err(missing(first.trim_end_matches(" Attempted").trim_end_matches('.').to_owned()))
        }
        Err(_) => Err(missing(format!("none of the providers answered within {} s", CREDENTIALS.as_secs()))),
    }
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

fn http_client() -> Result<SharedHttpClient, Failure> {
    let mut trust = TrustStore::default();
    if let Some(path) = std::env::var_os("AWS_CA_BUNDLE").filter(|path| !path.is_empty()) {
        let pem = std::fs::read(&path)
            .map_err(|error| Failure::bad_input(format!("AWS_CA_BUNDLE {}: {error}", path.display())))?;
        trust = trust.with_pem_certificate(pem);
    }
    let tls = TlsContext::builder().with_trust_store(trust).build().context("setting TLS up")?;
    Ok(Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).tls_context(tls).build_https())
}
