//! Completes the lifecycle hooks of the node's Auto Scaling group, and reports nodes that hang to it.

pub mod hook_completion;
pub mod termination_hook;
pub mod unhealthy;
