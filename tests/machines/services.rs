//! The services that an instance needs to boot: IMDS, a resolver and the package repository.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use lab::api::{Sessions, Upstream};
use lab::dir::LabDir;
use lab::dns::{self, Zone};
use lab::files::Files;
use lab::image;
use lab::imds::Imds;
use lab::instance::{Machine, Spec};
use lab::network::namespace::{ROUTER, bind_tcp, bind_udp};
use lab::serving::Door;
use lab::world::{Instance, InstanceState, Tags};
use tokio::runtime::Runtime;
use tokio::sync::watch;

use crate::rig::{A, ADDRESS_A, API, METADATA, RESOLVER, Rig};

pub const ID: &str = "i-0123456789abcdef0";

/// The images; builds missing ones.
pub fn images() -> LabDir {
    let dir = LabDir::open().unwrap();
    image::ensure(&dir).unwrap();
    dir
}

/// Runs the services until the runtime is dropped, and creates a stopped instance at A.
pub fn instance(rig: &mut Rig, user_data: &str, image: std::path::PathBuf) -> (Runtime, Machine) {
    rig.world.instances.push(description(user_data));
    let world = watch::Sender::new(Arc::new(rig.world.clone())).subscribe();
    let runtime = Runtime::new().unwrap();
    let at = |address: Ipv4Addr, port: u16| bind_tcp(ROUTER, SocketAddr::from((address, port))).unwrap();
    // The instance has no role, so IMDS needs no moto for credentials.
    let imds = Imds::new(world, Upstream::new("http://127.0.0.1:9"), Sessions::default());
    let metadata = at(METADATA, 80);
    let udp = bind_udp(ROUTER, SocketAddr::from((RESOLVER, 53))).unwrap();
    let tcp = at(RESOLVER, 53);
    let zone = Zone::new("eu-west-1", vec!["10.0.0.0/16".parse().unwrap()]).with("deb.debian.org", &[API]);
    let packages = at(API, 80);
    let files = Files::default().with("/", images().repository());
    runtime.spawn(async move { imds.serve(metadata).await });
    runtime.spawn(dns::serve(zone, udp, tcp));
    runtime.spawn(async move { files.serve(Door::plain(packages)).await });
    let spec = Spec {
        id: ID.into(),
        image,
        interface: A.into(),
        address: ADDRESS_A,
        region: "eu-west-1".into(),
        resolver: RESOLVER,
        ca: None,
    };
    let machine = Machine::create(&rig.dir, spec).unwrap();
    (runtime, machine)
}

fn description(user_data: &str) -> Instance {
    Instance {
        id: ID.into(),
        state: InstanceState::Running,
        launch_index: 0,
        instance_type: "t3.small".into(),
        image: "ami-1".into(),
        subnet: Some("subnet-a".into()),
        vpc: Some("vpc-1".into()),
        zone: "eu-west-1a".into(),
        address: Some(ADDRESS_A),
        interface: Some(A.into()),
        mac: Some("02:00:00:00:00:0a".into()),
        role: None,
        profile_arn: None,
        user_data: Some(STANDARD.encode(user_data)),
        tags: Tags::new(),
        target_lifecycle_state: None,
        metadata_tags: true,
        hop_limit: Some(1),
        tokens: Some("required".into()),
        launched: "2026-01-02T03:04:05Z".parse().unwrap(),
        reservation: "r-1".into(),
    }
}
