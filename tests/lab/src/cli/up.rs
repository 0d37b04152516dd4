//! Starts and stops the lab. The lab runs in a session of its own, so that it outlives the shell that ran `lab up`.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use anstream::{eprintln, println};
use anyhow::{Context, Result, bail};

use super::ask;
use crate::daemon::protocol::Request;
use crate::daemon::{self, lock};
use crate::dir::LabDir;
use crate::{image, sweep};

/// The line that a starting lab prints once it is ready.
const READY: &str = "ready";

/// Starts the lab and returns when it is ready. The new lab first removes what a dead one left.
pub fn up(dir: &LabDir) -> Result<()> {
    ask::need_root()?;
    if ask::is_up(dir)? {
        println!("the lab is up already");
        return Ok(());
    }
    image::ensure(dir).context("building the instance images")?;
    std::fs::create_dir_all(dir.run()).with_context(|| format!("making {}", dir.run().display()))?;
    let log_path = dir.run().join("lab.log");
    let log = File::create(&log_path).with_context(|| format!("writing {}", log_path.display()))?;
    let mut child = Command::new(std::env::current_exe().context("finding this program")?)
        .arg("serve")
        .env("ELBOW_LAB_DIR", dir.root())
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log)
        .spawn()
        .context("starting the lab")?;
    let said = child.stdout.take().expect("standard output is piped");
    for line in BufReader::new(said).lines() {
        let line = line.context("reading the starting lab's output")?;
        if line == READY {
            println!("the lab is up");
            return Ok(());
        }
        eprintln!("{line}");
    }
    child.wait().context("waiting for the lab")?;
    bail!("the lab did not start: {}", last_line(&log_path))
}

/// Runs the lab until a request or a signal stops it.
pub fn serve(dir: LabDir) -> Result<()> {
    ask::need_root()?;
    // Ctrl-C in the terminal must not stop the lab. setsid fails if this process leads a session already.
    let _ = rustix::process::setsid();
    daemon::serve(dir, || println!("{READY}"))
}

/// Stops the lab, or removes what a dead one left.
pub fn down(dir: &LabDir) -> Result<()> {
    ask::need_root()?;
    if ask::is_up(dir)? {
        ask::ask(dir, &Request::Down)?;
        println!("the lab is down");
        return Ok(());
    }
    let _lock = lock::take(dir)?;
    let removed = sweep::all(dir).context("removing what a dead lab left")?;
    match removed.len() {
        0 => println!("no lab is up"),
        count => println!("no lab is up; removed {count} leftovers of a dead lab"),
    }
    Ok(())
}

/// Builds the images and fetches the tools of the tests, if they are missing.
pub fn image(dir: &LabDir) -> Result<()> {
    ask::need_root()?;
    image::ensure(dir)?;
    image::tools::ensure(dir)
}

fn last_line(log: &std::path::Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    match text.lines().rfind(|line| !line.trim().is_empty()) {
        Some(line) => line.trim_start_matches("lab: ").to_owned(),
        None => format!("see {}", log.display()),
    }
}
