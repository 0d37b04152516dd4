//! Running the system's own programs, each under a time limit.

use std::process::{Output, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::host::files;

/// systemd's own limit for a stop is 90 s; nothing the agent asks for should take half of that.
const LIMIT: Duration = Duration::from_secs(40);

/// What a program printed to standard output. An error says which program it was and what it complained about.
pub async fn run(program: &str, arguments: &[&str]) -> anyhow::Result<String> {
    feed(program, arguments, "").await
}

/// The same for a program that reads `input`.
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
    // The thread that starts a program waits until the kernel has read it: a disk that hangs must not hold up the runtime's.
    let mut child = files::aside(move || Ok(command.spawn()?)).await?;
    let stdin = child.stdin.take();
    let feeding = async move {
        if let Some(mut stdin) = stdin {
            // A program that has heard enough says itself what it thinks of it.
            let _ = stdin.write_all(input.as_bytes()).await;
        }
    };
    Ok(tokio::join!(feeding, child.wait_with_output()).1?)
}

/// The lines that say what is wrong, in one: HAProxy's alerts if there are any, else the last words.
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
    async fn a_program_that_fails_is_named_with_what_it_said() {
        let error = run("sh", &["-c", "echo one; echo two >&2; exit 3"]).await.unwrap_err();
        assert_eq!(error.to_string(), "sh -c echo one; echo two >&2; exit 3: exit status: 3: two; one");
    }

    #[tokio::test]
    async fn a_program_reads_what_it_is_fed() {
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
    fn an_alert_is_what_people_need_to_see() {
        let output = "[NOTICE] (1) : haproxy version is 2.6.12\n[ALERT] (1) : config : parsing [x:3] : unknown keyword\n\
                      [ALERT] (1) : config : Fatal errors found\n";
        assert_eq!(complaint(output), "[ALERT] (1) : config : parsing [x:3] : unknown keyword");
    }
}
