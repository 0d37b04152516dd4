//! The agent: it configures a node at boot, keeps HAProxy and keepalived going, and makes the route tables follow
//! keepalived's elections. What is decided is decided in pure functions (`ownership::decide`, `node::members`,
//! `node::tables`, `takeover::step`, `polling::pace`); the rest carries it out. `runtime` starts all of it.

pub mod auto_scaling;
pub mod aws;
pub mod cli;
pub mod config;
pub mod handover;
pub mod haproxy;
pub mod host;
pub mod keepalived;
pub mod node;
pub mod ownership;
pub mod peers;
pub mod polling;
pub mod runtime;
pub mod second_chance;
pub mod takeover;
pub mod telemetry;
