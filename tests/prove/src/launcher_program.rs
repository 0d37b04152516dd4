//! Runs Elbow's own `launcher`, which is built beside this program.

use std::ffi::OsStr;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tokio::process::Command;

/// Runs the launcher with these arguments. It ends with this future, and after `limit`.
pub async fn run<A: AsRef<OsStr>>(arguments: &[A], region: &str, limit: Duration) -> Result<String> {
    let program = std::env::current_exe().context("finding this program")?.with_file_name("launcher");
    let mut command = Command::new(&program);
    // A process group of its own: Ctrl-C reaches this program alone, which then cleans up with the launcher.
    command.args(arguments).env("AWS_REGION", region).stdin(Stdio::null()).process_group(0).kill_on_drop(true);
    let Ok(output) = tokio::time::timeout(limit, command.output()).await else {
        bail!("the launcher didn't end within {} s", limit.as_secs())
    };
    let output = output.with_context(|| format!("running {}; build it with `make build`", program.display()))?;
    let said = String::from_utf8_lossy(&output.stderr);
    let last = said.lines().rev().take(4).collect::<Vec<_>>().into_iter().rev().collect::<Vec<_>>().join("; ");
    ensure!(output.status.success(), "launcher {}: {}: {last}", arguments[0].as_ref().display(), output.status);
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
