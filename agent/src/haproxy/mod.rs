//! Checks whether HAProxy serves. The agent asks its health page five times a second, and at once when one of its
//! processes ends, and writes keepalived's track file. In case the agent is dead, keepalived also runs `agent check`.
//! A reload keeps the state of targets, and drained targets get no traffic while their group fails open.

mod admin;
mod csv;
mod exporter;
mod fail_open;
mod page;
pub mod reconfigure;
mod reload;
mod server_state;
mod servers;
mod sessions;
mod stats;
mod stick_tables;
mod targets;
mod verdict;
mod version;
mod watch;

use std::io;
use std::path::Path;

use crate::host::{files, probe};

pub use exporter::Exporter;
pub use reload::{configuration, reload};
pub use servers::watched_servers;
pub use sessions::{Served, Sessions, sessions};
pub use stats::{Server, TargetState};
pub use stick_tables::until_learned;
pub use targets::targets;
pub use version::check_version;
pub use watch::watch;

/// Its systemd unit.
pub const UNIT: &str = "haproxy.service";
/// Its health page.
const HEALTH: &str = "/healthz";

/// Whether HAProxy answers its health page, for the agent's own watch.
pub async fn answers() -> io::Result<()> {
    probe::answers(page::at(HEALTH)).await
}

/// Whether HAProxy answers its health page, for keepalived's script.
pub fn check() -> io::Result<()> {
    probe::check(page::at(HEALTH))
}

/// The revision of the HAProxy process that answers: after a reload, the new one only if it could start.
pub async fn revision() -> io::Result<String> {
    Ok(String::from_utf8_lossy(&page::read(page::at("/revision")).await?).trim().to_owned())
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
