//! Where others take part in a call: the lab makes the kernel follow, tests stop a caller at an exact point.

use futures::FutureExt;
use futures::future::BoxFuture;

use super::call::Call;

/// Whether something gets through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Passage {
    /// It does.
    Open,
    /// It is lost, and its connection is closed.
    Lost,
}

/// What happens around calls. Each is awaited before the call goes on.
pub trait Hooks: Send + Sync + 'static {
    /// A request came (its status and duration aren't known yet). If it is lost, the API never sees it.
    fn request<'a>(&'a self, _call: &'a Call) -> BoxFuture<'a, Passage> {
        async { Passage::Open }.boxed()
    }

    /// A call changed the world. Its answer leaves when this is done.
    fn world_changed<'a>(&'a self, _call: &'a Call) -> BoxFuture<'a, ()> {
        async {}.boxed()
    }

    /// A call was carried out and recorded. If its answer is lost, its caller can't know.
    fn answer<'a>(&'a self, _call: &'a Call) -> BoxFuture<'a, Passage> {
        async { Passage::Open }.boxed()
    }
}

/// Nobody takes part.
pub struct NoHooks;

impl Hooks for NoHooks {}
