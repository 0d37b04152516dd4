//! The state of the node, the members and the route tables: how they are read, saved and reported.

pub mod api_snapshot;
pub mod member_identity;
pub mod members;
pub mod observe;
pub mod report;
pub mod report_tags;
pub mod state;
pub mod status;
pub mod tables;
