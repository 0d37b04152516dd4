//! What the agent tells of itself: metrics, notifications, and who counts what happens.

pub mod metrics;
pub mod notify;
pub mod witness;
