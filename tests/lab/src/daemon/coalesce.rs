//! Rounds of work that many callers share: requests during a round are all served by the next one.
//!
//! Two hundred simultaneous ReplaceRoute calls must not queue two hundred updates of the kernel. Each caller only needs
//! a round that began after its own change.

use tokio::sync::watch;

/// Counts requests, and the requests that are done.
#[derive(Debug)]
pub struct Rounds {
    asked: watch::Sender<u64>,
    done: watch::Sender<u64>,
}

impl Default for Rounds {
    fn default() -> Self {
        Rounds { asked: watch::Sender::new(0), done: watch::Sender::new(0) }
    }
}

impl Rounds {
    /// Requests a round and waits until a round that began after the request has ended.
    pub async fn ask(&self) {
        let mut mine = 0;
        self.asked.send_modify(|asked| {
            *asked += 1;
            mine = *asked;
        });
        let mut done = self.done.subscribe();
        let _ = done.wait_for(|done| *done >= mine).await;
    }

    /// Runs requested rounds one at a time; never returns.
    pub async fn work<R: Future<Output = ()>>(&self, mut round: impl FnMut() -> R) {
        let mut asked = self.asked.subscribe();
        loop {
            let done = *self.done.borrow();
            let Ok(asked) = asked.wait_for(|asked| *asked > done).await.map(|asked| *asked) else { return };
            round().await;
            self.done.send_replace(asked);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::Duration;

    use super::*;

    /// Running rounds of 10 ms each, and their count.
    fn working() -> (Arc<Rounds>, Arc<AtomicU32>) {
        let (rounds, count) = (Arc::new(Rounds::default()), Arc::new(AtomicU32::new(0)));
        let (ours, counted) = (rounds.clone(), count.clone());
        let round = move || {
            let counted = counted.clone();
            async move {
                tokio::time::sleep(Duration::from_millis(10)).await;
                counted.fetch_add(1, Ordering::SeqCst);
            }
        };
        tokio::spawn(async move { ours.work(round).await });
        (rounds, count)
    }

    #[tokio::test]
    async fn simultaneous_requests_share_at_most_two_rounds() {
        let (rounds, count) = working();
        futures::future::join_all((0..200).map(|_| rounds.ask())).await;
        assert!((1..=2).contains(&count.load(Ordering::SeqCst)), "{count:?}");
    }

    #[tokio::test]
    async fn a_round_that_had_begun_before_does_not_count() {
        let (rounds, count) = working();
        let late = async {
            while count.load(Ordering::SeqCst) == 0 && *rounds.asked.borrow() == 0 {
                tokio::task::yield_now().await;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
            rounds.ask().await;
            assert_eq!(count.load(Ordering::SeqCst), 2);
        };
        tokio::join!(rounds.ask(), late);
    }
}
