//! Restores what another program or a person changes on the node: virtual IPs on `lo`, kernel settings, and the interface's
//! source/destination check. keepalived, the metadata rules and the second chance are restored by their own tasks.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use aws_sdk_ec2::Client;
use templates::files::sysctl_conf;
use tokio::sync::{Mutex, watch};

use super::boot::{Local, source_dest};
use crate::aws::ids::InstanceId;
use crate::host::logs::CONSOLE;
use crate::host::loopback;
use crate::node::members::Member;
use crate::node::state::{Board, Topic};
use crate::polling::refresh::Latest;

/// The interval of checks.
const EVERY: Duration = Duration::from_secs(3);

/// Checks and restores forever.
pub async fn keep(local: Arc<Mutex<Local>>, board: Board) {
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        // An in-place update holds the lock while it changes the same things.
        let failed = restore(&*local.lock().await).await.err();
        let problem = failed.map(|error| format!("cannot restore this node's state: {error:#}"));
        if let Some(problem) = &problem
            && board.is_new(Topic::NodeState, problem)
        {
            tracing::error!(target: CONSOLE, "{problem}");
        }
        board.problem(Topic::NodeState, problem);
    }
}

/// Switches the source/destination check off again if a read of the members shows that it was switched on.
pub(crate) async fn keep_check_off(
    client: Client,
    instance: InstanceId,
    board: Board,
    mut members: watch::Receiver<Latest<Member>>,
) {
    // The API's answers lag behind the boot.
    let mut was_off = false;
    while members.changed().await.is_ok() {
        let own = members.borrow_and_update().all.iter().find(|member| member.instance == instance).cloned();
        match own {
            Some(member) if member.source_dest_check && was_off => {
                tracing::warn!(target: CONSOLE, "another program switched the source/destination check on");
                source_dest::switch_off(&client, &instance, &board).await;
            }
            Some(member) => was_off = !member.source_dest_check,
            None => {}
        }
    }
}

async fn restore(local: &Local) -> anyhow::Result<()> {
    for vip in loopback::restore(&local.balancer.virtual_ips).await? {
        tracing::warn!(target: CONSOLE, %vip, "restored a virtual IP on lo, which another program removed");
    }
    for (file, wanted) in settings(&sysctl_conf(&local.balancer)) {
        // The kernel may lack a setting.
        let Ok(found) = std::fs::read_to_string(&file) else { continue };
        if is_other(&found, &wanted) {
            std::fs::write(&file, &wanted).with_context(|| format!("writing {wanted} to {}", file.display()))?;
            let (setting, found) = (file.display(), found.trim());
            tracing::warn!(target: CONSOLE, %setting, found, wanted, "restored a kernel setting, which another program changed");
        }
    }
    Ok(())
}

/// The files in /proc/sys and their values (sysctl.d(5)).
fn settings(conf: &str) -> Vec<(PathBuf, String)> {
    let lines = conf.lines().filter(|line| !line.starts_with('#'));
    let pairs = lines.filter_map(|line| line.split_once(" = "));
    pairs.map(|(key, value)| (PathBuf::from("/proc/sys").join(key.replace('.', "/")), value.to_owned())).collect()
}

/// Whether the kernel's value differs. The kernel separates numbers by tabs.
fn is_other(found: &str, wanted: &str) -> bool {
    !found.split_whitespace().eq(wanted.split_whitespace())
}

#[cfg(test)]
mod tests {
    use templates::Balancer;

    use super::*;

    #[test]
    fn settings_are_read_from_the_rendered_file() {
        let balancer = Balancer::parse(include_str!("../../../templates/goldens/small/balancer.toml")).unwrap();
        let settings = settings(&sysctl_conf(&balancer));
        let has = |file: &str, value: &str| settings.contains(&(file.into(), value.into()));
        assert!(has("/proc/sys/net/core/somaxconn", "8192"), "{settings:?}");
        assert!(has("/proc/sys/net/ipv4/conf/all/rp_filter", "0"), "{settings:?}");
        assert!(settings.iter().all(|(file, _)| file.starts_with("/proc/sys/net")), "{settings:?}");
    }

    #[test]
    fn a_value_differs_by_its_words_not_by_its_spaces() {
        assert!(!is_other("10240\t65535\n", "10240 65535"));
        assert!(!is_other("8192\n", "8192"));
        assert!(is_other("128\n", "8192") && is_other("", "8192") && is_other("10240\t60999\n", "10240 65535"));
    }
}
