//! systemd: telling it how the agent is (sd_notify(3)), and having it run HAProxy and keepalived.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use anyhow::Context;

use crate::process;

/// Tells systemd `state`, such as `READY=1`. Outside of systemd nobody is told.
pub fn notify(state: &str) {
    let Some(socket) = std::env::var_os("NOTIFY_SOCKET") else { return };
    if let Err(error) = send(&socket.to_string_lossy(), state) {
        tracing::warn!(%error, "cannot tell systemd {state}");
    }
}

fn send(socket: &str, state: &str) -> std::io::Result<()> {
    let address = match socket.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(socket)?,
    };
    UnixDatagram::unbound()?.send_to_addr(state.as_bytes(), &address).map(drop)
}

/// What systemd is about to do with `unit`, such as `stop` or `restart` (systemctl(1), `list-jobs`).
pub async fn job(unit: &str) -> anyhow::Result<Option<String>> {
    let jobs = process::run("systemctl", &["list-jobs", "--plain", "--no-legend", unit]).await?;
    Ok(job_of(&jobs, unit))
}

/// Lines are like `123 elbow-agent.service stop running`.
fn job_of(jobs: &str, unit: &str) -> Option<String> {
    let job = |line: &str| {
        let mut words = line.split_whitespace().skip(1);
        (words.next()? == unit).then(|| words.next())?.map(str::to_owned)
    };
    jobs.lines().find_map(job)
}

/// Whether `unit` runs.
pub async fn is_active(unit: &str) -> bool {
    process::run("systemctl", &["is-active", "--quiet", unit]).await.is_ok()
}

/// Starts `unit`, even if it failed so often that systemd has given up on it.
pub async fn start(unit: &str) -> anyhow::Result<()> {
    if process::run("systemctl", &["is-failed", "--quiet", unit]).await.is_ok() {
        process::run("systemctl", &["reset-failed", unit]).await?;
    }
    process::run("systemctl", &["start", unit]).await.map(drop).with_context(|| format!("starting {unit}"))
}

/// Has `unit` read its configuration again.
pub async fn reload(unit: &str) -> anyhow::Result<()> {
    process::run("systemctl", &["reload", unit]).await.map(drop).with_context(|| format!("reloading {unit}"))
}

/// The same for a unit that does so on SIGHUP, also while it waits for its turn to be stopped: systemd refuses to reload it
/// then.
pub async fn hang_up(unit: &str) -> anyhow::Result<()> {
    let signalled = process::run("systemctl", &["kill", "--kill-who=main", "--signal=SIGHUP", unit]).await;
    signalled.map(drop).with_context(|| format!("reloading {unit}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_units_job_is_read_as_systemctl_lists_it() {
        let jobs = "1234 reboot.target start waiting\n1240 elbow-agent.service stop running\n";
        assert_eq!(job_of(jobs, "elbow-agent.service").as_deref(), Some("stop"));
        assert_eq!(job_of(jobs, "haproxy.service"), None);
        assert_eq!(job_of("No jobs running.\n", "elbow-agent.service"), None);
    }

    #[test]
    fn systemd_is_told_through_a_socket_with_a_path_or_a_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        send(path.to_str().unwrap(), "READY=1").unwrap();
        let mut buffer = [0; 64];
        let length = socket.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..length], b"READY=1");

        let name = format!("elbow-agent-test-{}", std::process::id());
        let socket = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        send(&format!("@{name}"), "STOPPING=1").unwrap();
        let length = socket.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..length], b"STOPPING=1");
    }
}
