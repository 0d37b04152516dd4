//! The sections of the benchmark, one in each file.

pub mod data_plane;
pub mod idle;
pub mod lost;
pub mod takeover;
pub mod zone;
