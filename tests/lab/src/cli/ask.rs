//! Asks the running lab: a line of JSON there, a line back.

use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::os::unix::net::UnixStream;

use anyhow::{Context, Result, anyhow, bail};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::daemon::protocol::{Answer, Request};
use crate::dir::LabDir;

/// The running lab's answer; an error if it says so, or if no lab is up.
pub fn ask(dir: &LabDir, request: &Request) -> Result<Value> {
    need_root()?;
    let Some(stream) = connect(dir)? else { bail!("no lab is up: start one with `lab up`") };
    converse(stream, request)
}

/// The running lab's answer, as the type it is.
pub fn ask_as<T: DeserializeOwned>(dir: &LabDir, request: &Request) -> Result<T> {
    serde_json::from_value(ask(dir, request)?).context("reading the lab's answer: was it built from other sources?")
}

/// Whether a lab is up here.
pub fn is_up(dir: &LabDir) -> Result<bool> {
    Ok(connect(dir)?.is_some())
}

/// Refuses those who can't make namespaces.
pub fn need_root() -> Result<()> {
    if !rustix::process::geteuid().is_root() {
        bail!("the lab makes network namespaces and mounts, and needs root: run it with sudo");
    }
    Ok(())
}

fn connect(dir: &LabDir) -> Result<Option<UnixStream>> {
    match UnixStream::connect(dir.socket()) {
        Ok(stream) => Ok(Some(stream)),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) => Ok(None),
        Err(error) => Err(error).with_context(|| format!("connecting to the lab at {}", dir.socket().display())),
    }
}

fn converse(mut stream: UnixStream, request: &Request) -> Result<Value> {
    let mut line = serde_json::to_string(request)?;
    line.push('\n');
    stream.write_all(line.as_bytes()).context("asking the lab")?;
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer).context("waiting for the lab's answer")?;
    if answer.is_empty() {
        bail!("the lab went away without an answer: see run/lab.log in its folder");
    }
    let answer: Answer = serde_json::from_str(&answer).context("reading the lab's answer")?;
    answer.map_err(|error| anyhow!(error))
}
