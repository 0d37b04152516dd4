//! Selects a node by its slot or by its instance.

use std::fmt;
use std::str::FromStr;

use templates::Slot;

/// A node, as an operator names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NodeSelector {
    /// The node in this slot; of several in one subnet the first (see [`crate::resources::instances::number`]).
    Slot(Slot),
    /// The node that is this instance.
    Instance(String),
}

impl NodeSelector {
    /// Whether it selects this `instance`, which slot `named` names, if any.
    pub fn is(&self, named: Option<Slot>, instance: &str) -> bool {
        match self {
            NodeSelector::Slot(slot) => named == Some(*slot),
            NodeSelector::Instance(id) => id == instance,
        }
    }
}

/// The text names no node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("name a node by its slot (0 is the first) or by its instance (i-…), as `launcher status` shows them")]
pub struct NamesNoNode;

impl FromStr for NodeSelector {
    type Err = NamesNoNode;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.starts_with("i-") {
            true => Ok(NodeSelector::Instance(text.to_owned())),
            false => text.parse().map(NodeSelector::Slot).map_err(|_| NamesNoNode),
        }
    }
}

impl fmt::Display for NodeSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NodeSelector::Slot(slot) => write!(f, "node {slot}"),
            NodeSelector::Instance(id) => f.write_str(id),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_named_by_slot_or_by_instance() {
        let is = |text: &str| text.parse::<NodeSelector>().map(|which| which.is(Some(Slot(1)), "i-0abc"));
        assert_eq!(["1", "i-0abc", "0", "i-1"].map(is), [true, true, false, false].map(Ok));
        assert_eq!(["", "first", "-1", "256"].map(is), [Err(NamesNoNode); 4]);
        assert!(!NodeSelector::Slot(Slot(1)).is(None, "i-0abc"), "another node of the subnet comes first");
    }
}
