//! keepalived: what it says through its notify FIFO.

pub mod elections;
mod event;
mod fifo;
pub mod preferred;
pub mod upkeep;

pub use event::{Event, VrrpState};
pub use fifo::Fifo;

/// The unit that runs it.
pub const UNIT: &str = "keepalived.service";
