//! HAProxy: is it there, and does it answer? The agent asks five times a second, and at once when one of its processes
//! ends, and tells keepalived through its track file; keepalived asks for itself through `agent check`, should the agent
//! be gone.

mod opinion;
mod probe;
mod processes;
mod revision;
mod targets;
mod watch;

use std::path::Path;

use anyhow::Context;

pub use probe::{answers, check};
pub use revision::revision;
pub use targets::targets;
pub use watch::watch;

/// The unit that runs it.
pub const UNIT: &str = "haproxy.service";

/// Tells keepalived, through `file`, whether HAProxy serves: 0 is well, anything else makes FAULT.
pub fn tell_keepalived(file: &Path, serves: Serves) -> anyhow::Result<()> {
    let text = match serves {
        Serves::Yes => "0\n",
        Serves::No => "1\n",
    };
    std::fs::write(file, text).with_context(|| format!("writing {}", file.display()))
}

/// Whether HAProxy serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Serves {
    /// It answers.
    Yes,
    /// It doesn't.
    #[default]
    No,
}
