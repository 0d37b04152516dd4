//! What the node knows: itself, its members, the route tables, what the API said last; and what it writes down of it.

pub mod known;
pub mod lineage;
pub mod members;
pub mod observe;
pub mod report;
pub mod reports;
pub mod state;
pub mod status;
pub mod tables;
