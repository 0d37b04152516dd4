//! What a standby's probes of one virtual IP show. Pure.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use templates::report::Reached;

use crate::aws::ids::InstanceId;

/// A change is shown once it has lasted for this long, so that a takeover writes no tags. A success is shown at once.
const LASTS: Duration = Duration::from_secs(5);

/// The result of one round of probes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Finding {
    /// This node isn't standby, or no peer reports that it is active.
    Unknown,
    /// The probe reached the active node.
    Reached,
    /// Two probes in a row didn't, while the active node answered on its own address.
    Lost {
        active: Ipv4Addr,
        /// The node that answered instead.
        instead: Option<InstanceId>,
    },
    /// The active node doesn't answer new connections on its own address either: a closed rule or the network explains it.
    Closed { active: Ipv4Addr },
}

/// What is shown of the findings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Shown {
    #[default]
    Unknown,
    Reached,
    Lost,
    Closed,
}

/// The probes of one virtual IP since boot.
#[derive(Debug, Default)]
pub(super) struct History {
    ever: bool,
    shown: Shown,
    differs: Option<Instant>,
    last: Option<Finding>,
}

impl History {
    /// Records a round at `now`.
    pub(super) fn note(&mut self, finding: Finding, now: Instant) {
        let found = match finding {
            Finding::Unknown => Shown::Unknown,
            Finding::Reached => Shown::Reached,
            Finding::Lost { .. } => Shown::Lost,
            Finding::Closed { .. } => Shown::Closed,
        };
        self.last = Some(finding);
        self.ever |= found == Shown::Reached;
        if found == self.shown {
            self.differs = None;
            return;
        }
        let since = *self.differs.get_or_insert(now);
        if found == Shown::Reached || now.saturating_duration_since(since) >= LASTS {
            (self.shown, self.differs) = (found, None);
        }
    }

    /// This node isn't standby of the virtual IP.
    pub(super) fn pause(&mut self) {
        (self.shown, self.differs) = (Shown::Unknown, None);
    }

    /// Whether the virtual IP is reached, as the tag and the metric show it.
    pub(super) fn reached(&self) -> Reached {
        match self.shown {
            Shown::Unknown | Shown::Closed => Reached::Unknown,
            Shown::Reached => Reached::Yes,
            Shown::Lost => Reached::No,
        }
    }

    /// The active node to tell about a loss; none if the path has never worked.
    pub(super) fn complains_to(&self) -> Option<Ipv4Addr> {
        match &self.last {
            Some(Finding::Lost { active, .. }) if self.ever => Some(*active),
            _ => None,
        }
    }

    /// The problem to show, for a node in `place`.
    pub(super) fn problem(&self, vip: Ipv4Addr, place: &str) -> Option<String> {
        let why = match (self.shown, &self.last) {
            (Shown::Closed, Some(Finding::Closed { active })) => {
                return Some(format!(
                    "{active} admits no new connection on port 9110, so {vip} isn't watched from {place}: does the security \
                     group admit members on that port?"
                ));
            }
            (Shown::Lost, _) if !self.ever => {
                "it never was since this node booted: does the security group admit members on port 9110?".to_owned()
            }
            (Shown::Lost, Some(Finding::Lost { instead: Some(instead), .. })) => {
                format!("{instead} answers there instead of the active node")
            }
            (Shown::Lost, Some(Finding::Lost { active, .. })) => {
                format!("the active node answers on {active} only: check the routes and network ACLs of this subnet")
            }
            (Shown::Lost, _) => "the last probes failed".to_owned(),
            _ => return None,
        };
        Some(format!("{vip} isn't reachable from {place}: {why}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ACTIVE: Ipv4Addr = Ipv4Addr::new(10, 0, 1, 10);

    fn lost() -> Finding {
        Finding::Lost { active: ACTIVE, instead: None }
    }

    /// The history after these findings, one a second.
    fn after(findings: &[Finding]) -> History {
        let (mut history, start) = (History::default(), Instant::now());
        for (second, finding) in findings.iter().enumerate() {
            history.note(finding.clone(), start + Duration::from_secs(second as u64));
        }
        history
    }

    #[test]
    fn a_success_is_shown_at_once_and_a_loss_after_five_seconds() {
        assert_eq!(after(&[Finding::Reached]).reached(), Reached::Yes);
        let rounds = |losses| [vec![Finding::Reached], vec![lost(); losses]].concat();
        assert_eq!(after(&rounds(5)).reached(), Reached::Yes, "a takeover");
        assert_eq!(after(&rounds(6)).reached(), Reached::No);
        assert_eq!(after(&[rounds(6), vec![Finding::Reached]].concat()).reached(), Reached::Yes);
    }

    #[test]
    fn a_loss_is_told_at_once_unless_the_path_never_worked() {
        assert_eq!(after(&[Finding::Reached, lost()]).complains_to(), Some(ACTIVE));
        assert_eq!(after(&[Finding::Reached, lost(), Finding::Reached]).complains_to(), None);
        assert_eq!(after(&vec![lost(); 9]).complains_to(), None);
    }

    #[test]
    fn a_silent_active_node_shows_neither_and_a_node_that_is_elected_shows_nothing() {
        let silence = [vec![Finding::Reached], vec![Finding::Unknown; 6]].concat();
        assert_eq!(after(&silence).reached(), Reached::Unknown);
        let mut elected = after(&[Finding::Reached]);
        elected.pause();
        assert_eq!(elected.reached(), Reached::Unknown);
    }

    #[test]
    fn the_problem_names_the_subnet_and_what_is_known() {
        let place = "subnet-b (eu-west-1b)";
        let said = |history: History| history.problem([10, 255, 0, 10].into(), place).unwrap();
        let worked = |finding: Finding| [vec![Finding::Reached], vec![finding; 6]].concat();
        assert_eq!(
            said(after(&worked(lost()))),
            "10.255.0.10 isn't reachable from subnet-b (eu-west-1b): the active node answers on 10.0.1.10 only: check the routes \
             and network ACLs of this subnet"
        );
        let elsewhere = Finding::Lost { active: ACTIVE, instead: Some("i-c".into()) };
        assert!(said(after(&worked(elsewhere))).ends_with(": i-c answers there instead of the active node"));
        assert!(said(after(&vec![lost(); 6])).contains("it never was since this node booted"));
        let closed = after(&worked(Finding::Closed { active: ACTIVE }));
        assert_eq!((closed.reached(), closed.complains_to()), (Reached::Unknown, None));
        assert!(
            said(closed)
                .starts_with("10.0.1.10 admits no new connection on port 9110, so 10.255.0.10 isn't watched from")
        );
    }
}
