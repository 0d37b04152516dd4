//! Detects contention: strangers that redirect the routes of a virtual IP repeatedly, such as another balancer with the
//! same address, or a forgotten script. The node reclaims the routes each time, so nothing else shows it.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use crate::aws::ids::InterfaceId;

/// Redirections within [`MEMORY`] that count as contention. One may be an operator's mistake.
const OFTEN: usize = 3;
/// How long a redirection is remembered.
const MEMORY: Duration = Duration::from_secs(600);

/// When the routes of each virtual IP were found to lead to strangers.
#[derive(Debug, Default)]
pub(super) struct Contention(BTreeMap<Ipv4Addr, Story>);

#[derive(Debug)]
struct Story {
    times: Vec<Instant>,
    last: InterfaceId,
}

impl Contention {
    /// Records that routes of `vip` led to `stranger`.
    pub(super) fn seen(&mut self, vip: Ipv4Addr, stranger: InterfaceId, now: Instant) {
        let story = self.0.entry(vip).or_insert_with(|| Story { times: Vec::new(), last: stranger.clone() });
        story.times.push(now);
        story.last = stranger;
    }

    /// Forgets `vip`: this node no longer keeps its routes.
    pub(super) fn forget(&mut self, vip: Ipv4Addr) {
        self.0.remove(&vip);
    }

    /// The message about contention, if there is any.
    pub(super) fn complaint(&mut self, now: Instant) -> Option<String> {
        self.0.retain(|_, story| {
            story.times.retain(|time| now.duration_since(*time) < MEMORY);
            !story.times.is_empty()
        });
        let often = self.0.iter().filter(|(_, story)| story.times.len() >= OFTEN);
        let texts = often.map(|(vip, Story { times, last })| {
            format!(
                "routes of {vip} were redirected {} times in 10 minutes, last to {last}, and reclaimed; does another \
                 balancer or program use this address?",
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
    fn contention_is_reported_until_it_ends() {
        let (vip, start) = (Ipv4Addr::new(10, 255, 0, 10), Instant::now());
        let mut contention = Contention::default();
        for minute in 0..2 {
            contention.seen(vip, "eni-9".into(), start + Duration::from_secs(60 * minute));
        }
        assert_eq!(contention.complaint(start + Duration::from_secs(60)), None);
        contention.seen(vip, "eni-9".into(), start + Duration::from_secs(120));
        let complaint = contention.complaint(start + Duration::from_secs(120)).expect("one");
        assert!(
            complaint.contains("10.255.0.10 were redirected 3 times") && complaint.contains("eni-9"),
            "{complaint}"
        );
        assert_eq!(contention.complaint(start + Duration::from_secs(601)), None);
    }
}
