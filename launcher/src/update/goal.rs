//! What an operator asks of an update beside its file: a version that is there, the newest image, to go on without a node or
//! in spite of a doubt. Pure.

use crate::resources::instances::Node;
use crate::which::Which;

/// Which image nodes are to be launched from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Image {
    /// The one that was found when the balancer's image was named.
    #[default]
    Pinned,
    /// What the name stands for now: nodes of another are replaced.
    Newest,
    /// That of this version: nodes of another are replaced.
    Of(i64),
}

/// What is to be reached.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Goal {
    /// The image.
    pub image: Image,
    /// The nodes that may be unreachable.
    pub without: Vec<Which>,
    /// Whether to go on where a person should look first.
    pub force: Force,
}

/// Whether to go on where a person should look first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Force {
    /// Go on.
    Yes,
    /// Say what is to be looked at.
    #[default]
    No,
}

impl Goal {
    /// The version that is to be run, where it is a version that is asked for.
    pub fn version(&self) -> Option<i64> {
        if let Image::Of(version) = self.image { Some(version) } else { None }
    }

    /// Whether the update goes on without this node.
    pub fn leaves_out(&self, node: &Node) -> bool {
        node.unreachable.is_some() && self.names(node)
    }

    /// Whether the operator named this node as one to go on without.
    pub fn names(&self, node: &Node) -> bool {
        self.without.iter().any(|which| which.is(node.named, &node.id))
    }
}
