//! The printing commands: `env`, `example`, `status`, `calls`.

use std::fmt::Write as _;

use anstream::{print, println};
use anyhow::{Context, Result};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::ask;
use crate::daemon::protocol::{Access, Example, Request, Status};
use crate::dir::LabDir;

/// Prints only `export K='v'` lines.
pub fn env(dir: &LabDir) -> Result<()> {
    let access: Access = ask::ask_as(dir, &Request::Access)?;
    let path = std::env::var("PATH").unwrap_or_default();
    for (key, value) in access.environment(&dir.venv().join("bin"), &path) {
        println!("export {key}={}", quoted(&value));
    }
    Ok(())
}

/// Prints a balancer.toml for the lab. If nodes get the agent by URL, it has the digest of the agent as it is built now.
pub fn example(dir: &LabDir, by_url: bool) -> Result<()> {
    let example: Example = ask::ask_as(dir, &Request::Example)?;
    if !by_url {
        print!("{}", example.toml(None));
        return Ok(());
    }
    let file = &example.agent_file;
    let agent = std::fs::read(file)
        .with_context(|| format!("reading the agent {}; build it with `make build`", file.display()))?;
    print!("{}", example.toml(Some(&hex::encode(Sha256::digest(agent)))));
    Ok(())
}

/// Prints the lab's status.
pub fn status(dir: &LabDir, json: bool) -> Result<()> {
    let status: Status = ask::ask_as(dir, &Request::Status)?;
    match json {
        true => println!("{}", serde_json::to_string_pretty(&status)?),
        false => print!("{}", status_text(&status)),
    }
    Ok(())
}

/// Prints the recorded API calls.
pub fn calls(dir: &LabDir, json: bool, clear: bool) -> Result<()> {
    let calls: Vec<Value> = ask::ask_as(dir, &Request::Calls { clear })?;
    for call in calls {
        match json {
            true => println!("{call}"),
            false => println!("{}", call_text(&call)),
        }
    }
    Ok(())
}

/// Quotes a word for any POSIX shell.
fn quoted(value: &str) -> String {
    format!("'{}'", value.replace('\'', r"'\''"))
}

fn call_text(call: &Value) -> String {
    let text = |key: &str| call[key].as_str().unwrap_or_default().to_owned();
    let time = text("time");
    let clock = time.split_once('T').map_or(time.as_str(), |(_, clock)| clock).trim_end_matches('Z');
    let mut line = format!(
        "{clock:<15} {:>8.1} ms  {:<21} {:<12} {:<28} {}",
        call["duration_ms"].as_f64().unwrap_or_default(),
        text("caller"),
        text("service"),
        text("action"),
        call["status"]
    );
    if !call["error"].is_null() {
        let _ = write!(line, " {}", text("error"));
    }
    line
}

fn status_text(status: &Status) -> String {
    let mut out = format!("vpc {}\n\n", status.vpc);
    let instances = status.instances.iter().map(|i| {
        let address = i.address.map(|address| address.to_string());
        let cells = [Some(&i.id), i.balancer.as_ref(), i.slot.as_ref(), Some(&i.zone), address.as_ref(), Some(&i.api)];
        let more = [Some(&i.lab), i.role.as_ref(), i.message.as_ref()];
        cells.into_iter().chain(more).map(|cell| cell.cloned().unwrap_or_else(|| "-".to_owned())).collect()
    });
    let head = ["INSTANCE", "BALANCER", "SLOT", "ZONE", "ADDRESS", "API", "LAB", "ROLE", "MESSAGE"];
    out.push_str(&table(&head, instances.collect()));
    let routes = status.routes.iter().map(|r| {
        let cells = [Some(&r.table), Some(&r.name), Some(&r.destination), r.interface.as_ref(), r.instance.as_ref()];
        let more = [Some(&r.state)];
        cells.into_iter().chain(more).map(|cell| cell.cloned().unwrap_or_else(|| "-".to_owned())).collect()
    });
    out.push('\n');
    out.push_str(&table(&["TABLE", "NAME", "DESTINATION", "INTERFACE", "INSTANCE", "STATE"], routes.collect()));
    out.push('\n');
    match status.faults.as_slice() {
        [] => out.push_str("no faults are set\n"),
        faults => faults.iter().for_each(|fault| out.push_str(&format!("{fault}\n"))),
    }
    out
}

fn table(head: &[&str], rows: Vec<Vec<String>>) -> String {
    let head: Vec<String> = head.iter().map(|&word| word.to_owned()).collect();
    let lines: Vec<&Vec<String>> = std::iter::once(&head).chain(&rows).collect();
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or_default();
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let print = |line: &&Vec<String>| {
        let cells: Vec<String> = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        format!("{}\n", cells.join("  ").trim_end())
    };
    lines.iter().map(print).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quote_cannot_end_a_shell_word() {
        assert_eq!(quoted("a'b $c"), r"'a'\''b $c'");
    }

    #[test]
    fn columns_line_up() {
        let rows = vec![vec!["i-1".to_owned(), "x".to_owned()], vec!["i-22".to_owned(), "y".to_owned()]];
        assert_eq!(table(&["ID", "B"], rows), "ID    B\ni-1   x\ni-22  y\n");
    }

    #[test]
    fn a_call_reads_as_one_line() {
        let call = serde_json::json!({"time": "2026-01-02T03:04:05.678901Z", "duration_ms": 12.3, "service": "ec2",
            "action": "ReplaceRoute", "caller": "i-1", "status": 400, "error": "InvalidParameterValue", "request": {}});
        let line = call_text(&call);
        assert!(line.starts_with("03:04:05.678901") && line.ends_with("400 InvalidParameterValue"), "{line}");
    }
}
