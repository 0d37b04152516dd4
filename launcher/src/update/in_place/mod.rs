//! Running nodes change to a revision, one after another.

pub mod plan;
pub mod run;
