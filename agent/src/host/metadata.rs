//! Keeps programs that serve clients from the instance metadata service, which gives the node's credentials to any
//! program.
//! The nftables rules are loaded before HAProxy starts, and then repeatedly, as other programs may flush tables.

use std::path::Path;
use std::time::Duration;

use templates::files::metadata_nft;
use templates::{Balancer, paths};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::host::files::write_aside;
use crate::host::kernel_events::{KernelEvents, Subject};
use crate::host::logs::CONSOLE;
use crate::host::nft::{Chain, Found};
use crate::host::process;
use crate::node::state::{Board, Topic};

/// The interval of reloads, in case another program changed a rule.
const RELOAD: Duration = Duration::from_secs(60);
/// The pause after a failed load.
const AGAIN: Duration = Duration::from_secs(4);
const CHAIN: Chain = Chain { family: "inet", table: "elbow_metadata", name: "departures" };
const USERS: &str = "/etc/passwd";

/// Writes the rules for HAProxy's unit, which loads them at each start, and loads them now.
pub async fn guard(balancer: &Balancer) -> anyhow::Result<()> {
    let users = std::fs::read_to_string(USERS).unwrap_or_default();
    let rules = metadata_nft(balancer, |name| has_user(&users, name));
    let path = Path::new(paths::METADATA);
    if std::fs::read_to_string(path).is_ok_and(|present| present == rules) {
        return process::run("nft", &["-f", paths::METADATA]).await.map(drop);
    }
    // The rules are loaded even if the disk is full or read-only.
    let written = write_aside(path, rules.clone()).await;
    process::feed("nft", &["-f", "-"], &rules).await?;
    written
}

/// The problem on the board after [`guard`] failed.
pub fn problem(error: &anyhow::Error) -> String {
    format!("HAProxy's user can read the credentials of this node's role: {error:#}")
}

/// Keeps the rules loaded, and updates them with the balancer.
pub async fn keep(board: Board, mut balancer: watch::Receiver<Balancer>) {
    // The boot loaded them, unless the board shows a problem.
    let failed_at_boot = board.read().problems.contains_key(&Topic::Metadata);
    let mut due = Instant::now() + if failed_at_boot { AGAIN } else { RELOAD };
    let mut rules = KernelEvents::about(Subject::Rules);
    loop {
        tokio::select! {
            changed = balancer.changed() => if changed.is_err() { return },
            () = tokio::time::sleep_until(due) => {}
            () = rules.due() => {
                match CHAIN.look().await {
                    Found::Rules => continue,
                    Found::Nothing => {
                        tracing::warn!(target: CONSOLE, "another program removed the metadata rules; loading them again");
                    }
                    // A load is harmless, and its failure is shown.
                    Found::Unknown => {}
                }
            }
        }
        let wanted = balancer.borrow_and_update().clone();
        let failed = guard(&wanted).await.err().map(|error| problem(&error));
        due = Instant::now() + if failed.is_some() { AGAIN } else { RELOAD };
        if let Some(problem) = board.problem(Topic::Metadata, failed) {
            tracing::error!("{problem}");
        }
    }
}

/// Whether a user has this name (passwd(5)).
fn has_user(users: &str, name: &str) -> bool {
    users.lines().any(|line| line.split(':').next() == Some(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_matched_by_its_whole_name() {
        let users = "root:x:0:0:root:/root:/bin/bash\nec2-instance-connect:x:998:996::/home:/sbin/nologin\n";
        assert!(has_user(users, "root") && has_user(users, "ec2-instance-connect"));
        assert!(!has_user(users, "ec2-instance") && !has_user(users, "x") && !has_user("", "root"));
    }
}
