//! Instances: system containers that boot real systemd from an overlay on an image.
//!
//! An instance is what is found under its id: a folder in the lab's `run/instances`, and a control group with its
//! processes. Nothing is kept in memory, so that a lab that died leaves nothing that can't be found.

pub mod cgroup;
mod console;
mod disk;
pub(crate) mod machine;
mod root;
mod watches;

pub use machine::{Machine, Power};
pub use root::Spec;
pub use watches::Watches;
