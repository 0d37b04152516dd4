//! Sends events to the operator's webhook as JSON POSTs (docs/webhook.md). The outbox takes events without waiting, and
//! a courier delivers them from a thread of its own, so that a failover never waits for the webhook.

mod courier;
mod event;
mod outbox;

pub use courier::start;
pub use event::{Event, Found, Sender, Stray, What};
pub use outbox::Outbox;
