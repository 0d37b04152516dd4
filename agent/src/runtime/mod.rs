//! `agent run`: configures the node, then starts the tasks that make the routes follow keepalived.

mod observability;
mod tasks;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use templates::paths;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Mutex, Notify, watch};

use crate::auto_scaling::hook_completion::Member;
use crate::auto_scaling::termination_hook::TerminationHook;
use crate::auto_scaling::unhealthy::Replacing;
use crate::aws::imds::{self, Imds};
use crate::config::boot;
use crate::config::reconcile;
use crate::config::update::Updater;
use crate::handover::Handover;
use crate::host::{files, http, metadata, systemd};
use crate::keepalived::Fifo;
use crate::keepalived::api_track;
use crate::keepalived::elections::Elections;
use crate::keepalived::reconfigure;
use crate::node::{report, status};
use crate::ownership::route_owner::RouteOwner;
use crate::path_watch::{self, PathWatch, Response};
use crate::peers::tagged_strangers;
use crate::polling::refresh::{Hints, Latest, Refresher};
use crate::takeover::Caller;
use crate::target_health::{self, Channels};
use crate::telemetry::notify::Outbox;
use crate::{handover, haproxy, listener_probe, peers, second_chance};
use tasks::Tasks;

/// The shortest interval between reads that events at the peers cause.
const NEWS: Duration = Duration::from_secs(2);
/// How long a stopping agent keeps sending events to the webhook.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Runs until SIGTERM or SIGINT. HAProxy and keepalived keep running without the agent.
pub async fn run() -> anyhow::Result<()> {
    let mut terminated = signal(SignalKind::terminate())?;
    let mut interrupted = signal(SignalKind::interrupt())?;
    let (stopper, stop) = handover::channel();
    let outbox = Outbox::default();
    let mut serving = std::pin::pin!(serve(stop, &outbox));
    tokio::select! {
        ended = &mut serving => return ended,
        _ = terminated.recv() => {}
        _ = interrupted.recv() => {}
    }
    systemd::notify("STOPPING=1");
    tokio::select! {
        ended = &mut serving => return ended,
        () = stopper.stop() => {}
        // A second signal ends the agent at once.
        _ = terminated.recv() => {}
        _ = interrupted.recv() => {}
    }
    outbox.flush(LAST_WORDS).await;
    tracing::info!("stopping the agent; HAProxy and keepalived keep running");
    Ok(())
}

