//! Configures a booted machine as a node. The agent finds its instance, slot and peers, and sets up the interface,
//! `lo`, HAProxy, and keepalived once HAProxy answers. Each wait for the API has a limit: a node without a peer serves
//! alone rather than not at all.

mod facts;
mod first_reads;
mod install;
pub mod services;
pub mod source_dest;

use std::net::Ipv4Addr;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use templates::balancer::{NodeConfig, Revision};
use templates::{Balancer, Slot, paths};

use crate::aws::ec2::{self, Api};
use crate::aws::imds::{self, Facts, Imds};
use crate::handover;
use crate::haproxy::{self, Serves};
use crate::host::files;
use crate::host::logs::CONSOLE;
use crate::host::{http, loopback, metadata, systemd};
use crate::keepalived;
use crate::node::members::{self, Member, Roster};
use crate::node::observe::Observer;
use crate::node::report;
use crate::node::report_tags::Reports;
use crate::node::state::{Board, Change, State, Topic, VirtualIp};
use crate::node::tables::Table;
use crate::peers::{self, Health};

pub use first_reads::unreadable;
pub use services::{Failed, Local};

/// How long the boot waits for the source/destination check to be off; the attempt goes on after that.
const SOURCE_DEST_LIMIT: Duration = Duration::from_secs(5);

/// A configured node, and what it read at boot.
#[derive(Debug)]
pub struct Node {
    /// This instance's facts.
    pub facts: Facts,
    /// What the configurations of HAProxy and keepalived depend on.
    pub local: Local,
    pub api: Api,
    /// Reads the API.
    pub observer: Observer,
    /// The node's shared state.
    pub board: Board,
    /// The members, as far as they are known.
    pub members: Vec<Member>,
    /// Whether the list of members was ever read.
    pub listed: bool,
    /// The peers.
    pub roster: Roster,
    /// The route tables; `None` if they weren't read.
    pub tables: Option<Vec<Table>>,
    /// The peers in keepalived's configuration; `None` if keepalived isn't up.
    pub applied: Option<Vec<Ipv4Addr>>,
    /// Whether keepalived ran before this agent, which then missed its events.
    pub keepalived_ran: bool,
    /// Whether members and route tables are an earlier agent's, and have to be read.
    pub outdated: bool,
}

/// `agent configure`.
pub async fn command() -> anyhow::Result<()> {
    let node = configure().await?;
    let state = node.board.read();
    if let Err(error) = report::report_once(&node.api.client, &state).await {
        tracing::warn!("cannot write this node's tags: {error}");
    }
    match state.message() {
        None => Ok(()),
        Some(problem) => bail!("{problem}"),
    }
}

/// The node's configuration, as cloud-init wrote it.
pub fn load() -> anyhow::Result<NodeConfig> {
    let text = std::fs::read_to_string(paths::BALANCER).with_context(|| format!("reading {}", paths::BALANCER))?;
    NodeConfig::parse(&text).with_context(|| format!("reading {}", paths::BALANCER))
}

pub async fn configure() -> anyhow::Result<Node> {
    let NodeConfig { revision, balancer } = load()?;
    let http = http::client()?;
    files::make_folder(Path::new(paths::RUN)).with_context(|| format!("making {}", paths::RUN))?;
    let keepalived_ran = systemd::is_active(keepalived::UNIT).await;
    if !keepalived_ran {
        // keepalived starts in FAULT, and leaves it when its track files allow it.
        haproxy::tell_keepalived(Path::new(paths::HAPROXY_TRACK), Serves::No)?;
        files::write_track(Path::new(paths::API_TRACK), 0)?;
    }
    handover::prepare(&balancer.virtual_ips)?;
    let facts = facts::until_known(&Imds::at(imds::ADDRESS, http.clone())).await;
    tracing::info!(target: CONSOLE, instance = %facts.instance, zone = %facts.zone, address = %facts.address, %revision,
        balancer = balancer.name, "configuring this node");
    let api = ec2::connect(&facts.region);
    let observer = Observer::new(api.client.clone(), &balancer, &facts);
    let slot = Slot::of(&facts.subnet, &balancer.subnets);
    let local = Local { slot, address: facts.address, interface: facts::link(&facts.mac)?, balancer };
    // A restarted agent begins with the last agent's snapshot, as keepalived may have made this node MASTER meanwhile.
    // It reads the API again while it serves.
    let before = if keepalived_ran { first_reads::known(&facts) } else { None };
    let is_known = before.is_some();
    let gathering = async {
        match before {
            Some(found) => found,
            None => first_reads::gather(&observer, &local.balancer, &facts).await,
        }
    };
    // With stick tables haproxy.cfg names the peers. An HAProxy that started without them would need a reload at once.
    let needs_peers = local.balancer.shares_tables();
    let preparing = async {
        let mut failed = prepare(&local.balancer).await;
        if !needs_peers {
            failed.extend(services::haproxy(&local, &[]).await);
        }
        failed
    };
    let (found, mut failed) = tokio::join!(gathering, preparing);

    let listed = found.listed;
    let members = first_reads::with_me(found.members, &facts);
    let roster = Roster::of(&members, facts.address);
    tracing::info!(target: CONSOLE, %slot, subnet = facts.subnet, peers = ?roster.peers(), "found this node's slot");
    let mut sharing = None;
    if needs_peers {
        let peers = roster.peers();
        if !keepalived_ran {
            until_named(&http, local.address, &peers).await;
        }
        let refused = services::haproxy(&local, &peers).await;
        if refused.is_empty() {
            sharing = Some(peers);
        }
        failed.extend(refused);
    }
    let tables = found.tables.as_deref().unwrap_or_default();
    let board = board(&local, &facts, revision, &members, tables);
    board.change(|state| state.sharing = sharing);
    for (topic, problem) in found.problems {
        board.problem(topic, Some(problem));
    }
    if !is_known {
        let answered = |topic: &Topic| !board.read().problems.contains_key(topic);
        let read = [Topic::Members, Topic::Tables].into_iter().filter(answered).map(|topic| (topic, Instant::now()));
        let read: Vec<_> = read.collect();
        board.change(|state| state.read.extend(read));
    }
    failed.into_iter().for_each(|failed| failed.show(&board));

    let checked = members.iter().any(|member| member.instance == facts.instance && member.source_dest_check);
    let limit = if is_known { Duration::ZERO } else { SOURCE_DEST_LIMIT };
    let switching = checked.then(|| {
        let (client, instance, board) = (api.client.clone(), facts.instance.clone(), board.clone());
        tokio::spawn(async move { source_dest::switch_off(&client, &instance, &board).await })
    });
    let switched = async {
        if let Some(switching) = switching {
            let _ = tokio::time::timeout(limit, switching).await;
        }
    };
    let ((), applied) = tokio::join!(switched, elect(&local, &board, &http, &roster));
    Ok(Node {
        facts,
        local,
        api,
        observer,
        board,
        members,
        listed,
        roster,
        tables: found.tables,
        applied,
        keepalived_ran,
        outdated: is_known,
    })
}

