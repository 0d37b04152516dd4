//! The order that the launcher writes in a tag of a node, and the text of a refusal.

use std::fmt;
use std::str::FromStr;

use crate::balancer::Revision;

/// The value of the tag `elbow:revision`: a version of the balancer's launch template, and the revision that it must
/// hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// The version's number.
    pub version: i64,
    pub revision: Revision,
}

/// A tag's value that isn't an order.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not <version>:<revision>, such as \"3:0123456789ab\"")]
pub struct NotAnOrder(String);

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.version, self.revision)
    }
}

impl FromStr for Order {
    type Err = NotAnOrder;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts = text.split_once(':').and_then(|(version, revision)| Some((version.parse().ok()?, revision)));
        let revision = |text: &str| text.len() == 12 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        match parts {
            Some((version, text)) if version > 0 && revision(text) => {
                Ok(Order { version, revision: Revision(text.to_owned()) })
            }
            _ => Err(NotAnOrder(text.to_owned())),
        }
    }
}

impl Order {
    /// A refusal for people, in a node's message. Programs read [`crate::report::Refusal`].
    pub fn refusal(&self, why: &str) -> String {
        format!("refuses revision {} of version {}: {why}", self.revision, self.version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_reads_back_as_written_and_nothing_else_is_one() {
        let order: Order = "3:0123456789ab".parse().unwrap();
        assert_eq!(order, Order { version: 3, revision: Revision("0123456789ab".into()) });
        assert_eq!(order.to_string(), "3:0123456789ab");
        for text in
            ["", "3", "3:", ":0123456789ab", "0:0123456789ab", "3:0123456789AB", "3:0123456789abc", "x:0123456789ab"]
        {
            assert!(text.parse::<Order>().is_err(), "{text}");
        }
    }
}
