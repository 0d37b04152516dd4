//! What launcher, agent and keepalived.conf agree on about a handover: the request in the tag `elbow:drain`, how a node
//! refuses one, and what is added to a node's priority meanwhile.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::balancer::Millis;

/// How a node's message begins that can't do what `elbow:drain` asks for.
pub const REFUSED: &str = "handover refused: ";

/// The lifecycle hook by which an Auto Scaling group waits for a node that it ends.
pub const HOOK: &str = "handover";

/// The lifecycle hook by which an Auto Scaling group waits for a node that it launched: until the node can serve, the group
/// doesn't count it, and ends no other in its favour.
pub const LAUNCH_HOOK: &str = "standby";

/// How long a group waits for a node that it launched, before it ends that one and launches another: time to install
/// packages, and for a person to read the console of a node that can't serve.
pub const LAUNCH_TIMEOUT: Duration = Duration::from_secs(1800);

/// What a node that leaves takes beside waiting for connections: routes that move under throttling, and a last report.
pub const LIMIT: Millis = Millis(60_000);

/// How long a group waits at its hook: what a stop takes. Auto Scaling takes 30 s to 2 h (API reference,
/// PutLifecycleHook), and `drain_timeout` is an hour at most.
pub fn heartbeat(drain_timeout: Millis) -> Duration {
    drain_timeout.duration() + LIMIT.duration()
}

/// Added to the priority of the node that is to be elected next, and of one to which all routes lead: above every other,
/// whatever its slot.
pub const ABOVE: i16 = 50;
/// Added to the priority of a node that is to go away: below every other that has its agent, and not so low that it
/// couldn't serve when it is the last.
pub const LEAVING: i16 = -90;

/// A request to hand over, as the value of the tag `elbow:drain`: `65a1-3f` or `65a1-3f to i-0abc`. An agent follows a
/// value once, so each request has an id of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Unlike every other request's; without spaces.
    pub id: String,
    /// The instance that is to be active; any node that can, if none.
    pub to: Option<String>,
}

/// A tag's value that is no request.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is no request to hand over: an id, or an id, \"to\" and an instance")]
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
    fn the_chosen_node_is_above_and_a_leaving_one_below_all_others_and_both_are_priorities() {
        let all = || (0..5).flat_map(|vip| (0..5).map(move |slot| i16::from(Slot(slot).priority(vip))));
        let (lowest, highest) = (all().min().unwrap(), all().max().unwrap());
        assert!(lowest + ABOVE > highest && highest + ABOVE <= 254);
        assert!(highest + LEAVING < lowest && lowest + LEAVING >= 1);
    }
}
