//! Changes a running balancer.
//!
//! These are pure: [`snapshot`] holds the wanted balancer and what was read, [`refusals`] checks it, and [`plan`] lists the
//! steps. [`in_place`] plans for running nodes, [`replacement`] for nodes that need a successor, and [`instance_refresh`] for
//! an Auto Scaling group.
//!
//! [`execute`] runs the plan, and [`undo`] undoes it after a refusal. [`lease`] admits one update at a time.
//! [`elbow_defaults`] lists the versions that Elbow made the default, and [`diff`] shows how files change.

pub mod diff;
pub mod elbow_defaults;
pub mod execute;
pub mod in_place;
pub mod instance_refresh;
pub mod lease;
pub mod plan;
pub mod refusals;
pub mod replacement;
pub mod settings;
pub mod snapshot;
pub mod undo;
