//! An Auto Scaling group replaces its own nodes.

pub mod plan;
pub mod run;
