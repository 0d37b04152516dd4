//! Others who turn the routes of a virtual IP to themselves again and again: another balancer that was given the same
//! address, a script that somebody forgot. The routes are taken back each time, which looks well and isn't.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use crate::aws::ids::InterfaceId;

/// Once may be a hand's slip, that is put right.
const OFTEN: usize = 3;
/// Times further apart than that aren't one story.
const MEMORY: Duration = Duration::from_secs(600);

/// When routes were found turned to strangers.
#[derive(Debug, Default)]
pub(super) struct Rivals(BTreeMap<Ipv4Addr, Story>);

#[derive(Debug)]
struct Story {
    times: Vec<Instant>,
    last: InterfaceId,
}

impl Rivals {
    /// Routes of `vip` were found to lead to `stranger`.
    pub(super) fn seen(&mut self, vip: Ipv4Addr, stranger: InterfaceId, now: Instant) {
        let story = self.0.entry(vip).or_insert_with(|| Story { times: Vec::new(), last: stranger.clone() });
        story.times.push(now);
        story.last = stranger;
    }

    /// The routes of `vip` are somebody else's to keep.
    pub(super) fn forget(&mut self, vip: Ipv4Addr) {
        self.0.remove(&vip);
    }

    /// What people should know, if anything.
    pub(super) fn complaint(&mut self, now: Instant) -> Option<String> {
        self.0.retain(|_, story| {
            story.times.retain(|time| now.duration_since(*time) < MEMORY);
            !story.times.is_empty()
        });
        let often = self.0.iter().filter(|(_, story)| story.times.len() >= OFTEN);
        let texts = often.map(|(vip, Story { times, last })| {
            format!(
                "routes of {vip} were turned away {} times in 10 minutes, last to {last}, and taken back: is it somebody \
                 else's address, too?",
                times.len()
            )
        });
        Some(texts.collect::<Vec<_>>().join("; ")).filter(|text| !text.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_comes_again_and_again_is_named_until_it_has_ceased() {
        let (vip, start) = (Ipv4Addr::new(10, 255, 0, 10), Instant::now());
        let mut rivals = Rivals::default();
        for minute in 0..2 {
            rivals.seen(vip, "eni-9".into(), start + Duration::from_secs(60 * minute));
        }
        assert_eq!(rivals.complaint(start + Duration::from_secs(60)), None);
        rivals.seen(vip, "eni-9".into(), start + Duration::from_secs(120));
        let complaint = rivals.complaint(start + Duration::from_secs(120)).expect("one");
        assert!(
            complaint.contains("10.255.0.10 were turned away 3 times") && complaint.contains("eni-9"),
            "{complaint}"
        );
        assert_eq!(rivals.complaint(start + Duration::from_secs(601)), None);
    }
}
