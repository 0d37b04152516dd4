//! The floor: a bare client makes a takeover's calls concurrently from an instance's network, over new or open TLS
//! connections. No takeover through the same API can be much faster.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use aws_sdk_ec2::Client;
use aws_sdk_ec2::config::retry::RetryConfig;
use aws_sdk_ec2::config::timeout::TimeoutConfig;
use aws_sdk_ec2::config::{BehaviorVersion, Config, Credentials, Region, StalledStreamProtectionConfig};
use aws_smithy_http_client::Builder;
use aws_smithy_http_client::tls::{self, TlsContext, TrustStore};
use aws_smithy_runtime_api::client::dns::{DnsFuture, ResolveDns};
use lab::daemon::addresses;
use lab::network::namespace;
use lab::rig::Rig;
use lab::tls::Authority;

/// The routes to one virtual IP.
pub struct Routes<'a> {
    pub tables: &'a [String],
    pub vip: &'a str,
}

/// How often one client makes all calls; the last round is measured.
#[derive(Debug, Clone, Copy)]
struct Rounds(usize);

/// The bare client's network namespace and credentials.
pub struct Bare {
    namespace: String,
    authority: String,
    credentials: Credentials,
    region: String,
}

impl Bare {
    /// A client in the network namespace behind an instance's interface, with the operator's credentials.
    pub fn at(rig: &Rig, interface: &str) -> Result<Bare> {
        let set = |key: &str| rig.variable(key);
        Ok(Bare {
            namespace: namespace::behind(interface),
            authority: Authority::open(&rig.dir().ca())?.pem().to_owned(),
            credentials: Credentials::new(
                set("AWS_ACCESS_KEY_ID")?,
                set("AWS_SECRET_ACCESS_KEY")?,
                None,
                None,
                "bench",
            ),
            region: set("AWS_REGION")?,
        })
    }

    /// Points the routes at an interface concurrently over new connections; returns the time taken.
    pub fn replace(&self, routes: &Routes, interface: &str) -> Result<Duration> {
        self.replacing(Rounds(1), routes, interface)
    }

    /// Like [`Bare::replace`], twice; returns the time of the second round, over open connections.
    pub fn replace_again(&self, routes: &Routes, interface: &str) -> Result<Duration> {
        self.replacing(Rounds(2), routes, interface)
    }

    fn replacing(&self, rounds: Rounds, routes: &Routes, interface: &str) -> Result<Duration> {
        self.at_once(rounds, routes, |client, table, vip| async move {
            let call = client.replace_route().route_table_id(table).destination_cidr_block(vip);
            call.network_interface_id(interface).send().await.context("the bare client's ReplaceRoute").map(drop)
        })
    }

    /// Creates the routes concurrently.
    pub fn create(&self, routes: &Routes, interface: &str) -> Result<Duration> {
        self.at_once(Rounds(1), routes, |client, table, vip| async move {
            let call = client.create_route().route_table_id(table).destination_cidr_block(vip);
            call.network_interface_id(interface).send().await.context("the bare client's CreateRoute").map(drop)
        })
    }

    /// Deletes the routes concurrently.
    pub fn delete(&self, routes: &Routes) -> Result<Duration> {
        self.at_once(Rounds(1), routes, |client, table, vip| async move {
            let call = client.delete_route().route_table_id(table).destination_cidr_block(vip);
            call.send().await.context("the bare client's DeleteRoute").map(drop)
        })
    }

    fn at_once<F: Future<Output = Result<()>>>(
        &self,
        rounds: Rounds,
        routes: &Routes,
        call: impl Fn(Client, String, String) -> F + Sync,
    ) -> Result<Duration> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let work = || {
            let client = self.client()?;
            let destination = format!("{}/32", routes.vip);
            runtime.block_on(async {
                let mut took = Duration::ZERO;
                for _ in 0..rounds.0 {
                    let start = Instant::now();
                    let call = |table: &String| call(client.clone(), table.clone(), destination.clone());
                    futures::future::try_join_all(routes.tables.iter().map(call)).await?;
                    took = start.elapsed();
                }
                Ok(took)
            })
        };
        namespace::enter(&self.namespace, work)?
    }

    /// A client without open connections.
    fn client(&self) -> Result<Client> {
        let trust = TrustStore::empty().with_pem_certificate(self.authority.as_bytes());
        let context = TlsContext::builder().with_trust_store(trust).build().context("trusting the lab's authority")?;
        let http = Builder::new()
            .tls_provider(tls::Provider::Rustls(tls::rustls_provider::CryptoMode::Ring))
            .tls_context(context)
            .build_with_resolver(TheApi);
        let config = Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(self.region.clone()))
            .credentials_provider(self.credentials.clone())
            .http_client(http)
            .retry_config(RetryConfig::disabled())
            // By default the SDK aborts a connection attempt after 3.1 s.
            .timeout_config(TimeoutConfig::disabled())
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            .build();
        Ok(Client::from_conf(config))
    }
}

/// Resolves each name to the API's address in the VPC, which the host's resolver doesn't know.
#[derive(Debug, Clone, Copy)]
struct TheApi;

impl ResolveDns for TheApi {
    fn resolve_dns<'a>(&'a self, _name: &'a str) -> DnsFuture<'a> {
        DnsFuture::ready(Ok(addresses::API.map(|(_, address)| IpAddr::from(address)).to_vec()))
    }
}
