//! The tasks of a running agent. If a task that must not end does, the agent ends, and systemd restarts it.

use std::convert::Infallible;

use anyhow::anyhow;
use tokio::task::{JoinError, JoinSet};

/// A set of tasks. Dropping it aborts them.
#[derive(Default)]
pub(super) struct Tasks(JoinSet<Option<&'static str>>);

impl Tasks {
    /// Spawns a task that must never end.
    pub(super) fn forever(&mut self, name: &'static str, work: impl Future<Output = ()> + Send + 'static) {
        self.0.spawn(async move {
            work.await;
            Some(name)
        });
    }

    /// Spawns a task that may end.
    pub(super) fn once(&mut self, work: impl Future<Output = ()> + Send + 'static) {
        self.0.spawn(async move {
            work.await;
            None
        });
    }

    /// Waits for a task that ended although it must not, or panicked.
    pub(super) async fn lost(&mut self) -> anyhow::Error {
        loop {
            match self.0.join_next().await {
                Some(ended) => match judge(ended) {
                    Ok(()) => {}
                    Err(lost) => return lost,
                },
                None => match std::future::pending::<Infallible>().await {},
            }
        }
    }
}

fn judge(ended: Result<Option<&'static str>, JoinError>) -> anyhow::Result<()> {
    match ended {
        Ok(None) => Ok(()),
        Ok(Some(name)) => Err(anyhow!("task {name:?} ended; systemd restarts the agent")),
        Err(error) => Err(anyhow!("a task failed: {error}; systemd restarts the agent")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_endless_task_that_ends_is_named() {
        let mut tasks = Tasks::default();
        tasks.forever("waits", std::future::pending());
        tasks.once(async {});
        tasks.forever("refresher", async { tokio::task::yield_now().await });
        assert_eq!(tasks.lost().await.to_string(), "task \"refresher\" ended; systemd restarts the agent");
    }

    #[tokio::test]
    async fn a_panic_is_an_error_in_every_kind_of_task() {
        let mut tasks = Tasks::default();
        tasks.once(async { panic!("out of luck") });
        let lost = tasks.lost().await.to_string();
        assert!(lost.contains("out of luck"), "{lost}");
    }
}
