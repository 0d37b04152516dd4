//! The listener probe, as launcher and agent share it. The launcher writes a request into the tag `elbow:probe` of an
//! active node. The agent asks each listener on the virtual IPs that its node serves, and answers in up to four tags.
//!
//! The tags hold words with a space between them, and no word spans two tags:
//!
//! - `65a1-3f@2026-11-29T14:03:12Z`, the first: the answered request, and when the listeners were asked.
//! - `10.255.0.10/web=200,10.0.1.20:8080,3`: the listener `web` answered with the status 200 of this target after 3 ms. With
//!   `-` as the target, HAProxy itself answered.
//! - `10.255.0.10/db=taken,10.0.1.30:5432`: this target has the connection.
//! - `10.255.0.10/db=connected`: HAProxy accepted the connection; which target has it isn't known.
//! - `10.255.0.10/web=silent`: a [`Failure`]. These come first, with HAProxy's own 502, 503 and 504.
//! - `+3`: three more listeners had no room.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use crate::names::TAG_PROBED;
use crate::report::Moment;
use crate::tag_words::{TagWords, is_name};

/// The source of a probe's connections. No client has this address, as no network carries it (RFC 1122, 3.2.1.3).
pub const SOURCE: Ipv4Addr = Ipv4Addr::LOCALHOST;
/// The response header by which HAProxy names the target to [`SOURCE`], and to no other client.
pub const TARGET_HEADER: &str = "X-Elbow-Target";
/// The probe's `User-Agent`.
pub const USER_AGENT: &str = "elbow-probe";

/// Room for the last word, at the end of the last tag.
const LAST_WORD: usize = " +1000000".len();

/// The id of a request, the value of the tag `elbow:probe`. A node answers each id once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestId(String);

/// Text that isn't the id of a request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not the id of a probe: write up to 32 of a-z, 0-9 and -")]
pub struct NotARequestId(String);

/// Its 16 hex digits.
impl From<u64> for RequestId {
    fn from(number: u64) -> RequestId {
        RequestId(format!("{number:016x}"))
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for RequestId {
    type Err = NotARequestId;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        match (1..=32).contains(&text.len()) && text.bytes().all(fits) {
            true => Ok(RequestId(text.to_owned())),
            false => Err(NotARequestId(text.to_owned())),
        }
    }
}

/// A node's answer to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub to: RequestId,
    /// When the listeners were asked, by the node's clock.
    pub asked: Moment,
    pub listeners: Vec<ListenerAnswer>,
    /// Listeners that aren't among them.
    pub more: usize,
}

/// How a listener answered on a virtual IP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenerAnswer {
    pub virtual_ip: Ipv4Addr,
    pub listener: String,
    pub outcome: Outcome,
}

/// What a probe of a listener found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// An HTTP response: of this target, or of HAProxy itself.
    Http { status: u16, target: Option<String>, ms: u32 },
    /// This target has the connection.
    Taken { target: String },
    /// HAProxy accepted the connection. Which target has it, if any, isn't known.
    Connected,
    /// There was no answer.
    Failed(Failure),
}

/// Why there was no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// The connection was refused: HAProxy doesn't listen there.
    Refused,
    /// The connection or the response took too long.
    Silent,
    /// The connection ended without a response.
    Closed,
    /// HAProxy accepted the connection, and no target took it in time.
    Waiting,
    /// The node had no descriptor, memory or port for the probe.
    Unasked,
}

impl Failure {
    const ALL: [Failure; 5] = [Failure::Refused, Failure::Silent, Failure::Closed, Failure::Waiting, Failure::Unasked];

    /// As a word for programs.
    pub fn word(self) -> &'static str {
        match self {
            Failure::Refused => "refused",
            Failure::Silent => "silent",
            Failure::Closed => "closed",
            Failure::Waiting => "waiting",
            Failure::Unasked => "unasked",
        }
    }
}

