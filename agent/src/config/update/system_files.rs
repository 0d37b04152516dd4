//! Updates the system's files that depend on the balancer, which cloud-init wrote at the first boot. Files that are the
//! same for both balancers stay.

use std::path::Path;

use anyhow::Context;
use templates::{Balancer, files, paths};

use crate::host::files::write_aside;
use crate::host::{process, sysctl};

/// The setting for local ports that connections to targets don't use.
const RESERVED: &str = "ip_local_reserved_ports";

/// Changes the system's files and settings from those of `before` to those of `after`.
pub(super) async fn change(before: &Balancer, after: &Balancer) -> anyhow::Result<()> {
    let sysctl = files::sysctl_conf(after);
    if files::sysctl_conf(before) != sysctl {
        write_aside(Path::new(paths::SYSCTL), sysctl.clone()).await?;
        // The node serves without a setting that the kernel refuses, as at boot.
        if let Err(error) = sysctl::ensure(&sysctl) {
            tracing::warn!("cannot apply all kernel settings: {error:#}");
        }
        if !sysctl.contains(RESERVED) {
            // The kernel keeps a setting that is gone from the file.
            let file = format!("/proc/sys/net/ipv4/{RESERVED}");
            std::fs::write(&file, "\n").with_context(|| format!("writing {file}"))?;
        }
    }
    let unit = files::agent_unit(after);
    if files::agent_unit(before) != unit {
        write_aside(Path::new(paths::AGENT_UNIT), unit).await?;
        process::run("systemctl", &["daemon-reload"]).await?;
    }
    let rsyslog = files::rsyslog_conf(after);
    if files::rsyslog_conf(before) != rsyslog {
        write_aside(Path::new(paths::RSYSLOG), rsyslog).await?;
        // It reads its files only at a start, and keeps what it hasn't sent.
        process::run("systemctl", &["restart", "rsyslog.service"]).await?;
    }
    Ok(())
}
