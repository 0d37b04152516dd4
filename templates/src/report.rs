//! A node's report in tags for programs: its unreachable peers, the virtual IPs that it reaches, its sign of life, and its
//! refusals.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// EC2's limit for a tag's value, in characters (EC2 User Guide, "Tag restrictions").
pub const LONGEST: usize = 255;

/// A moment, to the second: `2026-11-29T14:03:12Z`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct Moment(Timestamp);

impl Moment {
    /// `time` without its fraction of a second.
    pub fn of(time: Timestamp) -> Moment {
        Moment(Timestamp::from_second(time.as_second()).unwrap_or(time))
    }

    /// The same as the library's type.
    pub fn timestamp(self) -> Timestamp {
        self.0
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Text that isn't a report.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not {wanted}")]
pub struct NotAReport {
    text: String,
    wanted: &'static str,
}

impl NotAReport {
    fn new(text: &str, wanted: &'static str) -> NotAReport {
        NotAReport { text: text.to_owned(), wanted }
    }
}

impl FromStr for Moment {
    type Err = NotAReport;
    fn from_str(text: &str) -> Result<Self, NotAReport> {
        text.parse().map(Moment::of).map_err(|_| NotAReport::new(text, "a time, such as \"2026-11-29T14:03:12Z\""))
    }
}

/// The peers that a node can't reach, by instance id, and since when.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Unreachable(pub BTreeMap<String, Moment>);

/// The entries that fit a tag, the longest unreachable first: six, with ids as EC2 makes them.
impl fmt::Display for Unreachable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut entries: Vec<(&Moment, &String)> = self.0.iter().map(|(peer, since)| (since, peer)).collect();
        entries.sort();
        let mut length = 0;
        for (since, peer) in entries {
            let entry = format!("{}{peer}@{since}", if length > 0 { " " } else { "" });
            length += entry.len();
            if length > LONGEST {
                break;
            }
            f.write_str(&entry)?;
        }
        Ok(())
    }
}

impl FromStr for Unreachable {
    type Err = NotAReport;
    fn from_str(text: &str) -> Result<Self, NotAReport> {
        let wanted = "a list of peers, such as \"i-0abc@2026-11-29T14:03:12Z i-0def@2026-11-29T14:03:13Z\"";
        let entry = |entry: &str| {
            let (peer, since) = entry.split_once('@').filter(|(peer, _)| !peer.is_empty())?;
            Some((peer.to_owned(), since.parse().ok()?))
        };
        let entries: Option<_> = text.split_whitespace().map(entry).collect();
        entries.map(Unreachable).ok_or_else(|| NotAReport::new(text, wanted))
    }
}

/// Whether a standby reaches a virtual IP through the VPC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reached {
    /// It isn't watched from this node, or not known yet.
    #[default]
    Unknown,
    /// The last probe reached the active node.
    Yes,
    /// The last probes didn't, although the active node answers on its own address.
    No,
}

/// For each virtual IP, whether a standby reaches it: `- yes no`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ReachedVips(pub Vec<Reached>);

impl fmt::Display for ReachedVips {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = |reached: &Reached| match reached {
            Reached::Unknown => "-",
            Reached::Yes => "yes",
            Reached::No => "no",
        };
        f.write_str(&self.0.iter().map(word).collect::<Vec<_>>().join(" "))
    }
}

impl FromStr for ReachedVips {
    type Err = NotAReport;
    fn from_str(text: &str) -> Result<Self, NotAReport> {
        let reached = |word: &str| match word {
            "-" => Some(Reached::Unknown),
            "yes" => Some(Reached::Yes),
            "no" => Some(Reached::No),
            _ => None,
        };
        let all: Option<_> = text.split_whitespace().map(reached).collect();
        all.map(ReachedVips).ok_or_else(|| NotAReport::new(text, "a list of \"yes\", \"no\" and \"-\""))
    }
}

/// A refusal: `<what> <why>`. The refused is one word: the id of a request, or an [`Order`](crate::Order).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal<T> {
    /// What the node refused.
    pub of: T,
    /// The reason.
    pub why: String,
}

