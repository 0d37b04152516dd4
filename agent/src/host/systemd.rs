//! Reports the agent's state to systemd (sd_notify(3)), and controls the units of HAProxy and keepalived.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use anyhow::Context;
use tokio::time::MissedTickBehavior;

use crate::host::process;

/// Watchdog signs per `WatchdogSec=`. sd_watchdog_enabled(3) recommends two. Ten leave nine tenths of that time to a
/// machine that stands still.
const SIGNS: u32 = 10;
/// The limit of a write to systemd's socket, in case systemd doesn't read.
const LIMIT: Duration = Duration::from_secs(1);

/// Sends `state` to systemd, such as `READY=1`. Does nothing outside of systemd.
pub fn notify(state: &str) {
    let Some(socket) = std::env::var_os("NOTIFY_SOCKET") else { return };
    if let Err(error) = send(&socket.to_string_lossy(), state) {
        tracing::warn!(%error, state, "cannot notify systemd");
    }
}

/// Sends watchdog signs for as long as the runtime polls this. Returns at once if the unit has no watchdog.
pub async fn stay_alive() {
    let patience = std::env::var("WATCHDOG_USEC").ok();
    let (Some(every), Ok(socket)) = (sign_every(patience.as_deref()), std::env::var("NOTIFY_SOCKET")) else { return };
    // The socket is opened once, so that an agent without free descriptors still sends signs.
    let opened = nonblocking().and_then(|datagram| Ok((datagram, address(&socket)?)));
    let (datagram, systemd) = match opened {
        Ok(opened) => opened,
        Err(error) => {
            return tracing::error!(%error, "cannot open the socket for systemd's watchdog; systemd will restart the agent");
        }
    };
    let mut ticks = tokio::time::interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        // The agent doesn't wait for systemd. The next sign may get through.
        if let Err(error) = datagram.send_to_addr(b"WATCHDOG=1", &systemd) {
            tracing::debug!(%error, "cannot send a watchdog sign to systemd; retrying");
        }
    }
}

/// The interval of watchdog signs. `patience` is `WATCHDOG_USEC`, in microseconds.
fn sign_every(patience: Option<&str>) -> Option<Duration> {
    let patience = Duration::from_micros(patience?.parse().ok()?);
    (!patience.is_zero()).then(|| patience / SIGNS)
}

fn nonblocking() -> std::io::Result<UnixDatagram> {
    let datagram = UnixDatagram::unbound()?;
    datagram.set_nonblocking(true)?;
    Ok(datagram)
}

fn send(socket: &str, state: &str) -> std::io::Result<()> {
    let datagram = UnixDatagram::unbound()?;
    datagram.set_write_timeout(Some(LIMIT))?;
    datagram.send_to_addr(state.as_bytes(), &address(socket)?).map(drop)
}

fn address(socket: &str) -> std::io::Result<SocketAddr> {
    match socket.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => SocketAddr::from_pathname(socket),
    }
}

/// The type of systemd's job for `unit`, such as `stop` or `restart` (systemctl(1), `list-jobs`).
pub async fn job(unit: &str) -> anyhow::Result<Option<String>> {
    let jobs = process::run("systemctl", &["list-jobs", "--plain", "--no-legend", unit]).await?;
    Ok(job_of(&jobs, unit))
}

/// `jobs` has lines such as `123 elbow-agent.service stop running`.
fn job_of(jobs: &str, unit: &str) -> Option<String> {
    let job = |line: &str| {
        let mut words = line.split_whitespace().skip(1);
        (words.next()? == unit).then(|| words.next())?.map(str::to_owned)
    };
    jobs.lines().find_map(job)
}

pub async fn is_active(unit: &str) -> bool {
    process::run("systemctl", &["is-active", "--quiet", unit]).await.is_ok()
}

/// Starts `unit`, even if it failed so often that systemd no longer starts it.
pub async fn start(unit: &str) -> anyhow::Result<()> {
    if process::run("systemctl", &["is-failed", "--quiet", unit]).await.is_ok() {
        process::run("systemctl", &["reset-failed", unit]).await?;
    }
    process::run("systemctl", &["start", unit]).await.map(drop).with_context(|| format!("starting {unit}"))
}

/// Reloads `unit`'s configuration.
pub async fn reload(unit: &str) -> anyhow::Result<()> {
    process::run("systemctl", &["reload", unit]).await.map(drop).with_context(|| format!("reloading {unit}"))
}

/// Reloads a unit by SIGHUP. It works while a stop of the unit is queued, when systemd refuses a reload.
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
    fn ten_signs_are_sent_within_the_watchdog_time() {
        assert_eq!(sign_every(Some("10000000")), Some(Duration::from_secs(1)));
        for unwatched in [None, Some("0"), Some("soon")] {
            assert_eq!(sign_every(unwatched), None);
        }
    }

    #[test]
    fn the_watchdog_does_not_wait_for_a_systemd_that_does_not_read() {
        let name = format!("elbow-agent-deaf-{}", std::process::id());
        let _deaf = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        let (datagram, deaf) = (nonblocking().unwrap(), address(&format!("@{name}")).unwrap());
        let refused = (0..100_000).find_map(|_| datagram.send_to_addr(b"WATCHDOG=1", &deaf).err());
        assert_eq!(refused.expect("its queue is full at some time").kind(), std::io::ErrorKind::WouldBlock);
    }

    #[test]
    fn notify_sends_to_a_socket_with_a_path_or_a_name() {
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
