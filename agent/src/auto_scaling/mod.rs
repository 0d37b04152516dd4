//! Completes the lifecycle hooks of the node's Auto Scaling group, and reports nodes that hang to it.

pub mod lifecycle_hooks;
pub mod termination_hook;
pub mod unhealthy;
