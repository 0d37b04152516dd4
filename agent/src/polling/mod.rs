//! When the API is read, and how often.

pub mod pace;
pub mod refresh;
pub mod retries;
pub mod silence;
