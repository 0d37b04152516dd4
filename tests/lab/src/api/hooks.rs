//! Hooks around API calls: the lab updates the kernel in them, and tests stop a caller at an exact point.

use futures::FutureExt;
use futures::future::BoxFuture;

use super::call::Call;

/// Whether a request or an answer is delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Passage {
    /// Delivered.
    Open,
    /// Lost; its connection is closed.
    Lost,
}

/// Hooks around calls. The call continues when a hook returns.
pub trait Hooks: Send + Sync + 'static {
    /// Called for each request, before its status and duration are known. The API never sees a lost request.
    fn request<'a>(&'a self, _call: &'a Call) -> BoxFuture<'a, Passage> {
        async { Passage::Open }.boxed()
    }

    /// Called after a call that changed something, before its answer leaves.
    fn world_changed<'a>(&'a self, _call: &'a Call) -> BoxFuture<'a, ()> {
        async {}.boxed()
    }

    /// Called after a call was carried out and recorded, before its answer leaves.
    fn answer<'a>(&'a self, _call: &'a Call) -> BoxFuture<'a, Passage> {
        async { Passage::Open }.boxed()
    }
}

/// Hooks that do nothing.
pub struct NoHooks;

impl Hooks for NoHooks {}
