//! keepalived: what it says through its notify FIFO.

mod event;
mod fifo;

pub use event::{Event, VrrpState};
pub use fifo::Fifo;

/// The unit that runs it.
pub const UNIT: &str = "keepalived.service";
