//! Repairs the node's own report tags: IMDS shows them for free, and another writer may have changed or deleted them.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use templates::names::REPORTS;
use tokio::time::{Interval, MissedTickBehavior};

use super::{Tags, ours};
use crate::aws::imds::{self, Imds};

/// Interval between two looks at the tags.
const LOOK: Duration = Duration::from_secs(10);
/// How long IMDS may show a tag as it was before this node wrote it (AWS documents no limit).
const SPREADING: Duration = Duration::from_secs(30);
/// Shortest pause between two repairs of a tag. It bounds the calls that a persistent writer can cause.
const FIRST: Duration = Duration::from_secs(60);
/// Longest pause, if repairs have no effect.
const MOST: Duration = Duration::from_secs(3600);

pub(super) struct Repair {
    imds: Imds,
    ticks: Interval,
    watch: Watch,
}

impl Repair {
    pub(super) fn new(imds: Imds) -> Repair {
        let mut ticks = tokio::time::interval(LOOK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Repair { imds, ticks, watch: Watch::default() }
    }

    /// Notes that this node has just written `keys`.
    pub(super) fn wrote(&mut self, keys: impl Iterator<Item = &'static str>, now: Instant) {
        self.watch.wrote.extend(keys.map(|key| (key, now)));
    }

    /// Waits until a repair is due. Returns the tags as they are instead of as `reported`.
    pub(super) async fn due(&mut self, reported: &Tags) -> Tags {
        loop {
            self.ticks.tick().await;
            match imds::tags(&self.imds).await {
                // No tags at all: a setting of the instance keeps them out of IMDS.
                Ok(all) if all.is_empty() => {}
                Ok(all) => {
                    if let Some(seen) = self.watch.look(reported, &ours(&all), Instant::now()) {
                        tracing::warn!(keys = ?self.watch.astray.keys(), "another writer changed this node's tags");
                        return seen;
                    }
                }
                Err(error) => tracing::debug!("cannot read this node's tags from IMDS: {error}"),
            }
        }
    }
}

/// The results of earlier looks.
#[derive(Debug, Default)]
struct Watch {
    wrote: BTreeMap<&'static str, Instant>,
    astray: BTreeMap<&'static str, Option<String>>,
    pauses: BTreeMap<&'static str, Pause>,
}

/// When a tag may be repaired again.
#[derive(Debug)]
struct Pause {
    end: Instant,
    length: Duration,
}

impl Watch {
    /// The tags as they are, if a repair is due: two looks in a row show the same value, which differs from `reported`.
    fn look(&mut self, reported: &Tags, seen: &Tags, now: Instant) -> Option<Tags> {
        let is_spreading = |key: &str| self.wrote.get(key).is_some_and(|wrote| now < *wrote + SPREADING);
        let differs = |key: &&'static str| seen.get(key) != reported.get(key) && !is_spreading(key);
        let astray: BTreeMap<_, _> =
            REPORTS.into_iter().filter(differs).map(|key| (key, seen.get(key).cloned())).collect();
        let before = std::mem::replace(&mut self.astray, astray);
        for (key, pause) in &mut self.pauses {
            if !self.astray.contains_key(key) {
                pause.length = Duration::ZERO;
            }
        }
        let mut tags = reported.clone();
        for (key, value) in self.astray.iter().filter(|(key, value)| before.get(*key) == Some(*value)) {
            let pause = self.pauses.entry(key).or_insert(Pause { end: now, length: Duration::ZERO });
            if now < pause.end {
                continue;
            }
            pause.length = (pause.length * 2).clamp(FIRST, MOST);
            pause.end = now + pause.length;
            match value {
                Some(value) => tags.insert(key, value.clone()),
                None => tags.remove(key),
            };
        }
        (tags != *reported).then_some(tags)
    }
}

#[cfg(test)]
mod tests {
    use templates::names::{TAG_MESSAGE, TAG_ROLE, TAG_RUNNING};

    use super::*;

    fn reported() -> Tags {
        Tags::from([(TAG_RUNNING, "1".into()), (TAG_ROLE, "active".into())])
    }

    /// How many of these looks, in steps of [`LOOK`], make a repair due.
    fn repairs(watch: &mut Watch, seen: &Tags, begin: Instant, looks: u32) -> usize {
        (0..looks).filter(|look| watch.look(&reported(), seen, begin + LOOK * *look).is_some()).count()
    }

    #[test]
    fn changed_deleted_or_added_tags_are_found_in_the_second_look() {
        let (mut watch, now) = (Watch::default(), Instant::now());
        let seen = Tags::from([(TAG_ROLE, "standby".into()), (TAG_MESSAGE, "all is well".into())]);
        assert_eq!(watch.look(&reported(), &seen, now), None);
        assert_eq!(watch.look(&reported(), &seen, now + LOOK), Some(seen));
    }

    #[test]
    fn tags_as_they_were_reported_are_left_alone() {
        assert_eq!(repairs(&mut Watch::default(), &reported(), Instant::now(), 100), 0);
    }

    #[test]
    fn a_tag_that_was_just_written_may_be_shown_as_it_was() {
        let (mut watch, now) = (Watch::default(), Instant::now());
        watch.wrote.insert(TAG_ROLE, now);
        let stale = Tags::from([(TAG_RUNNING, "1".into()), (TAG_ROLE, "standby".into())]);
        let spreading = (SPREADING.as_secs() / LOOK.as_secs()) as u32;
        assert_eq!(repairs(&mut watch, &stale, now, spreading + 1), 0);
        assert_eq!(repairs(&mut watch, &stale, now + SPREADING + LOOK, 1), 1, "it has had time to spread");
    }

    #[test]
    fn a_tag_is_repaired_while_another_one_may_not_be_repaired_again_yet() {
        let (mut watch, now) = (Watch::default(), Instant::now());
        let forged = [(TAG_MESSAGE, "all is well".to_owned())].into_iter().chain(reported()).collect::<Tags>();
        assert_eq!(repairs(&mut watch, &forged, now, 2), 1);
        let forged = Tags::from([(TAG_RUNNING, "7".into()), (TAG_ROLE, "active".into())]);
        assert_eq!(repairs(&mut watch, &forged, now + LOOK * 2, 2), 1);
    }

    #[test]
    fn a_value_that_is_still_changing_is_not_repaired_yet() {
        let (mut watch, now) = (Watch::default(), Instant::now());
        let seen = |value: &str| Tags::from([(TAG_RUNNING, value.to_owned()), (TAG_ROLE, "active".into())]);
        assert_eq!(watch.look(&reported(), &seen("2"), now), None);
        assert_eq!(watch.look(&reported(), &seen("3"), now + LOOK), None);
    }

    #[test]
    fn a_persistent_writer_costs_one_call_a_minute_and_repairs_without_effect_become_rarer() {
        let (mut watch, mut now, mut calls) = (Watch::default(), Instant::now(), 0);
        let wrong = Tags::from([(TAG_RUNNING, "1".into()), (TAG_ROLE, "standby".into())]);
        for _ in 0..60 {
            calls += repairs(&mut watch, &wrong, now, 5);
            watch.look(&reported(), &reported(), now + LOOK * 5);
            now += LOOK * 6;
        }
        assert!((50..=61).contains(&calls), "{calls} in an hour");
        assert!(repairs(&mut Watch::default(), &wrong, Instant::now(), 360) <= 7);
    }
}