fn board(local: &Local, facts: &Facts, revision: Revision, members: &[Member], tables: &[Table]) -> Board {
    let board = Board::new(State {
        balancer: local.balancer.name.clone(),
        instance: facts.instance.clone(),
        address: facts.address,
        zone: facts.zone.clone(),
        slot: local.slot,
        revision,
        virtual_ips: first_roles(&local.balancer.virtual_ips),
        haproxy: Serves::No,
        peers: Roster::of(members, facts.address).peers(),
        sharing: None,
        answering: vec![],
        ending: vec![],
        instances: members::instances(members),
        reports: Reports::written(&facts.tags),
        change: Change::None,
        route_tables: tables.iter().map(|table| table.id.clone()).collect(),
        leaving: None,
        problems: Default::default(),
        astray: Default::default(),
        read: Default::default(),
    });
    if facts.vpc != local.balancer.vpc {
        let wrong = format!("this node is in {}, its balancer is for {}", facts.vpc, local.balancer.vpc);
        board.problem(Topic::Configuration, Some(wrong));
    }
    board
}

fn first_roles(vips: &[Ipv4Addr]) -> Vec<VirtualIp> {
    vips.iter().copied().map(VirtualIp::unheard).collect()
}

/// Sets up what HAProxy needs: the virtual IPs, and the rules that guard the metadata service. Returns what failed.
async fn prepare(balancer: &Balancer) -> Vec<Failed> {
    let carried = loopback::ensure(&balancer.virtual_ips).await;
    let carried = carried.map_err(|error| Failed { topic: Topic::Configuration, error });
    // Before HAProxy runs. If the rules fail, HAProxy runs all the same.
    let guarded = metadata::guard(balancer).await.map_err(|error| anyhow::anyhow!(metadata::problem(&error)));
    let guarded = guarded.map_err(|error| Failed { topic: Topic::Metadata, error });
    carried.err().into_iter().chain(guarded.err()).collect()
}

/// Waits until the HAProxy of each peer that shares stick tables names this node. It refuses a node that it doesn't
/// name.
async fn until_named(http: &reqwest::Client, me: Ipv4Addr, peers: &[Ipv4Addr]) {
    let names = |health: &Health| health.sharing.as_ref().is_none_or(|members| members.contains(&me));
    peers::join(http, peers, names).await;
}

/// Takes part in the elections, if HAProxy answers. Returns the peers that keepalived runs with.
async fn elect(local: &Local, board: &Board, http: &reqwest::Client, roster: &Roster) -> Option<Vec<Ipv4Addr>> {
    if haproxy::answers().await.is_err() {
        return None;
    }
    board.change(|state| state.haproxy = Serves::Yes);
    tracing::info!(target: CONSOLE, "HAProxy answers");
    let peers = roster.peers();
    // A keepalived that runs is known to the peers already.
    if !systemd::is_active(keepalived::UNIT).await {
        peers::join(http, &peers, |health| health.peers.contains(&local.address)).await;
    }
    let outcome = local.keepalived(&peers).await;
    if let Err(error) = haproxy::tell_keepalived(Path::new(paths::HAPROXY_TRACK), Serves::Yes) {
        tracing::error!("cannot write keepalived's track file of HAProxy: {error:#}");
    }
    match outcome {
        Ok(()) => {
            tracing::info!(target: CONSOLE, "keepalived is up");
            Some(peers)
        }
        Err(failed) => {
            failed.show(board);
            None
        }
    }
}

impl Failed {
    /// Logs the failure, and shows it on the board.
    fn show(self, board: &Board) {
        let problem = format!("{:#}", self.error);
        tracing::error!("{problem}");
        board.problem(self.topic, Some(problem));
    }
}
