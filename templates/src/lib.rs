//! What the launcher and the agent share: the [`Balancer`] that an operator describes, the names and tags of its
//! resources, and every file rendered from it. Nothing here does I/O, so errors depend on the arguments only.

pub mod balancer;
pub mod files;
pub mod handover;
pub mod listener_probe;
pub mod names;
pub mod node;
pub mod order;
pub mod paths;
pub mod report;
mod tag_words;
pub mod targets;
pub mod values;

pub use balancer::Balancer;
pub use node::{Role, Roles, Slot};
pub use order::Order;
