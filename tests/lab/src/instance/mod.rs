//! Instances: system containers that boot real systemd from an overlay on an image.
//!
//! An instance is a folder in `run/instances` and a control group, both named after its ID. Nothing is kept in memory,
//! so that a sweep finds all that a dead lab left.

pub mod cgroup;
mod console;
mod disk;
pub(crate) mod machine;
mod root;
mod watches;

pub use machine::{Machine, Power};
pub use root::Spec;
pub use watches::Watches;
