//! The agent: it configures a node at boot, keeps HAProxy and keepalived going, and makes the route tables follow
//! keepalived's elections. What is decided is decided in pure functions (`decide`, `members`, `tables`,
//! `takeover::step`, `run::pace`); the rest carries it out.

pub mod backoff;
pub mod cli;
pub mod configure;
pub mod decide;
pub mod ec2;
pub mod files;
pub mod handover;
pub mod haproxy;
pub mod health;
pub mod http;
pub mod ids;
pub mod imds;
pub mod keepalived;
pub mod known;
pub mod lineage;
pub mod logs;
pub mod loopback;
pub mod members;
pub mod metadata;
pub mod metrics;
pub mod notify;
pub mod observe;
pub mod panics;
pub mod probe;
pub mod process;
pub mod report;
pub mod run;
pub mod second_chance;
pub mod state;
pub mod status;
pub mod systemd;
pub mod tables;
pub mod takeover;
pub mod update;
pub mod witness;
