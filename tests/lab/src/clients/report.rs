//! The report of a crowd of clients.

use std::time::{Duration, Instant};

/// A request without a good answer.
#[derive(Debug, Clone)]
pub struct Failure {
    /// When it failed.
    pub at: Instant,
    /// The error.
    pub why: String,
}

/// A connection that ended too early.
#[derive(Debug, Clone)]
pub struct Loss {
    /// The kind of client.
    pub kind: &'static str,
    /// When the client noticed.
    pub at: Instant,
    /// The error.
    pub why: String,
}

/// Requests and connections of a crowd of clients.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// Requests that have ended.
    pub requests: usize,
    /// The failed requests.
    pub failed: Vec<Failure>,
    /// The long connections that worked.
    pub connections: usize,
    /// The lost connections.
    pub lost: Vec<Loss>,
    pub(super) good: Vec<Instant>,
}

impl Report {
    /// The longest time between two good answers.
    pub fn longest_gap(&self) -> Duration {
        let mut good = self.good.clone();
        good.sort_unstable();
        good.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or_default()
    }

    /// How long after `instant` each lost connection's client knew, the soonest first. Those lost before it don't
    /// count.
    pub fn lost_after(&self, instant: Instant) -> Vec<Duration> {
        let mut times: Vec<_> = self.lost.iter().filter_map(|loss| loss.at.checked_duration_since(instant)).collect();
        times.sort_unstable();
        times
    }

    pub(super) fn answered(&mut self, outcome: anyhow::Result<()>) {
        self.requests += 1;
        match outcome {
            Ok(()) => self.good.push(Instant::now()),
            Err(error) => self.failed.push(Failure { at: Instant::now(), why: format!("{error:#}") }),
        }
    }

    pub(super) fn lost(&mut self, kind: &'static str, error: &anyhow::Error) {
        self.lost.push(Loss { kind, at: Instant::now(), why: format!("{error:#}") });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_is_between_good_answers_and_losses_are_counted_from_the_instant() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let loss = |ms| Loss { kind: "upload", at: at(ms), why: String::new() };
        let report = Report {
            good: vec![at(50), at(0), at(20)],
            lost: vec![loss(700), loss(10), loss(90)],
            ..Report::default()
        };
        assert_eq!(report.longest_gap(), Duration::from_millis(30));
        assert_eq!(report.lost_after(at(40)), [50, 660].map(Duration::from_millis));
    }
}
