//! A machine that stood still (a live migration, a hypervisor that gave it no time) has heard nobody meanwhile. keepalived
//! may take that for silence and say MASTER before it reads what has come in: its word is believed once it has lasted.

use std::time::{Duration, Instant};

/// For how long after a standstill keepalived may say MASTER because of it.
const AFTER: Duration = Duration::from_secs(1);

/// Notices that time has passed in which this process didn't run.
#[derive(Debug)]
pub(super) struct Standstill {
    /// From one tick to the next.
    every: Duration,
    last: Instant,
    over: Option<Instant>,
}

impl Standstill {
    /// `advertisements` are that far apart: two that are missed are the least that makes a MASTER, as the third may have been
    /// about to come.
    pub(super) fn watch(advertisements: Duration, now: Instant) -> Self {
        Standstill { every: advertisements / 2, last: now, over: None }
    }

    /// When the next tick is due.
    pub(super) fn next(&self) -> Instant {
        self.last + self.every
    }

    /// At a tick, and before anything that is believed only if time went on.
    pub(super) fn tick(&mut self, now: Instant) {
        if now.duration_since(self.last) >= self.every * 4 {
            self.over = Some(now);
        }
        self.last = now;
    }

    /// Until when a MASTER that is said `now` must last to be believed: long enough for an advertisement to come, and to be
    /// obeyed. Nothing if there was no standstill.
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
