//! What a standby's probes of one virtual IP show. Pure.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use templates::report::Reached;

use crate::aws::ids::InstanceId;

/// A change is shown once it has lasted for this long, so that a takeover writes no tags.
const LASTS: Duration = Duration::from_secs(5);

/// The result of one round of probes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) enum Finding {
    /// This node isn't standby, or no peer of its revision reports that it is active.
    #[default]
    Unknown,
    /// The probe reached the active node.
    Reached,
    /// Two probes in a row didn't, while the active node answered on its own address.
    Lost { active: Ipv4Addr, how: Loss },
    /// The active node doesn't answer new connections on its own address either: a closed rule or the network explains it.
    Closed { active: Ipv4Addr },
}

/// How a probe failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Loss {
    Silence,
    /// A node refuses probes.
    Refused,
    /// This node answered instead of the active one.
    Elsewhere(InstanceId),
}

impl Finding {
    fn reached(&self) -> Reached {
        match self {
            Finding::Unknown | Finding::Closed { .. } => Reached::Unknown,
            Finding::Reached => Reached::Yes,
            Finding::Lost { .. } => Reached::No,
        }
    }
}

/// The probes of one virtual IP since boot.
#[derive(Debug, Default)]
pub(super) struct History {
    ever: bool,
    shown: Finding,
    differs: Option<Instant>,
    last: Finding,
    /// Whether the webhook was last told a loss.
    told_loss: bool,
}

impl History {
    /// Records a round at `now`.
    pub(super) fn note(&mut self, finding: Finding, now: Instant) {
        // The first probes of a node that answers none show nothing: it may run an older agent.
        let finding = match finding {
            Finding::Lost { how: Loss::Refused, .. } if !self.ever => Finding::Unknown,
            finding => finding,
        };
        self.last = finding;
        let reached = self.last == Finding::Reached;
        let first = reached && !self.ever;
        self.ever |= reached;
        if std::mem::discriminant(&self.last) == std::mem::discriminant(&self.shown) {
            self.differs = None;
            return;
        }
        let since = *self.differs.get_or_insert(now);
        if first || now.saturating_duration_since(since) >= LASTS {
            (self.shown, self.differs) = (self.last.clone(), None);
        }
    }

    /// This node isn't standby of the virtual IP.
    pub(super) fn pause(&mut self) {
        (self.shown, self.differs) = (Finding::Unknown, None);
    }

    /// Whether the virtual IP is reached, as the tag and the metric show it.
    pub(super) fn reached(&self) -> Reached {
        self.shown.reached()
    }

    /// The change that the webhook should be told, once: whether the virtual IP is reached now.
    pub(super) fn announce(&mut self) -> Option<bool> {
        let is_loss = match self.reached() {
            Reached::Unknown => return None,
            Reached::Yes => false,
            Reached::No => true,
        };
        (std::mem::replace(&mut self.told_loss, is_loss) != is_loss).then_some(!is_loss)
    }

    /// The active node to tell about a loss; none if the path has never worked.
    pub(super) fn complains_to(&self) -> Option<Ipv4Addr> {
        match &self.last {
            Finding::Lost { active, .. } if self.ever => Some(*active),
            _ => None,
        }
    }

