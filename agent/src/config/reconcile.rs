//! Restores what another program or a person changes on the node: virtual IPs on `lo`, kernel settings, and the interface's
//! source/destination check. keepalived, the metadata rules and the second chance are restored by their own tasks.

use std::sync::Arc;
use std::time::Duration;

use aws_sdk_ec2::Client;
use templates::files::sysctl_conf;
use tokio::sync::{Mutex, Notify, watch};

use super::boot::{Local, source_dest};
use crate::aws::ids::InstanceId;
use crate::host::kernel_events::{KernelEvents, Subject};
use crate::host::logs::CONSOLE;
use crate::host::{loopback, sysctl};
use crate::node::members::Member;
use crate::node::state::{Board, Topic};
use crate::polling::refresh::Latest;

/// The interval of checks of the kernel's settings: the kernel doesn't report changes of settings.
const SETTINGS: Duration = Duration::from_secs(3);

/// Checks and restores forever: virtual IPs when an address changes or `asked` is notified, settings regularly.
pub async fn keep(local: Arc<Mutex<Local>>, board: Board, asked: Arc<Notify>) {
    let mut addresses = KernelEvents::about(Subject::Addresses);
    let mut ticks = tokio::time::interval(SETTINGS);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut uncarried = false;
    loop {
        let check_settings = tokio::select! {
            () = addresses.due() => false,
            () = asked.notified() => false,
            _ = ticks.tick() => true,
        };
        // An in-place update holds the lock while it changes the same things.
        let local = local.lock().await;
        if check_settings {
            show(&board, Topic::Settings, set(&local));
        }
        if !check_settings || uncarried {
            let carried = carry(&local).await;
            uncarried = carried.is_err();
            show(&board, Topic::NodeState, carried);
        }
    }
}

/// Logs a new failure, and shows it on the board.
fn show(board: &Board, topic: Topic, outcome: anyhow::Result<()>) {
    let problem = outcome.err().map(|error| format!("cannot restore this node's state: {error:#}"));
    if let Some(problem) = board.problem(topic, problem) {
        tracing::error!(target: CONSOLE, "{problem}");
    }
}

async fn carry(local: &Local) -> anyhow::Result<()> {
    if loopback::ensure(&local.balancer.virtual_ips).await? {
        tracing::warn!(target: CONSOLE, "restored the virtual IPs on lo, which another program changed");
    }
    Ok(())
}

fn set(local: &Local) -> anyhow::Result<()> {
    for sysctl::Restored { file, found, wanted } in sysctl::ensure(&sysctl_conf(&local.balancer))? {
        let setting = file.display();
        tracing::warn!(target: CONSOLE, %setting, found, wanted, "restored a kernel setting, which another program changed");
    }
    Ok(())
}

/// Switches the source/destination check off again if a read of the members shows that it was switched on.
pub(crate) async fn keep_check_off(
    client: Client,
    instance: InstanceId,
    board: Board,
    mut members: watch::Receiver<Latest<Member>>,
) {
    let mut was_off = false;
    loop {
        let own = members.borrow_and_update().all.iter().find(|member| member.instance == instance).cloned();
        let is_on = own.as_ref().is_some_and(|member| member.source_dest_check);
        if is_on && was_off {
            tracing::warn!(target: CONSOLE, "another program switched the source/destination check on");
        }
        if own.is_some() {
            was_off = !is_on;
        }
        if was_off {
            board.problem(Topic::SourceDestCheck, None);
        }
        // Each read says whether it still is on.
        let switching = async {
            if is_on {
                source_dest::switch_off(&client, &instance, &board).await;
            }
            std::future::pending::<()>().await;
        };
        tokio::select! {
            changed = members.changed() => if changed.is_err() { return },
            () = switching => {}
        }
    }
}
