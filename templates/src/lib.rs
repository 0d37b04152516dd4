//! What the launcher and the agent agree on: the [`Balancer`] an operator describes, the names and tags by which its
//! parts are known, and every file rendered from it. Nothing here touches the outside world, so nothing here can fail
//! for a reason that isn't in its arguments.

pub mod balancer;
pub mod files;
pub mod handover;
pub mod names;
pub mod node;
pub mod order;
pub mod paths;
pub mod report;
pub mod text;

pub use balancer::Balancer;
pub use node::{Role, Roles, Slot};
pub use order::Order;
