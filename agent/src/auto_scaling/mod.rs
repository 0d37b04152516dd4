//! What the agent does for an Auto Scaling group: its lifecycle hooks, and reports of nodes that hang.

pub mod ending;
pub mod hooks;
pub mod replace;
