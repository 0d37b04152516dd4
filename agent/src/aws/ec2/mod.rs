//! An EC2 API client tuned for failover: quick retries, time limits that follow the API's speed (`pool`), cached
//! credentials and addresses. The SDK's defaults (1 s to the first retry) suit batch work.

mod call_counter;
mod credentials;
mod dns_cache;
mod error;
mod pool;
mod reachability;

use std::time::{Duration, SystemTime};

use aws_config::imds::credentials::ImdsCredentialsProvider;
use aws_config::provider_config::ProviderConfig;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_sdk_ec2::Client;
use aws_sdk_ec2::config::{BehaviorVersion, Config, IdentityCache, Region};
use aws_smithy_http_client::Builder;
use aws_smithy_http_client::tls::{self, TlsContext, TrustStore};
use aws_smithy_runtime_api::client::http::SharedHttpClient;

pub use error::{ApiError, Kind};

use crate::telemetry::metrics::Calls;
use call_counter::Counting;
use credentials::Kept;
use dns_cache::Remembered;
use pool::Pool;

/// The limit of a call with its retries. It exceeds the pool's first limits for a handshake and a call together.
const CALL_LIMIT: Duration = Duration::from_secs(90);

/// The EC2 API client and the caches behind it.
#[derive(Debug, Clone)]
pub struct Api {
    pub client: Client,
    /// The counters of the client's requests.
    pub calls: Calls,
    region: Region,
    credentials: Kept,
    names: Remembered,
    pool: Pool,
}

impl Api {
    /// Keeps credentials, addresses and connections ready, so that no call waits for them; never returns.
    pub async fn keep_warm(&self) {
        tokio::join!(self.credentials.keep_fresh(), self.names.keep_fresh(), self.pool.keep_ready());
    }

    /// Whether every attempt to reach the API has failed for 10 s.
    pub fn is_lost(&self) -> bool {
        self.pool.is_lost()
    }

    /// Keeps connections open for a takeover of this many calls, up to the pool's limit.
    pub fn prepare_for(&self, calls: usize) {
        self.pool.prepare_for(calls);
    }

    /// A client of the Auto Scaling API. Its calls are rare, so no connection is kept open for it.
    pub fn auto_scaling(&self) -> aws_sdk_autoscaling::Client {
        let config = aws_sdk_autoscaling::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(self.region.clone())
            .credentials_provider(self.credentials.clone())
            .identity_cache(IdentityCache::no_cache())
            .http_client(self.pool.beside())
            .timeout_config(limits())
            .retry_config(retries());
        aws_sdk_autoscaling::Client::from_conf(config.build())
    }

    /// When the cached credentials expire.
    pub fn credentials_end(&self) -> Option<SystemTime> {
        self.credentials.expiry()
    }
}

/// A client of the API of `region`, with the credentials of this instance's role.
pub fn connect(region: &str) -> Api {
    let names = Remembered::default();
    let pool = Pool::new(names.clone());
    let imds = ProviderConfig::without_region().with_http_client(plain());
    let credentials = Kept::new(ImdsCredentialsProvider::builder().configure(&imds).build());
    let calls = Calls::default();
    let region = Region::new(region.to_owned());
    let config = Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .interceptor(Counting(calls.clone()))
        .region(region.clone())
        .credentials_provider(credentials.clone())
        // `Kept` is the cache. It refreshes outside of calls.
        .identity_cache(IdentityCache::no_cache())
        .http_client(pool.clone())
        .timeout_config(limits())
        .retry_config(retries())
        .build();
    Api { client: Client::from_conf(config), calls, region, credentials, names, pool }
}

/// A client for IMDS. IMDS has no TLS, so the system's certificates (1 MB of memory) aren't loaded.
fn plain() -> SharedHttpClient {
    let no_trust =
        TlsContext::builder().with_trust_store(TrustStore::empty()).build().expect("an empty context is valid");
    Builder::new()
        .tls_provider(tls::Provider::Rustls(tls::rustls_provider::CryptoMode::Ring))
        .tls_context(no_trust)
        .build_https()
}

fn limits() -> TimeoutConfig {
    TimeoutConfig::builder().operation_timeout(CALL_LIMIT).build()
}

fn retries() -> RetryConfig {
    RetryConfig::standard()
        .with_max_attempts(3)
        .with_initial_backoff(Duration::from_millis(100))
        .with_max_backoff(Duration::from_secs(1))
}
