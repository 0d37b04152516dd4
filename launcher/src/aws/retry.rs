//! Retries calls on errors that are known to be transient: until a deadline, with jitter.

use std::future::Future;
use std::time::{Duration, Instant};

use crate::aws::error::CallFailed;

/// How long to keep trying.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// The total time.
    pub total: Duration,
    /// The average pause between attempts.
    pub pause: Duration,
}

/// Calls until success, an error that isn't transient (`passes`), or the deadline. Calls `waiting` before each retry.
pub async fn until<T, F, Fut>(
    patience: Patience,
    passes: impl Fn(&CallFailed) -> bool,
    waiting: impl Fn(&CallFailed),
    mut call: F,
) -> Result<T, CallFailed>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T, CallFailed>>,
{
    let deadline = Instant::now() + patience.total;
    loop {
        match call().await {
            Err(error) if passes(&error) && Instant::now() < deadline => {
                waiting(&error);
                pause(patience.pause).await;
            }
            outcome => return outcome,
        }
    }
}

/// Sleeps for 0.5 to 1.5 times `about`, so that concurrent callers spread out.
pub async fn pause(about: Duration) {
    tokio::time::sleep(about.mul_f64(rand::random_range(0.5..1.5))).await;
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::aws::error::Reason;

    const QUICK: Patience = Patience { total: Duration::from_millis(200), pause: Duration::from_millis(1) };

    fn refused(code: &str) -> CallFailed {
        let reason = Reason::Refused { code: code.to_owned(), message: String::new() };
        CallFailed { action: "ec2:DeleteSecurityGroup", object: "sg-1".to_owned(), reason }
    }

    #[tokio::test]
    async fn an_error_that_passes_is_waited_out() {
        let calls = Cell::new(0);
        let outcome = until(
            QUICK,
            |error| error.is("DependencyViolation"),
            |_| (),
            || {
                calls.set(calls.get() + 1);
                let done = calls.get() == 3;
                async move { if done { Ok(()) } else { Err(refused("DependencyViolation")) } }
            },
        );
        assert!(outcome.await.is_ok());
        assert_eq!(calls.get(), 3);
    }

    #[tokio::test]
    async fn an_error_that_does_not_pass_is_returned_at_once() {
        let calls = Cell::new(0);
        let outcome: Result<(), _> = until(
            QUICK,
            |error| error.is("DependencyViolation"),
            |_| (),
            || {
                calls.set(calls.get() + 1);
                async { Err(refused("InvalidParameterValue")) }
            },
        )
        .await;
        assert!(outcome.unwrap_err().is("InvalidParameterValue"));
        assert_eq!(calls.get(), 1);
    }

    #[tokio::test]
    async fn patience_ends() {
        let patience = Patience { total: Duration::from_millis(5), pause: Duration::from_millis(1) };
        let outcome: Result<(), _> =
            until(patience, |_| true, |_| (), || async { Err(refused("DependencyViolation")) }).await;
        assert!(outcome.unwrap_err().is("DependencyViolation"));
    }
}
