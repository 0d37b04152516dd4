//! The rig of these tests: a small VPC with two nodes in two zones and a client in a third.

use std::collections::BTreeSet;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use lab::daemon::lock::{self, Lock};
use lab::dir::LabDir;
use lab::network::{Faults, Fixture, Network, Services, Setting, namespace};
use lab::sweep;
use lab::world::{Interface, Permission, Route, RouteState, RouteTable, SecurityGroup, Subnet, Tags, Vpc, World};

pub const A: &str = "eni-0aaaaaaaaaaaaaaaa";
pub const B: &str = "eni-0bbbbbbbbbbbbbbbb";
pub const CLIENT: &str = "client";
pub const VIP: Ipv4Addr = Ipv4Addr::new(10, 255, 0, 10);
pub const ADDRESS_A: Ipv4Addr = Ipv4Addr::new(10, 0, 1, 10);
pub const ADDRESS_B: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 10);
pub const API: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 3);
pub const RESOLVER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
pub const METADATA: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 254);
/// Long enough for an answer on a busy machine, short enough to detect silence quickly.
pub const PATIENCE: Duration = Duration::from_millis(700);

/// One test at a time: network namespaces are global on the host.
static TURN: Mutex<()> = Mutex::new(());

pub struct Rig {
    pub world: World,
    pub faults: Faults,
    pub network: Network,
    pub dir: LabDir,
    folder: tempfile::TempDir,
    _lock: Lock,
    _turn: MutexGuard<'static, ()>,
}

impl Rig {
    /// Builds the VPC's network; every table's route to the VIP leads to A.
    pub fn new() -> Rig {
        assert!(rustix::process::geteuid().is_root(), "these tests make network namespaces: run them as root");
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let folder = tempfile::tempdir().unwrap();
        let dir = LabDir::at(folder.path()).unwrap();
        let lock = lock::wait(&dir, Duration::from_secs(900)).unwrap();
        sweep::all(&dir).unwrap();
        let network = Network::open().unwrap();
        let mut rig = Rig { world: world(), faults: Faults::default(), network, dir, folder, _lock: lock, _turn: turn };
        rig.reconcile();
        rig
    }

    pub fn reconcile(&mut self) -> bool {
        let services =
            Services { metadata: METADATA, resolver: RESOLVER, api: BTreeSet::from([API]), hosts: BTreeSet::new() };
        let client = Fixture { name: CLIENT.into(), address: Ipv4Addr::new(10, 0, 3, 10), subnet: "subnet-c".into() };
        let setting = Setting {
            world: &self.world,
            vpc: "vpc-1",
            services: &services,
            fixtures: &[client],
            faults: &self.faults,
        };
        self.network.reconcile(&setting).unwrap()
    }

    /// Points every table's route to the VIP.
    pub fn route_vip(&mut self, interface: &str, state: RouteState) {
        for table in &mut self.world.route_tables {
            table.routes.retain(|r| r.destination.addr() != VIP);
            table.routes.push(Route {
                destination: VIP.into(),
                interface: Some(interface.into()),
                gateway: None,
                state,
            });
        }
        self.reconcile();
    }

    pub fn interface(&mut self, id: &str) -> &mut Interface {
        self.world.interfaces.iter_mut().find(|i| i.id == id).unwrap()
    }

    /// Gives a node the VIP on `lo`, and answers on a port with the node's name until the process ends.
    pub fn serve(&self, node: &str, port: u16) {
        let place = namespace::behind(node);
        self.run(node, &["ip", "address", "replace", "10.255.0.10/32", "dev", "lo"]);
        let address = SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
        let listener = namespace::enter(&place, || TcpListener::bind(address)).unwrap().unwrap();
        let name = node.to_owned();
        thread::spawn(move || {
            // A thread for each connection, so that one that is cut off can't block the others.
            for stream in listener.incoming().flatten() {
                let name = name.clone();
                thread::spawn(move || answer(stream, &name));
            }
        });
    }

    /// Runs a command in the network namespace of a machine.
    pub fn run(&self, node: &str, words: &[&str]) {
        let mut command = std::process::Command::new(words[0]);
        let status = namespace::enter(&namespace::behind(node), || command.args(&words[1..]).status());
        assert!(status.unwrap().unwrap().success(), "{words:?}");
    }

