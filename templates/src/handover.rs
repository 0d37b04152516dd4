//! What the launcher, the agent and keepalived.conf share about a handover: the request in the tag `elbow:drain`, its
//! refusal, the lifecycle hooks and the preferences.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::balancer::Millis;

/// The start of a node's message that refuses a request in `elbow:drain`.
pub const REFUSED: &str = "handover refused: ";

/// The lifecycle hook at which an Auto Scaling group waits before it terminates a node.
pub const HOOK: &str = "handover";

/// The lifecycle hook at which an Auto Scaling group waits for a new node. Until the node can serve, the group doesn't
/// count it and terminates no other node in its favour.
pub const LAUNCH_HOOK: &str = "standby";

/// How long a group waits for a new node before it terminates it and launches another. This is time to install
/// packages, and for an operator to read the console of a node that can't serve.
pub const LAUNCH_TIMEOUT: Duration = Duration::from_secs(1800);

/// The time of a stop beside `drain_timeout`: for routes that move under throttling, and a last report.
pub const LIMIT: Millis = Millis(60_000);

/// How long a group waits at [`HOOK`]: as long as a stop takes. Auto Scaling accepts 30 s to 2 h (API reference,
/// PutLifecycleHook), and `drain_timeout` is an hour at most.
pub fn heartbeat(drain_timeout: Millis) -> Duration {
    drain_timeout.duration() + LIMIT.duration()
}

/// The preference of a successor and of a settled node: its priority exceeds that of every other node, whatever the
/// slots.
pub const ABOVE: i16 = 50;
/// The preference of a node that leaves: its priority is below every other node with a running agent, but valid, so
/// that the last node serves.
pub const LEAVING: i16 = -90;

/// A request to hand over, as the value of the tag `elbow:drain`: `65a1-3f` or `65a1-3f to i-0abc`. An agent handles a
/// value once, so each request has an id of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Unique; without spaces.
    pub id: String,
    /// The instance that becomes active; if none, any node that can.
    pub to: Option<String>,
}

/// A tag's value that isn't a request.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is not a handover request: write <id>, or <id> to <instance id>")]
pub struct NotARequest(String);

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.to {
            Some(instance) => write!(f, "{} to {instance}", self.id),
            None => f.write_str(&self.id),
        }
    }
}

impl FromStr for Request {
    type Err = NotARequest;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let words: Vec<&str> = text.split_whitespace().collect();
        let to = match words[..] {
            [_] => None,
            [_, "to", instance] if instance.starts_with("i-") => Some(instance.to_owned()),
            _ => return Err(NotARequest(text.to_owned())),
        };
        Ok(Request { id: words[0].to_owned(), to })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::Slot;

    #[test]
    fn a_request_reads_back_as_written() {
        for to in [None, Some("i-0abc".to_owned())] {
            let request = Request { id: "65a1-3f".to_owned(), to };
            assert_eq!(request.to_string().parse::<Request>().unwrap(), request);
        }
        for text in ["", "a b", "a to", "a to x", "a to i-1 i-2"] {
            assert!(text.parse::<Request>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_preference_puts_a_node_above_or_below_all_others_within_valid_priorities() {
        let all = || (0..5).flat_map(|vip| (0..5).map(move |slot| i16::from(Slot(slot).priority(vip))));
        let (lowest, highest) = (all().min().unwrap(), all().max().unwrap());
        assert!(lowest + ABOVE > highest && highest + ABOVE <= 254);
        assert!(highest + LEAVING < lowest && lowest + LEAVING >= 1);
    }
}
