//! Telling people: a JSON POST to the operator's webhook for what they would want to know at once (docs/webhook.md).
//! Events are put into an outbox, which never waits; a courier with a thread of its own carries them, so that nothing
//! at the other end of that connection is ever waited for by a failover.

mod courier;
mod event;
mod outbox;

pub use courier::start;
pub use event::{Event, Found, Sender, Stray, What};
pub use outbox::Outbox;
