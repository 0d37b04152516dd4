//! The outbox: events that wait for the webhook, bounded in number and age. The oldest are dropped first, and the next
//! event reports how many.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::sync::Notify;

use super::event::Event;
use crate::telemetry::metrics::Told;

/// The most events that wait.
const MOST: usize = 100;
/// The oldest event that is still delivered.
const OLDEST: Duration = Duration::from_secs(3600);

/// A queue of events for the courier, usable from any thread. Without a courier it keeps nothing.
#[derive(Debug, Clone, Default)]
pub struct Outbox(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    queue: Mutex<Queue>,
    filled: Notify,
    emptied: Notify,
}

/// An event with its sequence number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Letter {
    pub event: Event,
    pub sequence: u64,
    /// How many events were lost since the last delivered one.
    pub dropped: u64,
}

impl Outbox {
    /// Lets the outbox keep events, for a courier that counts in `told`.
    pub(crate) fn open(&self, told: Told) {
        self.queue().told = Some(told);
    }

    /// Adds an event without waiting.
    pub fn put(&self, event: Event) {
        if self.queue().put(event, SystemTime::now()) {
            self.0.filled.notify_one();
        }
    }

    /// Waits for the oldest event that isn't too old.
    pub(crate) async fn next(&self) -> Letter {
        loop {
            let letter = self.queue().first(SystemTime::now());
            match letter {
                Some(letter) => return letter,
                None => self.0.filled.notified().await,
            }
        }
    }

    /// Whether this event is still in the outbox: it may have been dropped meanwhile.
    pub(super) fn waits(&self, letter: &Letter) -> bool {
        self.queue().first(SystemTime::now()).is_some_and(|first| first.sequence == letter.sequence)
    }

    /// Removes an event that was delivered or refused.
    pub(crate) fn done(&self, letter: &Letter, delivered: bool) {
        let mut queue = self.queue();
        queue.done(letter, delivered);
        if queue.waiting.is_empty() {
            self.0.emptied.notify_waiters();
        }
    }

    /// Waits until the outbox is empty, at most for `limit`.
    pub async fn flush(&self, limit: Duration) {
        let emptied = self.0.emptied.notified();
        let waiting = self.queue().waiting.len();
        if waiting > 0 && tokio::time::timeout(limit, emptied).await.is_err() {
            tracing::warn!(events = self.queue().waiting.len(), "stopping with undelivered webhook events");
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.0.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug, Default)]
struct Queue {
    told: Option<Told>,
    waiting: VecDeque<(u64, Event)>,
    last: u64,
    dropped: u64,
}

impl Queue {
    /// Returns whether the event was added.
    fn put(&mut self, event: Event, now: SystemTime) -> bool {
        if self.told.is_none() {
            return false;
        }
        self.last += 1;
        self.waiting.push_back((self.last, event));
        self.leave_out(now);
        true
    }

    fn first(&mut self, now: SystemTime) -> Option<Letter> {
        self.leave_out(now);
        let (sequence, event) = self.waiting.front()?;
        Some(Letter { event: event.clone(), sequence: *sequence, dropped: self.dropped })
    }

    fn done(&mut self, letter: &Letter, delivered: bool) {
        if self.waiting.front().is_some_and(|(sequence, _)| *sequence == letter.sequence) {
            self.waiting.pop_front();
            if !delivered {
                self.count_dropped(1);
            }
        }
        if delivered {
            // Events lost during the delivery are reported by the next event.
            self.dropped -= letter.dropped.min(self.dropped);
            self.told.iter().for_each(|told| told.delivered.inc());
        }
        self.count_waiting();
    }

    fn leave_out(&mut self, now: SystemTime) {
        let news = |event: &Event| now.duration_since(event.time).is_ok_and(|age| age <= OLDEST) || now < event.time;
        let before = self.waiting.len();
        let surplus = before.saturating_sub(MOST);
        self.waiting.drain(..surplus);
        self.waiting.retain(|(_, event)| news(event));
        self.count_dropped((before - self.waiting.len()) as u64);
        self.count_waiting();
    }

    fn count_dropped(&mut self, count: u64) {
        if count > 0 {
            self.dropped += count;
            self.told.iter().for_each(|told| told.dropped.inc_by(count));
            tracing::warn!(count, "dropped webhook events: not accepted in time, or refused");
        }
    }

    fn count_waiting(&self) {
        self.told.iter().for_each(|told| told.waiting.set(self.waiting.len() as i64));
    }
}

#[cfg(test)]
mod tests {
    use super::super::event::What;
    use super::*;

    fn outbox() -> Outbox {
        let outbox = Outbox::default();
        outbox.open(Told::default());
        outbox
    }

    fn event(age: Duration) -> Event {
        let event = Event::now([10, 255, 0, 10].into(), What::TakeoverComplete { ms: 1 }, vec![]);
        Event { time: SystemTime::now() - age, ..event }
    }

    #[tokio::test]
    async fn events_come_out_in_order_and_stay_until_delivered() {
        let outbox = outbox();
        (0..2).for_each(|_| outbox.put(event(Duration::ZERO)));
        let first = outbox.next().await;
        assert_eq!((outbox.next().await.sequence, first.sequence, first.dropped), (1, 1, 0));
        outbox.done(&first, true);
        assert_eq!(outbox.next().await.sequence, 2);
    }

    #[tokio::test]
    async fn the_newest_events_are_kept_and_the_loss_is_reported_once() {
        let outbox = outbox();
        (0..MOST + 5).for_each(|_| outbox.put(event(Duration::ZERO)));
        let first = outbox.next().await;
        assert_eq!((first.sequence, first.dropped), (6, 5));
        outbox.done(&first, true);
        let second = outbox.next().await;
        assert_eq!((second.sequence, second.dropped), (7, 0));
        outbox.done(&second, false);
        assert_eq!(outbox.next().await.dropped, 1);
    }

    #[tokio::test]
    async fn an_event_that_is_dropped_during_its_delivery_is_not_retried() {
        let outbox = outbox();
        outbox.put(event(Duration::ZERO));
        let first = outbox.next().await;
        assert!(outbox.waits(&first));
        (0..MOST).for_each(|_| outbox.put(event(Duration::ZERO)));
        assert!(!outbox.waits(&first));
        outbox.done(&first, false);
        assert_eq!(outbox.next().await.dropped, 1);
    }

    #[tokio::test]
    async fn an_event_that_is_too_old_is_dropped() {
        let outbox = outbox();
        outbox.put(event(OLDEST + Duration::from_secs(1)));
        outbox.put(event(Duration::ZERO));
        assert_eq!(outbox.next().await.sequence, 2);
    }

    #[tokio::test]
    async fn without_a_courier_nothing_is_kept_and_a_flush_returns_at_once() {
        let outbox = Outbox::default();
        outbox.put(event(Duration::ZERO));
        tokio::time::timeout(Duration::from_secs(5), outbox.flush(Duration::from_secs(60))).await.expect("no wait");
    }

    #[tokio::test]
    async fn a_flush_ends_when_the_outbox_is_empty_and_at_its_limit() {
        let outbox = outbox();
        outbox.put(event(Duration::ZERO));
        outbox.flush(Duration::from_millis(1)).await;
        let letter = outbox.next().await;
        let flush = outbox.flush(Duration::from_secs(60));
        let (_, ended) =
            tokio::join!(async { outbox.done(&letter, true) }, tokio::time::timeout(Duration::from_secs(5), flush));
        ended.expect("the outbox is empty");
    }
}
