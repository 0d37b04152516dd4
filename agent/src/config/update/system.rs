//! Files that the system reads and that depend on the balancer: cloud-init writes them at the first boot, an update anew.
//! What two balancers have in common stays as the first boot wrote it.

use std::path::Path;

use anyhow::Context;
use templates::{Balancer, files, paths};

use crate::host::files::write_aside;
use crate::host::process;

/// systemd's own program for it.
const SYSCTL: &str = "/usr/lib/systemd/systemd-sysctl";
/// Ports that connections to targets don't take.
const RESERVED: &str = "ip_local_reserved_ports";

/// Has the system go from what `before` needs to what `after` does.
pub(super) async fn follow(before: &Balancer, after: &Balancer) -> anyhow::Result<()> {
    let sysctl = files::sysctl_conf(after);
    if files::sysctl_conf(before) != sysctl {
        write_aside(Path::new(paths::SYSCTL), sysctl.clone()).await?;
        // A kernel that doesn't know one of them goes without, as at boot.
        if let Err(error) = process::run(SYSCTL, &[paths::SYSCTL]).await {
            tracing::warn!("not all kernel settings could be set: {error:#}");
        }
        if !sysctl.contains(RESERVED) {
            // What isn't in the file any more stays in the kernel otherwise.
            let file = format!("/proc/sys/net/ipv4/{RESERVED}");
            std::fs::write(&file, "\n").with_context(|| format!("writing {file}"))?;
        }
    }
    let unit = files::agent_unit(after);
    if files::agent_unit(before) != unit {
        write_aside(Path::new(paths::AGENT_UNIT), unit).await?;
        process::run("systemctl", &["daemon-reload"]).await?;
    }
    Ok(())
}
