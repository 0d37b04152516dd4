//! Selects a node by its slot or by its instance.

use std::fmt;
use std::str::FromStr;

use templates::Slot;

/// A node, as an operator names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Which {
    /// The node in this slot; of several in one subnet the first (see [`crate::resources::instances::number`]).
    Slot(Slot),
    /// The node that is this instance.
    Instance(String),
}

impl Which {
    /// Whether it selects this `instance`, which slot `named` names, if any.
    pub fn is(&self, named: Option<Slot>, instance: &str) -> bool {
        match self {
            Which::Slot(slot) => named == Some(*slot),
            Which::Instance(id) => id == instance,
        }
    }
}

/// The text names no node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("name a node by its slot (0 is the first) or by its instance (i-…), as `launcher status` shows them")]
pub struct NamesNoNode;

impl FromStr for Which {
    type Err = NamesNoNode;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.starts_with("i-") {
            true => Ok(Which::Instance(text.to_owned())),
            false => text.parse().map(Which::Slot).map_err(|_| NamesNoNode),
        }
    }
}

impl fmt::Display for Which {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Which::Slot(slot) => write!(f, "node {slot}"),
            Which::Instance(id) => f.write_str(id),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_named_by_slot_or_by_instance() {
        let is = |text: &str| text.parse::<Which>().map(|which| which.is(Some(Slot(1)), "i-0abc"));
        assert_eq!(["1", "i-0abc", "0", "i-1"].map(is), [true, true, false, false].map(Ok));
        assert_eq!(["", "first", "-1", "256"].map(is), [Err(NamesNoNode); 4]);
        assert!(!Which::Slot(Slot(1)).is(None, "i-0abc"), "another node of the subnet comes first");
    }
}
