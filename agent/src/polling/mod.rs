//! When the API is read, and how often.

pub mod poll_schedule;
pub mod refresh;
pub mod retries;
pub mod silent_peers;
