//! Reads HAProxy's statistics every two seconds, on every node, and passes on what changed.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use templates::names::TAG_TARGETS;
use templates::report::Moment;
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

use super::announcer::Announcer;
use super::history;
use super::snapshot::{Snapshot, count, down};
use crate::haproxy;
use crate::node::state::Board;
use crate::telemetry::notify::{Event, Outbox, What};

const EVERY: Duration = Duration::from_secs(2);
/// After this many reads without an answer, nothing is known of the targets.
const SILENCES: u32 = 3;
/// The shortest time between two changes of the tags.
const TAGS: Duration = Duration::from_secs(5);

/// Where the targets' health is written to.
#[derive(Debug)]
pub struct Channels {
    pub snapshot: watch::Sender<Snapshot>,
    /// The values of the tags of an active node.
    pub tags: watch::Sender<Vec<String>>,
}

impl Channels {
    /// An agent that restarts continues with its tags.
    pub fn new(present: &BTreeMap<String, String>) -> Channels {
        let tags = TAG_TARGETS.iter().map_while(|key| present.get(*key).cloned());
        Channels { snapshot: watch::Sender::default(), tags: watch::Sender::new(tags.collect()) }
    }
}

/// Watches the targets forever.
pub async fn watch(board: Board, outbox: Outbox, channels: Channels) {
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut announcer = Announcer::default();
    let (mut silences, mut written) = (0, None);
    loop {
        ticks.tick().await;
        match haproxy::watched_servers().await {
            Ok(servers) => {
                silences = 0;
                let now = Timestamp::now();
                channels.snapshot.send_modify(|snapshot| {
                    let target_groups = history::follow(&snapshot.target_groups, servers, now);
                    *snapshot = Snapshot { read: Some(Moment::of(now)), target_groups };
                });
                announce(&board, &outbox, &channels.snapshot.borrow(), &mut announcer);
            }
            Err(error) => {
                tracing::debug!(%error, "cannot read the targets' health");
                silences += 1;
                if silences == SILENCES {
                    channels.snapshot.send_replace(Snapshot::default());
                }
                if silences < SILENCES {
                    continue;
                }
            }
        }
        if written.is_none_or(|written: Instant| written.elapsed() >= TAGS) {
            let values = channels.snapshot.borrow().report().values();
            let changed = channels.tags.send_if_modified(|tags| std::mem::replace(tags, values.clone()) != values);
            written = if changed { Some(Instant::now()) } else { written };
        }
    }
}

/// Puts an event into the outbox for each group with news, if this node is active.
fn announce(board: &Board, outbox: &Outbox, snapshot: &Snapshot, announcer: &mut Announcer) {
    let state = board.read();
    for name in announcer.due(&snapshot.target_groups, state.is_active(), Instant::now()) {
        let group = &snapshot.target_groups[name];
        let what = What::TargetHealth { count: count(group), down: down(name, group), group: name.to_owned() };
        outbox.put(Event::of_no_vip(what, state.problems.values().cloned().collect()));
    }
}
