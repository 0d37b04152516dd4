//! The node's configuration: at boot (`boot`), and in place while the node serves (`update`).

pub mod boot;
pub mod reconcile;
pub mod update;