impl Outcome {
    /// Whether no target answered where one should have: a [`Failure`], or HAProxy's own 502, 503 or 504.
    pub fn lacks_target(&self) -> bool {
        matches!(self, Outcome::Failed(_) | Outcome::Http { status: 502..=504, target: None, .. })
    }

    fn read(text: &str) -> Option<Outcome> {
        let parts: Vec<&str> = text.split(',').collect();
        match parts[..] {
            ["connected"] => Some(Outcome::Connected),
            ["taken", target] if is_name(target) => Some(Outcome::Taken { target: target.to_owned() }),
            [word] => Failure::ALL.into_iter().find(|failure| failure.word() == word).map(Outcome::Failed),
            [status, target, ms] if is_name(target) => Some(Outcome::Http {
                status: status.parse().ok()?,
                target: Some(target).filter(|target| *target != "-").map(str::to_owned),
                ms: ms.parse().ok()?,
            }),
            _ => None,
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Outcome::Http { status, target, ms } => write!(f, "{status},{},{ms}", target.as_deref().unwrap_or("-")),
            Outcome::Taken { target } => write!(f, "taken,{target}"),
            Outcome::Connected => f.write_str("connected"),
            Outcome::Failed(failure) => f.write_str(failure.word()),
        }
    }
}

impl ListenerAnswer {
    fn read(word: &str) -> Option<ListenerAnswer> {
        let (place, outcome) = word.split_once('=')?;
        let (virtual_ip, listener) = place.split_once('/').filter(|(_, listener)| is_name(listener))?;
        Some(ListenerAnswer {
            virtual_ip: virtual_ip.parse().ok()?,
            listener: listener.to_owned(),
            outcome: Outcome::read(outcome)?,
        })
    }
}

impl fmt::Display for ListenerAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}={}", self.virtual_ip, self.listener, self.outcome)
    }
}

impl Answer {
    /// The values of the first tags of [`TAG_PROBED`]. Listeners without an answer come first, so that they have room.
    pub fn values(&self) -> Vec<String> {
        let mut words = TagWords::new(TAG_PROBED.len());
        words.add(&format!("{}@{}", self.to, self.asked), LAST_WORD);
        let mut listeners: Vec<&ListenerAnswer> = self.listeners.iter().collect();
        listeners.sort_by_key(|one| !one.outcome.lacks_target());
        let left_out = listeners.iter().filter(|one| !words.add(&one.to_string(), LAST_WORD)).count();
        let more = self.more + left_out;
        if more > 0 {
            words.add(&format!("+{more}"), 0);
        }
        words.into_values()
    }

