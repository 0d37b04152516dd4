//! Runs scripts with `ip -batch` and `nft -f`, each inside the namespace that it changes.

use std::io::Write;
use std::process::{Command, Stdio};
use std::{fs, io};

use anyhow::{Context, Result, ensure};

use super::namespace::{CARDS, ROUTER, enter};
use super::script::Script;

/// Runs a script. On an error, the earlier steps have been applied.
pub(super) fn script(script: &Script) -> Result<()> {
    if let Some(text) = &script.cards_firewall {
        nft(CARDS, text)?;
    }
    if let Some(text) = &script.router_firewall {
        nft(ROUTER, text)?;
    }
    ip(Some(ROUTER), &script.router_first)?;
    ip(Some(CARDS), &script.cards_first)?;
    ip(None, &script.host)?;
    ip(Some(CARDS), &script.cards)?;
    for (name, lines) in &script.inside {
        // A new namespace inherits the host's setting, but a machine doesn't forward by default.
        settings(name, &[("net/ipv4/ip_forward", "0")])?;
        ip(Some(name), lines)?;
    }
    ip(Some(ROUTER), &script.router)
}

/// Runs lines of `ip` in a namespace, or in the host's.
pub(super) fn ip(namespace: Option<&str>, lines: &[String]) -> Result<()> {
    if lines.is_empty() {
        return Ok(());
    }
    let text = lines.join("\n") + "\n";
    feed(namespace, Command::new("ip").args(["-batch", "-"]), &text)
}

fn nft(namespace: &str, text: &str) -> Result<()> {
    feed(Some(namespace), Command::new("nft").args(["-f", "-"]), text)
}

/// Writes settings below `/proc/sys` in a namespace.
pub(super) fn settings(namespace: &str, settings: &[(&str, &str)]) -> Result<()> {
    enter(namespace, || {
        for (name, value) in settings {
            let path = format!("/proc/sys/{name}");
            // A kernel without IPv6 has no such setting.
            match fs::write(&path, value) {
                Err(e) if e.kind() == io::ErrorKind::NotFound && name.starts_with("net/ipv6") => {}
                result => result.with_context(|| format!("setting {path} to {value} in {namespace}"))?,
            }
        }
        Ok(())
    })?
}

fn feed(namespace: Option<&str>, command: &mut Command, text: &str) -> Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    // A child is in the namespace of the thread that started it.
    let child = match namespace {
        Some(name) => enter(name, || command.spawn())?,
        None => command.spawn(),
    };
    let mut child = child.with_context(|| format!("starting {program}; install its package with `make setup`"))?;
    let written = child.stdin.take().context("the child has a standard input")?.write_all(text.as_bytes());
    let output = child.wait_with_output().with_context(|| format!("waiting for {program}"))?;
    let place = namespace.unwrap_or("the host");
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{program} failed in {place} ({}): {}", output.status, said.trim());
    written.with_context(|| format!("writing the script to {program}"))
}
