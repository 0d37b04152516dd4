//! Sends events to the operator's webhook as JSON POSTs (docs/webhook.md). The outbox takes events without waiting, and
//! a courier delivers them from a thread of its own, so that a failover never waits for the webhook.

mod delivery;
mod event;
mod outbox;

pub use delivery::start;
pub use event::{Event, FoundRoute, Sender, Stray, What};
pub use outbox::Outbox;