    /// The problem to show, for a node in `place`.
    pub(super) fn problem(&self, vip: Ipv4Addr, place: &str) -> Option<String> {
        let why = match &self.shown {
            Finding::Unknown | Finding::Reached => return None,
            Finding::Closed { active } => {
                return Some(format!(
                    "{active} admits no new connection on port 9110, so {vip} isn't watched from {place}: does the security \
                     group admit members on that port?"
                ));
            }
            Finding::Lost { .. } if !self.ever => {
                "it never was since this node's agent started: does the security group admit members on port 9110?"
                    .to_owned()
            }
            Finding::Lost { how: Loss::Elsewhere(instead), .. } => {
                format!("{instead} answers there instead of the active node")
            }
            Finding::Lost { how: Loss::Refused, .. } => "a node there refuses probes on port 9110".to_owned(),
            Finding::Lost { active, how: Loss::Silence } => {
                format!("the active node answers on {active} only: check the routes and network ACLs of this subnet")
            }
        };
        Some(format!("{vip} isn't reachable from {place}: {why}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ACTIVE: Ipv4Addr = Ipv4Addr::new(10, 0, 1, 10);

    fn lost() -> Finding {
        Finding::Lost { active: ACTIVE, how: Loss::Silence }
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
    fn the_first_success_is_shown_at_once_and_every_other_change_after_five_seconds() {
        assert_eq!(after(&[Finding::Reached]).reached(), Reached::Yes);
        let rounds = |losses| [vec![Finding::Reached], vec![lost(); losses]].concat();
        assert_eq!(after(&rounds(5)).reached(), Reached::Yes, "a takeover");
        assert_eq!(after(&rounds(6)).reached(), Reached::No);
        assert_eq!(after(&[rounds(6), vec![Finding::Reached; 5]].concat()).reached(), Reached::No);
        assert_eq!(after(&[rounds(6), vec![Finding::Reached; 6]].concat()).reached(), Reached::Yes);
    }

    #[test]
    fn a_path_that_comes_and_goes_changes_no_text() {
        let flapping = [Finding::Unknown, Finding::Closed { active: ACTIVE }, Finding::Reached, lost()];
        let mut history = after(&[vec![Finding::Reached], vec![lost(); 6]].concat());
        let (text, start) = (history.problem(ACTIVE, "here"), Instant::now() + LASTS * 4);
        for second in 0..60 {
            history.note(flapping[second % 4].clone(), start + Duration::from_secs(second as u64));
            assert_eq!(history.problem(ACTIVE, "here"), text);
        }
    }

    #[test]
    fn a_loss_is_told_at_once_unless_the_path_never_worked() {
        assert_eq!(after(&[Finding::Reached, lost()]).complains_to(), Some(ACTIVE));
        assert_eq!(after(&[Finding::Reached, lost(), Finding::Reached]).complains_to(), None);
        assert_eq!(after(&vec![lost(); 9]).complains_to(), None);
        let refused = Finding::Lost { active: ACTIVE, how: Loss::Refused };
        assert_eq!(after(&vec![refused; 9]).reached(), Reached::Unknown, "an older agent");
    }

    #[test]
    fn the_webhook_is_told_a_loss_and_its_end_also_after_a_failover() {
        let (mut history, start) = (History::default(), Instant::now());
        let mut told = Vec::new();
        let rounds = [vec![Finding::Reached], vec![lost(); 7], vec![Finding::Unknown; 7], vec![Finding::Reached; 7]];
        for (second, finding) in rounds.concat().into_iter().enumerate() {
            history.note(finding, start + Duration::from_secs(second as u64));
            told.extend(history.announce());
        }
        assert_eq!(told, [false, true]);
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
        let said = |history: &History| history.problem([10, 255, 0, 10].into(), place).unwrap();
        let worked = |finding: Finding| after(&[vec![Finding::Reached], vec![finding; 6]].concat());
        assert_eq!(
            said(&worked(lost())),
            "10.255.0.10 isn't reachable from subnet-b (eu-west-1b): the active node answers on 10.0.1.10 only: check the routes \
             and network ACLs of this subnet"
        );
        let elsewhere = Finding::Lost { active: ACTIVE, how: Loss::Elsewhere("i-c".into()) };
        assert!(said(&worked(elsewhere)).ends_with(": i-c answers there instead of the active node"));
        assert!(said(&after(&vec![lost(); 6])).contains("it never was since this node's agent started"));
        let closed = worked(Finding::Closed { active: ACTIVE });
        assert_eq!((closed.reached(), closed.complains_to()), (Reached::Unknown, None));
        assert!(
            said(&closed)
                .starts_with("10.0.1.10 admits no new connection on port 9110, so 10.255.0.10 isn't watched from")
        );
    }
}
