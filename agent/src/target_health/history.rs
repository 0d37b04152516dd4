//! Since when each target is in its state. Pure. HAProxy counts whole seconds and starts anew at each reload, so the
//! first time that was found stays while the state lasts.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use templates::report::Moment;
use templates::targets::Reason;

use super::snapshot::{Group, Target};
use crate::haproxy::{Server, TargetState};

/// The groups after a read at `now`; `before` is the result of the previous read.
pub(super) fn follow(
    before: &BTreeMap<String, Group>,
    servers: Vec<Server>,
    now: Timestamp,
) -> BTreeMap<String, Group> {
    let mut groups: BTreeMap<String, Group> = BTreeMap::new();
    for server in servers {
        let known = before.get(&server.group).and_then(|group| group.get(&server.name));
        let target = target(known, &server, now);
        groups.entry(server.group).or_default().insert(server.name, target);
    }
    groups
}

fn target(known: Option<&Target>, server: &Server, now: Timestamp) -> Target {
    let state = server.state;
    match known {
        // A reload forgets what the checks found. Until the first check, the last finding stands.
        Some(known) if state == TargetState::Unchecked && is_found(known.state) => known.clone(),
        Some(known) if state == known.state => Target { reason: reason(Some(known), server), ..known.clone() },
        _ => {
            let since = now.checked_sub(Duration::from_secs(server.changed)).unwrap_or(now);
            Target { state, since: Moment::of(since), reason: reason(None, server) }
        }
    }
}

fn is_found(state: TargetState) -> bool {
    matches!(state, TargetState::Up | TargetState::Down)
}

/// The last failure of a target that is down: a check that it passes doesn't make it up yet.
fn reason(known: Option<&Target>, server: &Server) -> Option<Reason> {
    match &server.reason {
        Some(passed) if !passed.is_failure() => known.and_then(|known| known.reason.clone()).or(Some(passed.clone())),
        reason => reason.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: &str = "2026-11-29T14:00:00Z";

    fn server(state: TargetState, changed: u64, reason: Option<&str>) -> Server {
        let reason = reason.map(|reason| reason.parse().unwrap());
        Server { group: "web".to_owned(), name: "a".to_owned(), state, changed, reason }
    }

    /// The target after these reads, at these seconds: its state, since when, and why.
    fn after(reads: &[(u64, Server)]) -> (TargetState, String, Option<String>) {
        let start: Timestamp = START.parse().unwrap();
        let groups = reads.iter().fold(BTreeMap::new(), |before, (second, server)| {
            follow(&before, vec![server.clone()], start + Duration::from_secs(*second))
        });
        let Target { state, since, reason } = groups["web"]["a"].clone();
        (state, since.to_string(), reason.map(|reason| reason.to_string()))
    }

    use TargetState::{Down, Maintenance, Unchecked, Up};

    #[test]
    fn the_first_time_stays_while_the_state_lasts() {
        let reads = [(10, server(Up, 4, None)), (12, server(Up, 7, None)), (60, server(Up, 3, None))];
        assert_eq!(after(&reads[..1]), (Up, "2026-11-29T14:00:06Z".to_owned(), None));
        assert_eq!(after(&reads), after(&reads[..1]), "rounded, and after a reload");
        let down = [&reads[..], &[(62, server(Down, 1, Some("L4CON")))]].concat();
        assert_eq!(after(&down), (Down, "2026-11-29T14:01:01Z".to_owned(), Some("L4CON".to_owned())));
    }

    #[test]
    fn a_reload_does_not_change_what_is_known() {
        let down = (10, server(Down, 0, Some("L4TOUT")));
        let reloaded = [down.clone(), (12, server(Unchecked, 1, None)), (14, server(Down, 1, Some("L4TOUT")))];
        for reads in 2..=3 {
            assert_eq!(after(&reloaded[..reads]), after(&reloaded[..1]));
        }
        assert_eq!(after(&[down, (12, server(Unchecked, 1, None)), (14, server(Up, 1, None))]).0, Up);
        let enabled = [(10, server(Maintenance, 5, None)), (12, server(Unchecked, 1, None))];
        assert_eq!(after(&enabled).0, Unchecked, "a target that wasn't checked");
        assert_eq!(after(&[(10, server(Unchecked, 1, None))]).0, Unchecked);
    }

    #[test]
    fn the_reason_is_the_last_failure() {
        let why = |reads: &[&str]| {
            let reads: Vec<_> = reads.iter().map(|reason| (10, server(Down, 0, Some(*reason)))).collect();
            after(&reads).2.unwrap()
        };
        assert_eq!(why(&["L4CON", "L7STS:503"]), "L7STS:503");
        assert_eq!(why(&["L4CON", "L7OK"]), "L4CON");
        assert_eq!(why(&["L7OK"]), "L7OK", "an agent that starts while it recovers");
    }
}
