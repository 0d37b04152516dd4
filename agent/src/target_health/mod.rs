//! The health of the targets, as this node's HAProxy checks them. Every node reads it; the active one reports it in its
//! tags and by the webhook. It isn't on the board, which is copied often: it has channels of its own.

mod announcer;
mod history;
mod snapshot;
mod watch;

pub use snapshot::{Group, Snapshot, Target};
pub use watch::{Channels, watch};

#[cfg(test)]
pub(crate) use snapshot::tests;
