//! The agent: configures a node at boot, keeps HAProxy and keepalived running, and makes the route tables follow
//! keepalived's elections. Decisions are pure functions (`ownership::decide`, `node::members`, `node::tables`,
//! `takeover::next_call`, `polling::poll_schedule`); other modules carry them out. `runtime` starts them all.

pub mod auto_scaling;
pub mod aws;
pub mod cli;
pub mod config;
pub mod handover;
pub mod haproxy;
pub mod host;
pub mod keepalived;
pub mod listener_probe;
pub mod node;
pub mod ownership;
pub mod path_watch;
pub mod peers;
pub mod polling;
pub mod runtime;
pub mod second_chance;
pub mod takeover;
pub mod target_health;
pub mod telemetry;
