//! The agent's metrics, its webhook events, and the recorder that feeds both.

pub mod metrics;
pub mod notify;
pub mod recorder;
