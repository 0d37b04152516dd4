//! The plan of a chaos run: which faults begin when, and how long each lasts. It depends only on the seed.

use std::collections::BTreeSet;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

use super::fault::Fault;

/// One fault of an episode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Planned {
    /// When it begins, from the episode's start.
    pub begins: Duration,
    /// When it ends, from the episode's start.
    pub ends: Duration,
    pub fault: Fault,
}

/// The endless episodes of a seed. How many fit into a run depends on the balancer's recovery times.
#[derive(Debug)]
pub struct Plan(StdRng);

impl Plan {
    pub fn of(seed: u64) -> Plan {
        Plan(StdRng::seed_from_u64(seed))
    }

    fn milliseconds(&mut self, from: u64, to: u64) -> Duration {
        Duration::from_millis(self.0.random_range(from..to))
    }
}

impl Iterator for Plan {
    type Item = Vec<Planned>;

    /// One to three faults in different places.
    fn next(&mut self) -> Option<Vec<Planned>> {
        let several = *[1, 1, 1, 2, 2, 3].choose(&mut self.0)?;
        let mut places = BTreeSet::new();
        let mut episode = Vec::new();
        while episode.len() < several {
            let fault = Fault::all().choose(&mut self.0)?.clone();
            if places.insert(fault.place()) {
                let begins = self.milliseconds(0, 4_000);
                // Some last longer than two reads of the routes, so that a route war shows.
                let longest = *[8_000, 8_000, 15_000, 75_000].choose(&mut self.0)?;
                let ends = begins + self.milliseconds(1_000, longest);
                episode.push(Planned { begins, ends, fault });
            }
        }
        Some(episode)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_plan_every_time_and_another_seed_another() {
        let first = |seed| Plan::of(seed).take(20).collect::<Vec<_>>();
        assert_eq!(first(7), first(7));
        assert_ne!(first(7), first(8));
    }

    #[test]
    fn every_fault_is_played_and_no_place_has_two_in_one_episode() {
        let episodes: Vec<_> = Plan::of(1).take(500).collect();
        for fault in Fault::all() {
            assert!(episodes.iter().flatten().any(|planned| planned.fault == fault), "{fault} is never played");
        }
        for episode in &episodes {
            let places: BTreeSet<_> = episode.iter().map(|planned| planned.fault.place()).collect();
            assert_eq!(places.len(), episode.len(), "{episode:?}");
        }
    }
}