async fn serve(stop: handover::Stop, outbox: &Outbox) -> anyhow::Result<()> {
    files::make_folder(Path::new(paths::RUN)).with_context(|| format!("making {}", paths::RUN))?;
    // The FIFO is open before keepalived starts, so that no state change is lost.
    let fifo = Fifo::open(Path::new(paths::FIFO))?;
    let node = boot::configure().await?;
    systemd::notify("READY=1");

    let board = node.board.clone();
    let hints = Arc::new(Hints::default());
    let reloaded = Arc::new(Notify::new());
    let tables = watch::Sender::new(Latest::before(node.tables.clone().unwrap_or_default(), node.tables.is_some()));
    let members = watch::Sender::new(Latest::before(node.members.clone(), node.listed));
    let http = http::client()?;
    let caller = Caller::new(node.api.client.clone());
    let target_health = Channels::new(&node.facts.tags);
    let watched = observability::start(&node, outbox, tables.subscribe(), target_health.snapshot.subscribe())?;
    let route_owner = |vip| RouteOwner {
        caller: caller.clone(),
        http: http.clone(),
        board: board.clone(),
        tables: tables.subscribe(),
        members: members.subscribe(),
        hints: hints.clone(),
        recorder: watched.recorder.clone(),
        subnets: node.local.balancer.subnets.clone().into(),
        vip,
    };
    let elections = Elections::new(&node, route_owner);

    let mut tasks = Tasks::default();
    tasks.once(systemd::stay_alive());
    let api = node.api.clone();
    tasks.forever("connections to the API", async move { api.keep_warm().await });
    tasks.forever("API reachability", api_track::track_api(node.api.clone(), Path::new(paths::API_TRACK)));
    let reported = target_health.tags.subscribe();
    tasks.forever("target health", target_health::watch(board.clone(), outbox.clone(), target_health));
    tasks.forever("HAProxy watch", haproxy::watch(board.clone(), Path::new(paths::HAPROXY_TRACK)));
    let preference = Arc::<handover::Preference>::default();
    let (complain, complaints) = path_watch::channel();
    let beside = handover::page(board.clone(), preference.clone(), node.api.clone()).merge(watched.page);
    let beside = beside.merge(path_watch::page(board.clone(), complain));
    let readers = node.local.balancer.metrics.clone().map_or_else(Vec::new, |metrics| metrics.clients);
    tasks.forever("health page", peers::serve(board.clone(), hints.bells.clone(), beside, readers));
    let (triggers, wished) = watch::channel(None);
    tasks.forever("handover triggers", handover::watch(Imds::at(imds::ADDRESS, http.clone()), triggers));
    let balancer = watch::Sender::new(node.local.balancer.clone());
    let client = node.api.client.clone();
    let (api, instance) = (node.api.clone(), node.facts.instance.clone());
    let member = Member { api, instance, board: board.clone(), balancer: balancer.subscribe() };
    tasks.once(member.clone().arrive());
    tasks.forever("termination hook", TerminationHook { member, http: http.clone(), triggers: wished.clone() }.run());
    let (broken, give_up) = watch::channel(None);
    let changes = balancer.subscribe();
    let handover = Handover::new(client, http.clone(), board.clone(), changes, preference, wished, give_up);
    tasks.once(handover.run(stop));
    let replacing = Replacing {
        api: node.api.clone(),
        board: board.clone(),
        balancer: balancer.subscribe(),
        members: members.subscribe(),
        tables: tables.subscribe(),
        hints: hints.clone(),
    };
    tasks.forever("node replacement", replacing.run());
    tasks.forever("peer watch", peers::watch(http.clone(), board.clone(), hints.peers.clone()));
    tasks.forever("peer news", news(hints.clone(), reloaded.clone()));
    let path_watch = PathWatch {
        board: board.clone(),
        http: http.clone(),
        outbox: outbox.clone(),
        interface: node.local.interface.clone(),
        subnet: node.facts.subnet.clone(),
        zone: node.facts.zone.clone(),
    };
    tasks.forever("path watch", path_watch.run());
    tasks.forever("answers to probes", path_watch::answer(board.clone()));
    let restore = Arc::new(Notify::new());
    let response = Response {
        board: board.clone(),
        interface: node.facts.interface.clone(),
        hints: hints.clone(),
        tables: tables.subscribe(),
        members: members.subscribe(),
        restore: restore.clone(),
        broken,
    };
    tasks.forever("complaints", response.run(complaints));
    tasks.forever("state file", status::write_down(board.clone()));
    tasks.forever("tagged strangers", tagged_strangers::name(node.observer.clone()));
    let (client, facts) = (node.api.client.clone(), node.facts.clone());
    let reporting = board.clone();
    let imds = Imds::at(imds::ADDRESS, http.clone());
    let report = async move { report::report(client, facts.instance, imds, reporting, reported, &facts.tags).await };
    tasks.forever("tags", report);
    let probed = Imds::at(imds::ADDRESS, http.clone());
    tasks.forever("listener probe", listener_probe::answer(probed, board.clone(), balancer.subscribe()));
    tasks.once(second_chance::keep(node.local.clone(), board.clone()));
    tasks.forever("metadata rules", metadata::keep(board.clone(), balancer.subscribe()));
    let local = Arc::new(Mutex::new(node.local.clone()));
    let changes = balancer.subscribe();
    let (observer, client) = (node.observer.clone(), node.api.client.clone());
    let (imds, asked) = (Imds::at(imds::ADDRESS, http.clone()), hints.clone());
    let look = Box::new(move || asked.look.notify_one());
    let (told, place) = (board.clone(), local.clone());
    let updater = Updater { imds, client, board: told, observer, local: place, balancer, look, http };
    tasks.forever("updates", updater.run());
    let (client, instance) = (node.api.client.clone(), node.facts.instance.clone());
    let off = reconcile::keep_check_off(client, instance, board.clone(), members.subscribe());
    tasks.forever("source/destination check", off);
    tasks.forever("node state", reconcile::keep(local.clone(), board.clone(), restore));
    tasks.forever("stick tables", haproxy::reconfigure::upkeep(local.clone(), board.clone()));
    tasks.forever("keepalived", reconfigure::upkeep(local, board.clone(), node.applied.clone(), reloaded.clone()));
    let followed = changes.clone();
    tasks.forever("refresher", Refresher::new(&node, tables, members, hints, followed).run());
    tokio::select! {
        ended = elections.follow(fifo, node.keepalived_ran, changes) => ended,
        lost = tasks.lost() => Err(lost),
    }
}

/// Requests a new read of the routes after each event at the peers: at once, then at most every two seconds.
async fn news(hints: Arc<Hints>, reloaded: Arc<Notify>) {
    loop {
        tokio::select! {
            () = hints.bells.stepped_back.notified() => {}
            () = hints.peers.notified() => {}
            // Until keepalived knows a new peer, that peer may have become MASTER as well.
            () = reloaded.notified() => {}
        }
        hints.news.send_modify(|count| *count += 1);
        tokio::time::sleep(NEWS).await;
    }
}
