//! Checks whether HAProxy serves. The agent asks its health page five times a second, and at once when one of its
//! processes ends, and writes keepalived's track file. In case the agent is dead, keepalived also runs `agent check`.

mod csv;
mod page;
mod stats;
mod targets;
mod verdict;
mod watch;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use templates::paths::STATS_PORT;

use crate::host::files;
use crate::host::probe::{self, Page};

pub use stats::{Server, TargetState, servers};
pub use targets::targets;
pub use watch::watch;

/// Its systemd unit.
pub const UNIT: &str = "haproxy.service";

fn health_page() -> Page {
    Page { address: SocketAddr::from((Ipv4Addr::LOCALHOST, STATS_PORT)), path: "/healthz" }
}

/// Whether HAProxy answers its health page, for the agent's own watch.
pub async fn answers() -> io::Result<()> {
    probe::answers(health_page()).await
}

/// Whether HAProxy answers its health page, for keepalived's script.
pub fn check() -> io::Result<()> {
    probe::check(health_page())
}

/// The revision of the HAProxy process that answers: after a reload, the new one only if it could start.
pub async fn revision() -> io::Result<String> {
    Ok(String::from_utf8_lossy(&page::get("/revision").await?).trim().to_owned())
}

/// Writes keepalived's track `file`: 0 if HAProxy serves; anything else makes FAULT.
pub fn tell_keepalived(file: &Path, serves: Serves) -> anyhow::Result<()> {
    files::write_track(file, track(serves))
}

fn track(serves: Serves) -> i16 {
    i16::from(serves == Serves::No)
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
