//! Limits the calls to EC2 that unknown clients of the health page cause. A joining node is worth a call, a scraper
//! that the operator admitted isn't. No client may use up the API's budget by asking often.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

const FIRST: Duration = Duration::from_secs(2);
const MOST: Duration = Duration::from_secs(3600);
/// A client is forgotten this long after its last visit.
const FORGOTTEN: Duration = Duration::from_secs(3600);
/// The most clients remembered, more than a balancer can have nodes. All others are the crowd.
const REMEMBERED: usize = 64;
/// The pause between looks for the crowd. A look reads all members, and a joining node waits for longer.
const CROWD: Duration = Duration::from_secs(5);

/// The unknown clients, and when each may be looked up again.
#[derive(Debug, Default)]
pub(super) struct Strangers {
    known: HashMap<Ipv4Addr, Visits>,
    crowd: Option<Instant>,
}

#[derive(Debug)]
struct Visits {
    last: Instant,
    next: Instant,
    pause: Duration,
}

impl Strangers {
    /// Whether to look the client up. The pause before the next time doubles each time.
    pub(super) fn worth_a_look(&mut self, visitor: Ipv4Addr, now: Instant) -> bool {
        self.known.retain(|_, visits| now < visits.last + FORGOTTEN);
        let room = self.known.len() < REMEMBERED;
        match self.known.get_mut(&visitor) {
            Some(visits) => {
                visits.last = now;
                if now < visits.next {
                    return false;
                }
                visits.pause = (visits.pause * 2).min(MOST);
                visits.next = now + visits.pause;
                true
            }
            None if room => {
                self.known.insert(visitor, Visits { last: now, next: now + FIRST, pause: FIRST });
                true
            }
            None if self.crowd.is_some_and(|last| now < last + CROWD) => false,
            None => {
                self.crowd = Some(now);
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
    fn a_client_that_asks_every_second_of_a_day_costs_few_calls() {
        let (mut strangers, start) = (Strangers::default(), Instant::now());
        let looks = (0..86_400).filter(|second| strangers.worth_a_look(VISITOR, start + Duration::from_secs(*second)));
        assert!(looks.count() < 40);
        let quarters = (0..86_400).step_by(15).map(|second| start + Duration::from_secs(90_000 + second));
        assert!(quarters.filter(|now| strangers.worth_a_look(VISITOR, *now)).count() < 40);
    }

    #[test]
    fn a_crowd_is_not_looked_up_one_by_one() {
        let (mut strangers, now) = (Strangers::default(), Instant::now());
        let looks = (0..=255).filter(|last| strangers.worth_a_look(Ipv4Addr::new(10, 0, 4, *last), now));
        assert_eq!(looks.count(), REMEMBERED + 1);
    }

    #[test]
    fn after_a_crowd_a_newcomer_is_looked_up_all_the_same() {
        let (mut strangers, now) = (Strangers::default(), Instant::now());
        let crowd = |strangers: &mut Strangers, now| {
            (0..=255).filter(|last| strangers.worth_a_look(Ipv4Addr::new(10, 0, 4, *last), now)).count()
        };
        crowd(&mut strangers, now);
        assert!(!strangers.worth_a_look(VISITOR, now + CROWD / 2));
        assert!(strangers.worth_a_look(VISITOR, now + CROWD), "beside the crowd");
        let (mut looks, hour) = (0, 3600);
        for second in 1..=hour {
            looks += crowd(&mut strangers, now + CROWD + Duration::from_secs(second));
        }
        assert!(looks < hour as usize / 5 + REMEMBERED * 12, "a crowd costs {looks} calls in an hour");
        let later = now + CROWD + Duration::from_secs(hour) + FORGOTTEN;
        assert!(strangers.worth_a_look(VISITOR, later));
        assert_eq!(strangers.known.len(), 1, "the crowd is forgotten");
    }
}
