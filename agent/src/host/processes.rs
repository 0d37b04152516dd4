//! Watches the processes of a program, such as HAProxy's master and workers, by descriptors that become readable when a
//! process ends (pidfd_open(2)). An end is only a reason to check: a reload ends workers, too.

use std::collections::BTreeSet;
use std::fs;
use std::future::Future;
use std::path::Path;
use std::pin::Pin;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

type ProcessEnd = Pin<Box<dyn Future<Output = i32> + Send>>;

/// The watched processes called `name`.
pub struct Processes {
    name: &'static str,
    watched: BTreeSet<i32>,
    endings: FuturesUnordered<ProcessEnd>,
}

impl Processes {
    pub fn named(name: &'static str) -> Processes {
        Processes { name, watched: BTreeSet::new(), endings: FuturesUnordered::new() }
    }

    /// Starts watching new processes.
    pub fn look(&mut self) {
        for pid in found(self.name).difference(&self.watched.clone()) {
            match ending(*pid) {
                Ok(ending) => {
                    self.watched.insert(*pid);
                    self.endings.push(ending);
                }
                // The process has ended already.
                Err(Errno::SRCH) => {}
                // Linux before 5.3 has no pidfds: the regular checks must do.
                Err(error) => tracing::debug!(pid, %error, "cannot watch a process of {}", self.name),
            }
        }
    }

    /// Whether no process is watched.
    pub fn is_empty(&self) -> bool {
        self.watched.is_empty()
    }

    /// Waits until one of them ends. Cancel safe: the next call returns an end that this one missed.
    pub async fn end(&mut self) {
        match self.endings.next().await {
            Some(pid) => drop(self.watched.remove(&pid)),
            None => std::future::pending().await,
        }
    }
}

fn ending(pid: i32) -> Result<ProcessEnd, Errno> {
    let process = pidfd_open(Pid::from_raw(pid).ok_or(Errno::SRCH)?, PidfdFlags::NONBLOCK)?;
    // Its replacement is unsafe, because other types may close their descriptor early.
    #[expect(deprecated, reason = "an OwnedFd is open for as long as it is owned")]
    let process = AsyncFd::with_interest(process, Interest::READABLE).map_err(|_| Errno::IO)?;
    Ok(Box::pin(async move {
        let _ = process.readable().await;
        pid
    }))
}

/// The ids of the processes called `name` (proc(5), `/proc/pid/comm`).
fn found(name: &str) -> BTreeSet<i32> {
    let named = |folder: &Path| fs::read_to_string(folder.join("comm")).is_ok_and(|comm| comm.trim_end() == name);
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path())))
        .filter_map(|(pid, folder): (i32, _)| named(&folder).then_some(pid))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn the_end_of_one_of_several_processes_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("elbow-ends");
        fs::copy("/bin/sleep", &program).unwrap();
        let mut children = [0, 1].map(|_| Command::new(&program).arg("60").spawn().unwrap());
        let mut processes = Processes::named("elbow-ends");
        let both = async {
            while processes.watched.len() < 2 {
                processes.look();
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), both).await.expect("both are found");
        assert!(tokio::time::timeout(Duration::from_millis(50), processes.end()).await.is_err());
        children[0].kill().unwrap();
        tokio::time::timeout(Duration::from_secs(10), processes.end()).await.expect("an end");
        assert_eq!(processes.watched, BTreeSet::from([children[1].id() as i32]));
        children[1].kill().unwrap();
        for mut child in children {
            child.wait().unwrap();
        }
    }
}
