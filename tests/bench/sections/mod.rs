//! What is measured, a section a file.

pub mod idle;
pub mod lost;
pub mod takeover;
pub mod zone;