    /// Reads the tags' values; none if there is no answer. Words that aren't readable are left out: a later version may
    /// write more kinds of them.
    pub fn read<'a>(values: impl IntoIterator<Item = &'a str>) -> Option<Answer> {
        let mut words = values.into_iter().flat_map(str::split_whitespace);
        let (to, asked) = words.next()?.split_once('@')?;
        let mut answer = Answer { to: to.parse().ok()?, asked: asked.parse().ok()?, listeners: Vec::new(), more: 0 };
        for word in words {
            match word.strip_prefix('+') {
                Some(more) => answer.more = answer.more.saturating_add(more.parse().unwrap_or(0)),
                None => answer.listeners.extend(ListenerAnswer::read(word)),
            }
        }
        Some(answer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::LONGEST;

    const VIP: Ipv4Addr = Ipv4Addr::new(10, 255, 0, 10);

    fn http(status: u16, target: Option<&str>) -> Outcome {
        Outcome::Http { status, target: target.map(str::to_owned), ms: 3 }
    }

    fn answer(outcomes: impl IntoIterator<Item = (String, Outcome)>) -> Answer {
        let of = |(listener, outcome)| ListenerAnswer { virtual_ip: VIP, listener, outcome };
        Answer {
            to: "65a1-3f".parse().unwrap(),
            asked: "2026-11-29T14:03:12Z".parse().unwrap(),
            listeners: outcomes.into_iter().map(of).collect(),
            more: 0,
        }
    }

    fn read(values: &[String]) -> Option<Answer> {
        Answer::read(values.iter().map(String::as_str))
    }

    #[test]
    fn an_answer_reads_back_as_written() {
        let outcomes = [
            Outcome::Failed(Failure::Silent),
            http(503, None),
            http(200, Some("10.0.1.20:8080")),
            http(404, None),
            Outcome::Taken { target: "10.0.1.30:5432".to_owned() },
            Outcome::Connected,
        ];
        let answer = answer(outcomes.into_iter().enumerate().map(|(number, outcome)| (format!("l{number}"), outcome)));
        let written = "65a1-3f@2026-11-29T14:03:12Z 10.255.0.10/l0=silent 10.255.0.10/l1=503,-,3 \
            10.255.0.10/l2=200,10.0.1.20:8080,3 10.255.0.10/l3=404,-,3 10.255.0.10/l4=taken,10.0.1.30:5432 \
            10.255.0.10/l5=connected";
        assert_eq!(answer.values(), [written]);
        assert_eq!(read(&answer.values()), Some(answer));
        for failure in Failure::ALL {
            assert_eq!(Outcome::read(failure.word()), Some(Outcome::Failed(failure)));
        }
    }

    #[test]
    fn listeners_without_an_answer_have_room_before_the_others() {
        let name = |number: usize| format!("listener-with-a-long-name-{number:03}");
        let outcome = |number: usize| match number {
            90.. => http(503, None),
            _ => http(200, Some("10.100.100.100:65535")),
        };
        let all = answer((0..100).map(|number| (name(number), outcome(number))));
        let values = all.values();
        assert!(values.len() == TAG_PROBED.len() && values.iter().all(|value| value.len() <= LONGEST), "{values:#?}");
        let shown = read(&values).unwrap();
        assert_eq!(shown.listeners.iter().filter(|one| one.outcome.lacks_target()).count(), 10);
        assert!(shown.listeners.len() > 10 && shown.listeners.len() + shown.more == 100, "{shown:?}");
        let more = Answer { more: 7, ..answer([]) };
        assert_eq!(more.values(), ["65a1-3f@2026-11-29T14:03:12Z +7"]);
        assert_eq!(read(&more.values()), Some(more));
    }

    #[test]
    fn only_a_target_that_should_have_answered_is_lacking() {
        for (outcome, lacks) in [
            (http(503, None), true),
            (http(502, None), true),
            (http(504, None), true),
            (http(503, Some("10.0.1.20:8080")), false),
            (http(500, None), false),
            (http(404, None), false),
            (Outcome::Connected, false),
            (Outcome::Failed(Failure::Closed), true),
        ] {
            assert_eq!(outcome.lacks_target(), lacks, "{outcome}");
        }
    }

    #[test]
    fn text_that_no_agent_writes_is_no_answer_or_left_out() {
        for text in ["", "65a1-3f", "65a1-3f@noon", "@2026-11-29T14:03:12Z", "A b@2026-11-29T14:03:12Z"] {
            assert_eq!(Answer::read([text]), None, "{text:?}");
        }
        let words = "10.255.0.10/a=later 10.255.0.10=200,-,3 x/a=200,-,3 10.255.0.10/a=taken,\u{1b}[31m \
                     10.255.0.10/a=999999,-,3 10.255.0.10/=connected a";
        let text = format!("65a1-3f@2026-11-29T14:03:12Z {words}");
        assert_eq!(Answer::read([text.as_str()]), Some(answer([])));
        let random = RequestId::from(u64::MAX);
        assert_eq!(random.to_string().parse(), Ok(random));
        let long = "a".repeat(33);
        for text in ["", "A", "a b", "a@b", "ä", &long] {
            assert!(text.parse::<RequestId>().is_err(), "{text:?}");
        }
    }
}
