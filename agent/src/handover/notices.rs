//! Parses the notices of AWS in IMDS: this instance is about to be interrupted, terminated, rebooted or retired. A path
//! without a notice answers 404.

use std::time::Duration;

use jiff::Timestamp;
use jiff::fmt::strtime;
use jiff::tz::TimeZone;
use serde::Deserialize;

/// How long before a maintenance window a node hands over. Its remaining connections get minutes to end, and the
/// balancer is a node short for no longer than that. AWS announces windows days before.
const LEAD: Duration = Duration::from_secs(300);

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// What happens and when, as text for people.
    pub what: String,
    /// The earliest time; `None` means soon.
    pub at: Option<Timestamp>,
}

impl Notice {
    /// Whether it is time to hand over.
    pub fn is_due(&self, now: Timestamp) -> bool {
        self.at.is_none_or(|at| now + LEAD >= at)
    }
}

#[derive(Deserialize)]
struct InstanceAction {
    action: String,
    time: String,
}

/// `spot/instance-action`: AWS gives two minutes, so it is due at once (EC2 User Guide, "Spot Instance interruption
/// notices").
pub fn spot(body: &str) -> Notice {
    let what = match serde_json::from_str(body) {
        Ok(InstanceAction { action, time }) => format!("Spot interruption ({action} at {time})"),
        Err(_) => "Spot interruption".to_owned(),
    };
    Notice { what, at: None }
}

/// `autoscaling/target-lifecycle-state`: the group terminates this instance, or moves it to its warm pool (Auto Scaling
/// User Guide, "Retrieve the target lifecycle state through instance metadata").
pub fn lifecycle(body: &str) -> Option<Notice> {
    let state = body.trim();
    let leaves = ends(state) || state.starts_with("Warmed:");
    leaves.then(|| Notice { what: format!("Auto Scaling ({state})"), at: None })
}

/// Whether a group with this target state waits at its termination hook.
pub fn ends(lifecycle: &str) -> bool {
    lifecycle.trim() == "Terminated"
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Event {
    code: String,
    #[serde(default)]
    not_before: String,
    #[serde(default)]
    state: String,
}

/// `events/maintenance/scheduled` (EC2 User Guide, "Instance metadata categories"). AWS lists an event for a while
/// after its end. An event with an unreadable time counts as near.
pub fn maintenance(body: &str) -> Result<Vec<Notice>, serde_json::Error> {
    let events: Vec<Event> = serde_json::from_str(body)?;
    let ahead = events.into_iter().filter(|event| event.state.is_empty() || event.state == "active");
    Ok(ahead
        .map(|event| Notice {
            what: format!("scheduled {} ({})", event.code, event.not_before),
            at: time(&event.not_before),
        })
        .collect())
}

/// `21 Jan 2019 09:00:43 GMT`.
fn time(text: &str) -> Option<Timestamp> {
    let parsed = strtime::parse("%d %b %Y %H:%M:%S GMT", text.trim()).ok()?;
    Some(parsed.to_datetime().ok()?.to_zoned(TimeZone::UTC).ok()?.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn a_spot_interruption_is_due_at_once() {
        let notice = spot(r#"{"action": "terminate", "time": "2026-01-02T08:22:00Z"}"#);
        assert_eq!(notice.what, "Spot interruption (terminate at 2026-01-02T08:22:00Z)");
        assert!(notice.is_due(at("2026-01-02T08:20:00Z")));
        assert_eq!(spot("soon").what, "Spot interruption");
    }

    #[test]
    fn a_termination_or_a_move_to_the_warm_pool_is_a_notice_and_no_other_state() {
        assert_eq!(lifecycle("Terminated\n").unwrap().what, "Auto Scaling (Terminated)");
        assert!(lifecycle("Warmed:Stopped").is_some());
        for state in ["InService", "Standby", "Detached", ""] {
            assert_eq!(lifecycle(state), None, "{state}");
        }
    }

    #[test]
    fn a_window_is_due_minutes_before_it_opens_and_not_when_it_is_over() {
        let body = r#"[
            {"NotBefore": "21 Jan 2026 09:00:43 GMT", "NotAfter": "21 Jan 2026 09:17:23 GMT", "Code": "system-reboot",
             "Description": "scheduled reboot", "EventId": "instance-event-0d59937288b749b32", "State": "active"},
            {"NotBefore": "1 Jan 2026 09:00:43 GMT", "Code": "instance-reboot", "State": "completed"},
            {"NotBefore": "1 Jan 2026 09:00:43 GMT", "Code": "instance-stop", "State": "canceled"}]"#;
        let [notice] = &maintenance(body).unwrap()[..] else { panic!("one notice is ahead") };
        assert_eq!(notice.what, "scheduled system-reboot (21 Jan 2026 09:00:43 GMT)");
        assert!(!notice.is_due(at("2026-01-21T08:55:42Z")));
        assert!(notice.is_due(at("2026-01-21T08:55:43Z")) && notice.is_due(at("2026-01-21T10:00:00Z")));
        assert_eq!(maintenance("[]").unwrap(), []);
        assert!(maintenance("none").is_err());
    }

    #[test]
    fn a_window_with_an_unreadable_time_is_near() {
        let notices = maintenance(r#"[{"NotBefore": "soon", "Code": "instance-retirement"}]"#).unwrap();
        assert!(notices[0].is_due(at("2026-01-01T00:00:00Z")));
    }
}
