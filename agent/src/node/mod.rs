//! The state of the node, the members and the route tables: how they are read, saved and reported.

pub mod known;
pub mod lineage;
pub mod members;
pub mod observe;
pub mod report;
pub mod reports;
pub mod state;
pub mod status;
pub mod tables;
