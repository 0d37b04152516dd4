//! Detects that the machine stood still (a live migration, a busy hypervisor). keepalived may then report MASTER before
//! it reads the advertisements that have arrived, so the agent accepts such a MASTER only once it has lasted.

use std::time::{Duration, Instant};

/// How long after a standstill keepalived may report MASTER because of it.
const AFTER: Duration = Duration::from_secs(1);

/// Detects time in which this process didn't run.
#[derive(Debug)]
pub(super) struct Standstill {
    /// The time between two ticks.
    every: Duration,
    last: Instant,
    over: Option<Instant>,
}

impl Standstill {
    /// `advertisements` is their interval. Two missed ones are the least that makes a MASTER, as the third may have
    /// been due.
    pub(super) fn watch(advertisements: Duration, now: Instant) -> Self {
        Standstill { every: advertisements / 2, last: now, over: None }
    }

    /// When the next tick is due.
    pub(super) fn next(&self) -> Instant {
        self.last + self.every
    }

    /// To be called at each tick, and before `doubts`.
    pub(super) fn tick(&mut self, now: Instant) {
        if now.duration_since(self.last) >= self.every * 4 {
            self.over = Some(now);
        }
        self.last = now;
    }

    /// Until when a MASTER reported `now` must last: long enough for keepalived to receive an advertisement and obey
    /// it. `None` if there was no standstill.
    pub(super) fn doubts(&self, now: Instant) -> Option<Instant> {
        self.over.filter(|over| now.duration_since(*over) < AFTER).map(|_| now + self.every * 3)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADVERTISEMENTS: Duration = Duration::from_millis(200);

    fn after(ms: u64) -> (Standstill, Instant) {
        let began = Instant::now();
        let mut standstill = Standstill::watch(ADVERTISEMENTS, began);
        let now = began + Duration::from_millis(ms);
        standstill.tick(now);
        (standstill, now)
    }

    #[test]
    fn a_master_is_doubted_right_after_a_standstill_only() {
        let (standstill, now) = after(1000);
        assert_eq!(standstill.doubts(now), Some(now + Duration::from_millis(300)));
        assert_eq!(standstill.doubts(now + AFTER), None);
        let (late_tick, now) = after(250);
        assert_eq!(late_tick.doubts(now), None);
    }

    #[test]
    fn the_shortest_silence_that_makes_a_master_is_noticed() {
        // The advertisement before came right before it, and the skew of a high priority is short.
        assert!(after(2 * 200).0.over.is_some());
    }
}
