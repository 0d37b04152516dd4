//! How it goes with routes that are being pointed at this node: which are left, and whether they are worth waiting for.
//! Pure.

use std::collections::BTreeMap;
use std::time::Instant;

use crate::ec2::Kind;
use crate::ids::TableId;
use crate::takeover::Outcome;

/// Routes that are being moved, by their tables.
#[derive(Debug)]
pub(super) struct Progress {
    /// What the last call for each failed with, if one did.
    left: BTreeMap<TableId, Option<Kind>>,
    /// Those that lead here now, and since when.
    pub moved: Vec<(TableId, Instant)>,
}

impl Progress {
    /// None of them has been called for yet.
    pub(super) fn new<'a>(tables: impl Iterator<Item = &'a TableId>) -> Self {
        Progress { left: tables.map(|table| (table.clone(), None)).collect(), moved: Vec::new() }
    }

    /// A call failed, and is made again.
    pub(super) fn failed(&mut self, table: &TableId, kind: Kind) {
        if let Some(there) = self.left.get_mut(table) {
            *there = Some(kind);
        }
    }

    /// The attempt on one has ended.
    pub(super) fn ended(&mut self, table: &TableId, outcome: Outcome, now: Instant) {
        self.left.remove(table);
        if outcome == Outcome::Moved {
            self.moved.push((table.clone(), now));
        }
    }

    /// Whether what is left has been refused by an API that answers: only somebody else can change that, and other routes
    /// shouldn't wait for it. Where it is only slow, or wants patience, going on is best.
    pub(super) fn is_up_to_others(&self) -> bool {
        !self.left.is_empty() && self.left.values().all(|kind| matches!(kind, Some(Kind::Denied | Kind::Refused)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refused_tables_are_not_waited_for_and_slow_ones_are() {
        let tables: [TableId; 2] = ["rtb-1".into(), "rtb-2".into()];
        let [denied, slow] = &tables;
        let mut progress = Progress::new(tables.iter());
        assert!(!progress.is_up_to_others());
        progress.failed(denied, Kind::Denied);
        for kind in [Kind::Throttled, Kind::Unavailable] {
            progress.failed(slow, kind);
            assert!(!progress.is_up_to_others(), "{kind:?}");
        }
        let now = Instant::now();
        progress.ended(slow, Outcome::Moved, now);
        assert!(progress.is_up_to_others());
        assert_eq!(progress.moved, [(slow.clone(), now)]);
        progress.failed(denied, Kind::Throttled);
        assert!(!progress.is_up_to_others(), "it may be granted now");
    }
}
