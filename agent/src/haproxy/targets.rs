//! Whether any target is up, as evidence for the ownership rule: a node that sees none takes no route from another.

use super::servers::servers;
use super::stats::{Server, TargetState};
use crate::host::probe::LIMIT;
use crate::ownership::decide::Targets;

/// Whether any target is up; `Down` if HAProxy doesn't answer. Only checked targets count: of a backend that serves
/// unhealthy targets as well, HAProxy shows all as up.
pub async fn targets() -> Targets {
    match tokio::time::timeout(LIMIT, servers()).await {
        Ok(Ok(servers)) => judge(&servers),
        _ => Targets::Down,
    }
}

/// A balancer without targets has nothing that could be down. A target counts as up until its first check: otherwise a
/// node would refuse a handover after each reload.
fn judge(servers: &[Server]) -> Targets {
    let serves = |server: &Server| matches!(server.state, TargetState::Up | TargetState::Unchecked);
    if servers.is_empty() || servers.iter().any(serves) { Targets::Up } else { Targets::Down }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::haproxy::stats::tests::page;

    #[test]
    fn a_checked_target_that_is_up_is_enough_and_a_fail_open_backend_is_none() {
        let down = "web,a,DOWN,9,L4CON,,,1,-,";
        assert_eq!(judge(&page(&[down, "web,b,UP,9,L4OK,,,1,-,"])), Targets::Up);
        assert_eq!(judge(&page(&[down, "web,b,UP 1/3,0,INI,,,1,-,"])), Targets::Up);
        assert_eq!(judge(&page(&[down, "web,BACKEND,UP,9,,,,1,-,", "web--all,b,no check,9,,,,1,-,"])), Targets::Down);
        assert_eq!(judge(&page(&[down, "web,b,MAINT,9,,,,1,-,", "web,c,DRAIN,9,L4OK,,,1,-,"])), Targets::Down);
        assert_eq!(judge(&page(&[])), Targets::Up);
    }
}
