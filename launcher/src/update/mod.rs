//! Changes a running balancer.
//!
//! These are pure: [`snapshot`] holds the wanted balancer and what was read, [`preflight`] checks it, and [`plan`] lists the
//! steps. [`in_place`] plans for running nodes, [`replacement`] for nodes that need a successor, and [`instance_refresh`] for
//! an Auto Scaling group. [`forecast`] predicts a replacement.
//!
//! [`run`] runs the plan, and [`undo`] undoes it after a refusal. [`lease`] and [`lease_keeper`] admit one update at a time.
//! [`default_history`] lists the versions that Elbow made the default, and [`diff`] shows how files change.

pub mod against;
pub mod back;
pub mod defaults;
pub mod difference;
pub mod exchange;
pub mod follow;
pub mod foretell;
pub mod hold;
pub mod known;
pub mod lease;
pub mod next;
pub mod refresh;
pub mod replace;
pub mod roll;
pub mod settings;
pub mod steps;
pub mod tell;
