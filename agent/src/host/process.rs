//! Runs the system's programs, each under a time limit.

use std::process::{Output, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::host::files;

/// The time limit. systemd's own limit for a stop is 90 s; the agent's requests should take less than half of that.
const LIMIT: Duration = Duration::from_secs(40);

/// Runs a program and returns its standard output. An error has the command line and the last lines of its output.
pub async fn run(program: &str, arguments: &[&str]) -> anyhow::Result<String> {
    feed(program, arguments, "").await
}

/// Like [`run`], with `input` on standard input.
pub async fn feed(program: &str, arguments: &[&str], input: &str) -> anyhow::Result<String> {
    let name = [&[program], arguments].concat().join(" ");
    let output = tokio::time::timeout(LIMIT, output(program, arguments, input))
        .await
        .with_context(|| format!("{name}: still running after {} s", LIMIT.as_secs()))?
        .with_context(|| format!("running {name}"))?;
    if !output.status.success() {
        let said = [output.stderr, output.stdout].concat();
        bail!("{name}: {}: {}", output.status, complaint(&String::from_utf8_lossy(&said)));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

async fn output(program: &str, arguments: &[&str], input: &str) -> anyhow::Result<Output> {
    let mut command = Command::new(program);
    command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command.stdin(if input.is_empty() { Stdio::null() } else { Stdio::piped() });
    // Starting a program waits until the kernel has read it from disk, so a thread other than the runtime's does it.
    let mut child = files::aside(move || Ok(command.spawn()?)).await?;
    let stdin = child.stdin.take();
    let feeding = async move {
        if let Some(mut stdin) = stdin {
            // If the program closes its input early, its exit status shows whether that is an error.
            let _ = stdin.write_all(input.as_bytes()).await;
        }
    };
    Ok(tokio::join!(feeding, child.wait_with_output()).1?)
}

/// The reason of a failure in one line: HAProxy's first alert if there is one, else the last three lines.
fn complaint(output: &str) -> String {
    let lines: Vec<&str> = output.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let alerts: Vec<&str> = lines.iter().filter(|line| line.contains("ALERT")).copied().collect();
    let chosen = if alerts.is_empty() { &lines[lines.len().saturating_sub(3)..] } else { &alerts[..1] };
    chosen.join("; ").chars().take(300).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_program_that_fails_is_named_with_its_output() {
        let error = run("sh", &["-c", "echo one; echo two >&2; exit 3"]).await.unwrap_err();
        assert_eq!(error.to_string(), "sh -c echo one; echo two >&2; exit 3: exit status: 3: two; one");
    }

    #[tokio::test]
    async fn a_program_reads_its_input() {
        assert_eq!(feed("cat", &[], "one\n").await.unwrap(), "one\n");
        assert_eq!(run("cat", &[]).await.unwrap(), "");
        feed("true", &[], &"x".repeat(1 << 20)).await.unwrap();
    }

    #[tokio::test]
    async fn a_program_that_is_missing_is_named() {
        let error = run("no-such-program", &["-c"]).await.unwrap_err();
        assert_eq!(error.to_string(), "running no-such-program -c");
    }

    #[test]
    fn an_alert_is_preferred_to_the_last_lines() {
        let output = "[NOTICE] (1) : haproxy version is 2.6.12\n[ALERT] (1) : config : parsing [x:3] : unknown keyword\n\
                      [ALERT] (1) : config : Fatal errors found\n";
        assert_eq!(complaint(output), "[ALERT] (1) : config : parsing [x:3] : unknown keyword");
    }
}
