//! Completes the lifecycle hooks of the node's Auto Scaling group, and reports nodes that hang to it.

pub mod ending;
pub mod hooks;
pub mod replace;
