//! New nodes take the places of nodes that can't change while they run.

pub mod forecast;
pub mod plan;
pub mod run;