    /// Connects from a machine to an address; returns the name of the node that answers.
    pub fn ask(&self, from: &str, address: Ipv4Addr, port: u16) -> io::Result<String> {
        self.connect(from, address, port).and_then(|mut stream| question(&mut stream))
    }

    pub fn connect(&self, from: &str, address: Ipv4Addr, port: u16) -> io::Result<TcpStream> {
        let connect = || {
            let stream = TcpStream::connect_timeout(&(address, port).into(), PATIENCE)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            Ok(stream)
        };
        namespace::enter(&namespace::behind(from), connect).unwrap()
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        let swept = sweep::all(&self.dir);
        if !thread::panicking() {
            swept.unwrap();
            assert!(namespace::list().is_empty(), "the sweep left {:?}", namespace::list());
        }
        let _ = &self.folder;
    }
}

/// Sends a question on an open connection and waits for the answer.
pub fn question(stream: &mut TcpStream) -> io::Result<String> {
    stream.write_all(b"?")?;
    let mut answer = [0; 64];
    let length = stream.read(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer[..length]).into_owned())
}

fn answer(mut stream: TcpStream, name: &str) {
    let mut question = [0; 1];
    while stream.read_exact(&mut question).is_ok() {
        if stream.write_all(name.as_bytes()).is_err() {
            return;
        }
    }
}

/// Whether nothing came back: no answer, no refusal, no reset.
pub fn is_silence<T>(result: &io::Result<T>) -> bool {
    let kinds = [io::ErrorKind::TimedOut, io::ErrorKind::WouldBlock];
    result.as_ref().is_err_and(|e| kinds.contains(&e.kind()))
}

fn world() -> World {
    let zones = [("a", "10.0.1.0/24"), ("b", "10.0.2.0/24"), ("c", "10.0.3.0/24")];
    let subnets = zones.map(|(zone, cidr)| Subnet {
        id: format!("subnet-{zone}"),
        vpc: "vpc-1".into(),
        cidr: cidr.parse().unwrap(),
        zone: format!("eu-west-1{zone}"),
        zone_id: None,
        tags: Tags::new(),
    });
    let tables = ["a", "b", "main"].map(|name| RouteTable {
        id: format!("rtb-{name}"),
        vpc: "vpc-1".into(),
        main: name == "main",
        subnets: if name == "main" { vec![] } else { vec![format!("subnet-{name}")] },
        gateways: vec![],
        tags: Tags::new(),
        routes: vec![Route {
            destination: VIP.into(),
            interface: Some(A.into()),
            gateway: None,
            state: RouteState::Active,
        }],
    });
    let nodes = [(A, "subnet-a", ADDRESS_A, "02:00:00:00:00:0a"), (B, "subnet-b", ADDRESS_B, "02:00:00:00:00:0b")];
    let interfaces = nodes.map(|(id, subnet, address, mac)| Interface {
        id: id.into(),
        subnet: subnet.into(),
        vpc: "vpc-1".into(),
        address,
        mac: mac.into(),
        source_dest_check: false,
        groups: vec!["sg-1".into()],
        instance: Some(format!("i-{subnet}")),
        status: "in-use".into(),
        tags: Tags::new(),
    });
    World {
        region: "eu-west-1".into(),
        vpcs: vec![Vpc { id: "vpc-1".into(), cidrs: vec!["10.0.0.0/16".parse().unwrap()] }],
        subnets: subnets.into(),
        route_tables: tables.into(),
        security_groups: vec![group()],
        interfaces: interfaces.into(),
        ..World::default()
    }
}

/// Allows port 80 from the VPC, VRRP and port 9110 from members, and all outgoing traffic.
fn group() -> SecurityGroup {
    let permission = |protocol: &str, port: Option<i32>, cidrs: &[&str], groups: &[&str]| Permission {
        protocol: protocol.into(),
        from: port,
        to: port,
        cidrs: cidrs.iter().map(|c| c.parse().unwrap()).collect(),
        groups: groups.iter().map(|g| g.to_string()).collect(),
    };
    SecurityGroup {
        id: "sg-1".into(),
        vpc: "vpc-1".into(),
        name: "elbow-web".into(),
        tags: Tags::new(),
        ingress: vec![
            permission("tcp", Some(80), &["10.0.0.0/16"], &[]),
            permission("112", None, &[], &["sg-1"]),
            permission("tcp", Some(9110), &[], &["sg-1"]),
        ],
        egress: vec![permission("-1", None, &["0.0.0.0/0"], &[])],
    }
}