impl<T: fmt::Display> fmt::Display for Refusal<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&fitted(&format!("{} {}", self.of, self.why)))
    }
}

impl<T: FromStr> FromStr for Refusal<T> {
    type Err = NotAReport;
    fn from_str(text: &str) -> Result<Self, NotAReport> {
        let (of, why) = text.split_once(' ').unwrap_or((text, ""));
        let wrong = || NotAReport::new(text, "a refusal, such as \"65a1-3f no other node answers\"");
        if of.is_empty() {
            return Err(wrong());
        }
        Ok(Refusal { of: of.parse().map_err(|_| wrong())?, why: why.to_owned() })
    }
}

/// `text` as a tag's value: one line, cut to [`LONGEST`].
pub fn fitted(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(LONGEST).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Order;

    fn moment(text: &str) -> Moment {
        text.parse().unwrap()
    }

    #[test]
    fn reached_virtual_ips_read_back_as_written() {
        let reached = ReachedVips(vec![Reached::Unknown, Reached::Yes, Reached::No]);
        assert_eq!(reached.to_string(), "- yes no");
        assert_eq!("- yes no".parse(), Ok(reached));
        assert!("yes maybe".parse::<ReachedVips>().is_err());
    }

    #[test]
    fn a_moment_has_no_parts_of_a_second_and_reads_back_as_written() {
        assert_eq!(Moment::of("2026-11-29T14:03:12.987Z".parse().unwrap()).to_string(), "2026-11-29T14:03:12Z");
        assert_eq!(moment("2026-11-29T14:03:12Z").to_string(), "2026-11-29T14:03:12Z");
        for text in ["", "14:03:12", "today"] {
            assert!(text.parse::<Moment>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn unreachable_peers_read_back_as_written() {
        let peers = Unreachable(BTreeMap::from([
            ("i-0abc".to_owned(), moment("2026-11-29T14:03:12Z")),
            ("i-0def".to_owned(), moment("2026-11-29T14:03:11Z")),
        ]));
        assert_eq!(peers.to_string(), "i-0def@2026-11-29T14:03:11Z i-0abc@2026-11-29T14:03:12Z");
        assert_eq!(peers.to_string().parse(), Ok(peers));
        assert_eq!("".parse(), Ok(Unreachable::default()));
        for text in ["i-0abc", "@2026-11-29T14:03:12Z", "i-0abc@noon", "i-0abc@2026-11-29T14:03:12Z none"] {
            assert!(text.parse::<Unreachable>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_tag_names_the_longest_unreachable_peers_that_fit() {
        let peer = |n: i64| (format!("i-{n:017x}"), Moment(Timestamp::from_second(1_800_000_000 - n).unwrap()));
        let text = Unreachable((0..16).map(peer).collect()).to_string();
        assert!(text.len() <= LONGEST, "{text}");
        assert_eq!(text.parse(), Ok(Unreachable((10..16).map(peer).collect())));
    }

    #[test]
    fn a_refusal_reads_back_as_written() {
        let handover = Refusal { of: "65a1-3f".to_owned(), why: "10.0.2.10 doesn't answer".to_owned() };
        assert_eq!(handover.to_string(), "65a1-3f 10.0.2.10 doesn't answer");
        assert_eq!(handover.to_string().parse(), Ok(handover));
        let revision = Refusal { of: "3:0123456789ab".parse::<Order>().unwrap(), why: "it is older".to_owned() };
        assert_eq!(revision.to_string().parse(), Ok(revision));
        assert!("newest it is older".parse::<Refusal<Order>>().is_err());
        assert!("".parse::<Refusal<String>>().is_err() && " why".parse::<Refusal<String>>().is_err());
    }

    #[test]
    fn a_refusal_fits_a_tag_and_is_one_line() {
        let text = Refusal { of: "1-a".to_owned(), why: format!("line\n\u{1b}[31m{}", "ä".repeat(300)) }.to_string();
        assert_eq!(text.chars().count(), LONGEST);
        assert!(text.starts_with("1-a line  [31mä"));
    }
}
