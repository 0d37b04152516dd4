//! The client of the data plane: wrk in an instance, as one process for each of eight client addresses. One address has
//! 28,000 ports, and so only seconds of new connections; a closed connection keeps its port for a minute.

use std::net::Ipv4Addr;

use anyhow::{Context, Result};
use lab::observations::eligible_tables;
use lab::rig::Rig;

use crate::figures::{self, Figures};
use crate::others::{Account, Node};
use crate::results::Traffic;

/// The client's addresses are in a network outside the VPC. A route leads to the client's instance, as to an
/// appliance that forwards packets: EC2 gives an instance fewer addresses.
pub const NETWORK: &str = "100.64.7.0/28";
/// One of them.
const FIRST: Ipv4Addr = Ipv4Addr::new(100, 64, 7, 1);
pub const ADDRESSES: usize = 8;
/// Open connections from each address.
pub const CONNECTIONS: usize = 8;
/// The host of each request, for which the last of the large balancer's rules is.
pub const HOST: &str = "host-200.example.com";
/// wrk's script, and what runs wrk.
const FILES: [(&str, &str); 3] = [
    ("/opt/bench/addresses.sh", include_str!("client/addresses.sh")),
    ("/opt/bench/load.sh", include_str!("client/load.sh")),
    ("/opt/bench/figures.lua", include_str!("client/figures.lua")),
];

/// A running instance with the client's addresses.
pub struct Client {
    node: Node,
}

impl Client {
    /// Launches it. The VPC's routes lead its addresses' packets to it, and the account's other instances admit them.
    pub fn launch(rig: &Rig, account: &Account) -> Result<Client> {
        let node = account.launch(rig, "private-a")?;
        account.admit(rig, NETWORK)?;
        for table in eligible_tables(rig, &rig.status()?.vpc)? {
            let what = ["--route-table-id", &table, "--destination-cidr-block", NETWORK];
            let to = ["--network-interface-id", &node.interface];
            rig.aws(["ec2", "create-route"].into_iter().chain(what).chain(to))?;
        }
        for (path, content) in FILES {
            node.write(rig, path, content)?;
        }
        rig.inside(&node.id, &[FILES[0].0, &ADDRESSES.to_string()]).context("giving the client its addresses")?;
        Ok(Client { node })
    }

    /// Whether a request from one of the addresses gets a good answer.
    pub fn ask(&self, rig: &Rig, url: &str) -> Result<()> {
        let (host, from) = (format!("Host: {HOST}"), FIRST.to_string());
        let quiet = ["curl", "--silent", "--show-error", "--fail", "--output", "/dev/null", "--max-time", "2"];
        let asked = [&quiet[..], &["--header", &host, "--interface", &from, url]].concat();
        rig.inside(&self.node.id, &asked).with_context(|| format!("asking {url}")).map(drop)
    }

    /// Sends requests from all addresses for `seconds`, the next one as soon as a connection has its answer.
    pub fn load(&self, rig: &Rig, url: &str, traffic: Traffic, seconds: u32) -> Result<Figures> {
        let numbers = [ADDRESSES.to_string(), CONNECTIONS.to_string(), seconds.to_string()];
        let host = format!("Host: {HOST}");
        let mut command = vec![FILES[1].0];
        command.extend(numbers.iter().map(String::as_str));
        command.extend(["--header", &host]);
        if traffic == Traffic::NewConnections {
            command.extend(["--header", "Connection: close"]);
        }
        command.push(url);
        let printed = rig.inside(&self.node.id, &command).with_context(|| format!("sending requests to {url}"))?;
        figures::read(&printed, ADDRESSES).with_context(|| format!("requests to {url}"))
    }
}
