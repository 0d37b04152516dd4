//! The tasks of a running agent. One that ends although it should run for ever ends the agent; systemd starts it again.

use std::convert::Infallible;

use anyhow::anyhow;
use tokio::task::{JoinError, JoinSet};

/// Tasks that end with this.
#[derive(Default)]
pub(super) struct Tasks(JoinSet<Option<&'static str>>);

impl Tasks {
    /// Runs what never ends.
    pub(super) fn forever(&mut self, name: &'static str, work: impl Future<Output = ()> + Send + 'static) {
        self.0.spawn(async move {
            work.await;
            Some(name)
        });
    }

    /// Runs what may end.
    pub(super) fn once(&mut self, work: impl Future<Output = ()> + Send + 'static) {
        self.0.spawn(async move {
            work.await;
            None
        });
    }

    /// The first task that shouldn't have ended and has.
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
        Ok(Some(name)) => Err(anyhow!("the task {name:?} ended: the agent starts again")),
        Err(error) => Err(anyhow!("a task ended: {error}: the agent starts again")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_task_that_should_run_for_ever_and_ends_is_named() {
        let mut tasks = Tasks::default();
        tasks.forever("waits", std::future::pending());
        tasks.once(async {});
        tasks.forever("refresher", async { tokio::task::yield_now().await });
        assert_eq!(tasks.lost().await.to_string(), "the task \"refresher\" ended: the agent starts again");
    }

    #[tokio::test]
    async fn a_task_that_panics_is_lost_whatever_it_was_for() {
        let mut tasks = Tasks::default();
        tasks.once(async { panic!("out of luck") });
        let lost = tasks.lost().await.to_string();
        assert!(lost.contains("out of luck"), "{lost}");
    }
}
