//! Sends a request to the running lab: one line of JSON each way.

use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::os::unix::net::UnixStream;

use anyhow::{Context, Result, anyhow, bail};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::daemon::protocol::{Answer, Request};
use crate::dir::LabDir;

/// The running lab's answer. An error answer and a lab that isn't up are errors.
pub fn ask(dir: &LabDir, request: &Request) -> Result<Value> {
    need_root()?;
    let Some(stream) = connect(dir)? else { bail!("no lab is up; start one with `lab up`") };
    converse(stream, request)
}

/// [`ask`], with the answer deserialized.
pub fn ask_as<T: DeserializeOwned>(dir: &LabDir, request: &Request) -> Result<T> {
    serde_json::from_value(ask(dir, request)?)
        .context("reading the lab's answer; was the running lab built from other sources?")
}

/// Whether the lab of this folder is up.
pub fn is_up(dir: &LabDir) -> Result<bool> {
    Ok(connect(dir)?.is_some())
}

/// Fails without root: the lab creates network namespaces and mounts.
pub fn need_root() -> Result<()> {
    if !rustix::process::geteuid().is_root() {
        bail!("the lab needs root for network namespaces and mounts; run it with sudo");
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
    stream.write_all(line.as_bytes()).context("sending the request to the lab")?;
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer).context("waiting for the lab's answer")?;
    if answer.is_empty() {
        bail!("the lab ended without an answer; see run/lab.log in its folder");
    }
    let answer: Answer = serde_json::from_str(&answer).context("reading the lab's answer")?;
    answer.map_err(|error| anyhow!(error))
}
