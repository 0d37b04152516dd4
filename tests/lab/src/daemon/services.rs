//! The lab's servers, each at its own address: IMDS, the resolver, the AWS API, downloads, targets.

use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use anyhow::{Context, Result};
use tokio::task::JoinSet;
use tracing::error;

use super::addresses;
use crate::api::{Entrance, Proxy};
use crate::dir::LabDir;
use crate::dns::{self, Zone};
use crate::files::Files;
use crate::imds::Imds;
use crate::moto::Seed;
use crate::network::namespace::{self, ROUTER};
use crate::serving::Door;
use crate::targets;
use crate::tls::Authority;
use crate::world::World;

/// The services of a running lab; they end when this is dropped.
#[derive(Default)]
pub struct Services {
    tasks: JoinSet<()>,
}

/// What the services need.
pub struct Staff<'a> {
    /// The lab's folder.
    pub dir: &'a LabDir,
    /// What the account was seeded with.
    pub seed: &'a Seed,
    /// The world at the start, for its VPC's networks.
    pub world: &'a World,
    /// The certificate authority.
    pub authority: &'a Authority,
    /// The AWS API.
    pub proxy: &'a Proxy,
    /// The metadata service.
    pub imds: &'a Imds,
    /// The agent that instances download.
    pub agent: std::path::PathBuf,
    /// The AWS API's listener for this machine.
    pub entrance: TcpListener,
}

impl Services {
    /// Starts all services. The network exists already.
    pub fn start(staff: Staff) -> Result<Services> {
        let mut services = Services::default();
        services.api(&staff)?;
        services.metadata_and_names(&staff)?;
        services.hosts(&staff)?;
        for (name, address) in addresses::TARGETS {
            let listener = bind(&namespace::behind(name), address, addresses::TARGET_PORT)?;
            services.add(name, async move { targets::serve(listener, name).await });
        }
        let proxy = staff.proxy.clone();
        services.add("the API on loopback", async move { proxy.serve(staff.entrance, Entrance::Loopback).await });
        Ok(services)
    }

    fn api(&mut self, staff: &Staff) -> Result<()> {
        let names = api_names(&staff.seed.region);
        let config = staff.authority.server(names.iter().map(String::as_str))?;
        for (_, address) in addresses::API {
            let (listener, proxy, config) = (bind(ROUTER, address, 443)?, staff.proxy.clone(), config.clone());
            self.add("the API in the VPC", async move { proxy.serve(listener, Entrance::Vpc(config)).await });
        }
        Ok(())
    }

    fn metadata_and_names(&mut self, staff: &Staff) -> Result<()> {
        let (listener, imds) = (bind(ROUTER, addresses::METADATA, 80)?, staff.imds.clone());
        self.add("instance metadata", async move { imds.serve(listener).await });

        let cidrs = staff.world.vpc(&staff.seed.vpc).context("the seed's VPC isn't in the world")?.cidrs.clone();
        let names = api_names(&staff.seed.region);
        let api = addresses::API.map(|(_, address)| address);
        let zone = names.iter().fold(Zone::new(&staff.seed.region, cidrs), |zone, name| zone.with(name, &api));
        let zone = zone.with(addresses::DOWNLOADS, &[addresses::HOSTS]).with(addresses::PACKAGES, &[addresses::HOSTS]);
        let udp = namespace::bind_udp(ROUTER, SocketAddr::from((addresses::RESOLVER, 53)))?;
        let tcp = bind(ROUTER, addresses::RESOLVER, 53)?;
        self.add("the resolver", async move { dns::serve(zone, udp, tcp).await });
        Ok(())
    }

    fn hosts(&mut self, staff: &Staff) -> Result<()> {
        let config = staff.authority.server([addresses::DOWNLOADS])?;
        let door = Door::tls(bind(ROUTER, addresses::HOSTS, 443)?, config);
        let agent = Files::default().with(addresses::AGENT_PATH, staff.agent.clone());
        self.add("downloads", async move { agent.serve(door).await });

        let door = Door::plain(bind(ROUTER, addresses::HOSTS, 80)?);
        let packages = Files::default().with("/", staff.dir.repository());
        self.add("packages", async move { packages.serve(door).await });
        Ok(())
    }

    fn add(&mut self, name: &'static str, service: impl Future<Output = io::Result<Infallible>> + Send + 'static) {
        self.tasks.spawn(async move {
            let Err(error) = service.await;
            error!(service = name, %error, "service ended");
        });
    }
}

/// The AWS API's endpoint names in a Region (AWS General Reference, "Service endpoints"). IAM has one global name, and S3
/// has one for each bucket.
fn api_names(region: &str) -> Vec<String> {
    let services = ["ec2", "sts", "ssm", "autoscaling", "s3", "*.s3"];
    let regional = services.map(|service| format!("{service}.{region}.amazonaws.com"));
    regional.into_iter().chain(["iam.amazonaws.com".to_owned(), "sts.amazonaws.com".to_owned()]).collect()
}

fn bind(namespace: &str, address: Ipv4Addr, port: u16) -> Result<TcpListener> {
    namespace::bind_tcp(namespace, SocketAddr::from((address, port)))
}
