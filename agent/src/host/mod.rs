//! The machine that the agent runs on: files, processes, systemd, `lo`, logs, and HTTP to IMDS and peers.

pub mod backoff;
pub mod ethtool;
pub mod files;
pub mod http;
pub mod kernel_events;
pub mod logs;
pub mod loopback;
pub mod memory;
pub mod metadata;
pub mod nft;
pub mod panics;
pub mod probe;
pub mod process;
pub mod processes;
pub mod sysctl;
pub mod systemd;
