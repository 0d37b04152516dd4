//! What a balancer should be (`desired`), what there is of it (`observe`) and around it (`discover`), and its nodes.

pub mod claims;
pub mod desired;
pub mod discover;
pub mod identity;
pub mod node;
pub mod node_status;
pub mod observe;
pub mod scaling;
pub mod tags;
pub mod which;
