//! How often somebody unknown on the health page is worth a call to EC2: a joining node is, a scraper that the operator
//! has let in is not, and nobody may spend the API's budget by asking often.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

const FIRST: Duration = Duration::from_secs(2);
const MOST: Duration = Duration::from_secs(3600);
/// More visitors than a balancer can have nodes: then it isn't members who ask.
const REMEMBERED: usize = 64;

/// Who has asked, and when looking them up next is worth it.
#[derive(Debug, Default)]
pub(super) struct Strangers(HashMap<Ipv4Addr, (Instant, Duration)>);

impl Strangers {
    /// Whether a visit is worth looking the visitor up; the pause after that doubles with each time.
    pub(super) fn worth_a_look(&mut self, visitor: Ipv4Addr, now: Instant) -> bool {
        if self.0.len() >= REMEMBERED && !self.0.contains_key(&visitor) {
            return false;
        }
        match self.0.get_mut(&visitor) {
            None => {
                self.0.insert(visitor, (now + FIRST, FIRST));
                true
            }
            Some((next, _)) if now < *next => false,
            Some((next, pause)) => {
                *pause = (*pause * 2).min(MOST);
                *next = now + *pause;
                true
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VISITOR: Ipv4Addr = Ipv4Addr::new(10, 0, 3, 7);

    #[test]
    fn a_newcomer_is_looked_up_at_once_and_again_soon() {
        let (mut strangers, now) = (Strangers::default(), Instant::now());
        assert!(strangers.worth_a_look(VISITOR, now));
        assert!(!strangers.worth_a_look(VISITOR, now + FIRST / 2));
        assert!(strangers.worth_a_look(VISITOR, now + FIRST));
    }

    #[test]
    fn who_asks_every_second_of_a_day_costs_few_calls() {
        let (mut strangers, start) = (Strangers::default(), Instant::now());
        let looks = (0..86_400).filter(|second| strangers.worth_a_look(VISITOR, start + Duration::from_secs(*second)));
        assert!(looks.count() < 40);
    }

    #[test]
    fn a_crowd_is_not_looked_up_one_by_one() {
        let (mut strangers, now) = (Strangers::default(), Instant::now());
        let looks = (0..=255).filter(|last| strangers.worth_a_look(Ipv4Addr::new(10, 0, 4, *last), now));
        assert_eq!(looks.count(), REMEMBERED);
    }
}
