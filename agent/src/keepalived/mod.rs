//! keepalived: its configuration, its notify FIFO, and the elections that the agent follows.

pub mod api_track;
pub mod elections;
mod event;
mod fifo;
pub mod reconfigure;

pub use event::{Event, VrrpState};
pub use fifo::Fifo;

/// Its systemd unit.
pub const UNIT: &str = "keepalived.service";
