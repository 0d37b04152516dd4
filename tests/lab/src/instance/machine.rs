//! Creates, starts, stops, freezes and deletes one instance, and runs commands inside it.

use std::cell::Cell;
use std::fs::{self, OpenOptions};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;
use std::{io, thread};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};

use super::cgroup::Cgroup;
use super::{Spec, console, disk, root};
use crate::dir::LabDir;
use crate::network::namespace;

const BOOT: &str = include_str!("boot.sh");

/// The environment of a command inside an instance. Only `TERM` comes from the caller.
const INSIDE: [&str; 3] =
    ["HOME=/root", "LANG=C.UTF-8", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"];

/// Whether an instance runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Power {
    /// It has no processes.
    Off,
    /// It is booting or shutting down.
    Booting,
    /// cloud-init has ended, with or without errors.
    Up,
}

/// An instance that exists on this machine.
#[derive(Debug, Clone)]
pub struct Machine {
    spec: Spec,
    folder: PathBuf,
    cgroup: Cgroup,
}

impl Machine {
    /// Creates an instance without starting it.
    pub fn create(dir: &LabDir, spec: Spec) -> Result<Machine> {
        let machine = Machine { folder: folder(dir, &spec.id), cgroup: Cgroup::of(dir, &spec.id)?, spec };
        disk::make(&machine.folder)?;
        root::prepare(&machine.folder, &machine.spec)?;
        let text = serde_json::to_string_pretty(&machine.spec)?;
        // Written last: an instance without it doesn't exist.
        fs::write(machine.folder.join("spec.json"), text).context("writing the instance's spec.json")?;
        Ok(machine)
    }

    /// Finds an instance by its ID.
    pub fn find(dir: &LabDir, id: &str) -> Result<Option<Machine>> {
        let folder = folder(dir, id);
        let text = match fs::read_to_string(folder.join("spec.json")) {
            Ok(text) => text,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(e).with_context(|| format!("reading spec.json of {id}")),
        };
        let spec = serde_json::from_str(&text).with_context(|| format!("reading spec.json of {id}"))?;
        Ok(Some(Machine { spec, folder, cgroup: Cgroup::of(dir, id)? }))
    }

    pub fn spec(&self) -> &Spec {
        &self.spec
    }

    /// Starts its boot. Does nothing if it runs.
    pub fn start(&self) -> Result<()> {
        if self.cgroup.is_populated() {
            return Ok(());
        }
        self.cgroup.create()?;
        let console = OpenOptions::new().create(true).append(true).open(self.folder.join("console.log"));
        let console = console.context("opening the instance's console")?;
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "slave", "sh", "-c", BOOT, &self.spec.id]);
        command.envs([
            ("ID", self.spec.id.clone()),
            ("HOST", self.spec.host_name()),
            ("UUID", self.spec.uuid()),
            ("NAMESPACE", namespace::behind(&self.spec.interface)),
        ]);
        command.env("CGROUP", self.cgroup.path()).env("FOLDER", &self.folder).env("IMAGE", &self.spec.image);
        command.stdin(Stdio::null()).stdout(console.try_clone()?).stderr(console);
        // In its own process group, an interrupt at the terminal doesn't reach it.
        let mut child = command.process_group(0).spawn().context("starting unshare for an instance")?;
        let pid = child.id();
        // Reaps the process.
        thread::spawn(move || child.wait());
        let ended = || !Path::new(&format!("/proc/{pid}/exe")).exists();
        // One sighting is enough: a scan can miss processes while systemd moves them between groups.
        let started = Cell::new(false);
        self.cgroup.wait(Duration::from_secs(20), |_| {
            started.set(self.init().is_some());
            started.get() || ended()
        })?;
        ensure!(started.get(), "{} did not start: {}", self.spec.id, self.console()?.trim_end());
        Ok(())
    }

    /// Its power state.
    pub fn power(&self) -> Power {
        match self.init() {
            _ if !self.cgroup.is_populated() => Power::Off,
            Some(init) if is_there(&format!("/proc/{init}/root/run/cloud-init/result.json")) => Power::Up,
            _ => Power::Booting,
        }
    }

    /// Kills all its processes. The caller cuts its link first.
    pub fn power_cut(&self) -> Result<()> {
        self.cgroup.kill().with_context(|| format!("cutting the power of {}", self.spec.id))?;
        self.cgroup.remove().map(drop)
    }

    /// Shuts it down like a power button. Cuts its power if that takes longer than `most`.
    pub fn stop(&self, most: Duration) -> Result<()> {
        if let Some(supervisor) = self.supervisor() {
            kill_process(supervisor, Signal::TERM).with_context(|| format!("asking {} to shut down", self.spec.id))?;
            // The power cut below follows in either case.
            let _ = self.cgroup.wait(most, |group| !group.is_populated());
        }
        self.power_cut()
    }

    /// Freezes all its processes.
    pub fn freeze(&self) -> Result<()> {
        self.cgroup.freeze(true).with_context(|| format!("freezing {}", self.spec.id))
    }

    /// Thaws its processes.
    pub fn thaw(&self) -> Result<()> {
        self.cgroup.freeze(false).with_context(|| format!("thawing {}", self.spec.id))
    }

    /// Sets the free space on its disk; without a number, restores the original size.
    pub fn leave_room(&self, kilobytes: Option<u64>) -> Result<()> {
        disk::resize(&self.folder, kilobytes).with_context(|| format!("resizing the disk of {}", self.spec.id))
    }

    /// The prefix for a command that runs inside, with the caller's streams and the command's exit status.
    ///
    /// The command is a child of a shell inside, not of nsenter(1): a shutdown stops all processes before it ends them,
    /// and nsenter would stop with its child and never continue.
    pub fn entry(&self) -> Result<Vec<String>> {
        let Some(init) = self.init() else { bail!("{}: not running", self.spec.id) };
        let init = init.to_string();
        let enter = ["nsenter", "--no-fork", "--target", &init];
        let spaces = ["--mount", "--pid", "--net", "--uts", "--ipc", "--cgroup", "--"];
        let terminal = std::env::var("TERM").map(|name| format!("TERM={name}"));
        let clean = ["env", "--ignore-environment"].into_iter().chain(INSIDE).map(str::to_owned).chain(terminal);
        let child = ["sh", "-c", r#""$@"; exit $?"#, "sh"].map(str::to_owned);
        Ok(enter.into_iter().chain(spaces).map(str::to_owned).chain(clean).chain(child).collect())
    }

    /// A command that runs inside.
    pub fn command<'a>(&self, words: impl IntoIterator<Item = &'a str>) -> Result<Command> {
        let entry = self.entry()?;
        let mut command = Command::new(&entry[0]);
        command.args(&entry[1..]).args(words);
        Ok(command)
    }

    /// Its console output since its creation.
    pub fn console(&self) -> Result<String> {
        match fs::read(self.folder.join("console.log")) {
            Ok(raw) => Ok(console::plain(&raw)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(String::new()),
            Err(e) => Err(e).with_context(|| format!("reading the console of {}", self.spec.id)),
        }
    }

    /// Reads a file of its root while it runs.
    pub fn read(&self, path: &str) -> Result<String> {
        let Some(init) = self.init() else { bail!("{}: not running", self.spec.id) };
        let path = format!("/proc/{init}/root/{}", path.trim_start_matches('/'));
        fs::read_to_string(&path).with_context(|| format!("reading {path} of {}", self.spec.id))
    }

    /// Deletes it with its disk. For an orderly shutdown, call [`Machine::stop`] first.
    pub fn delete(self) -> Result<()> {
        self.power_cut()?;
        delete_remains(&self.spec.id)?;
        disk::remove(&self.folder)?;
        fs::remove_dir_all(&self.folder).with_context(|| format!("removing {}", self.folder.display()))
    }

    /// The host's PID of the instance's init process.
    fn init(&self) -> Option<u32> {
        self.cgroup.processes().into_iter().find(|pid| is_init(*pid))
    }

    /// The systemd-nspawn process that supervises it.
    fn supervisor(&self) -> Option<Pid> {
        let mut processes = self.cgroup.processes().into_iter();
        let found = processes.find(|pid| {
            let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            name.trim() == "systemd-nspawn" && !is_init(*pid)
        })?;
        Pid::from_raw(i32::try_from(found).ok()?)
    }
}

/// Removes what a killed systemd-nspawn leaves in the host's /run.
pub(crate) fn delete_remains(id: &str) -> Result<()> {
    for kind in ["propagate", "unix-export"] {
        let path = Path::new("/run/systemd/nspawn").join(kind).join(id);
        match fs::remove_dir(&path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => {
                return Err(e).with_context(|| format!("removing {}", path.display()));
            }
            _ => {}
        }
    }
    Ok(())
}

/// The folder of the instances' folders.
pub(crate) fn folders(dir: &LabDir) -> PathBuf {
    dir.run().join("instances")
}

fn folder(dir: &LabDir, id: &str) -> PathBuf {
    folders(dir).join(id)
}

/// Whether this is PID 1 in the innermost namespace, which is last in `NSpid` (proc_pid_status(5)).
fn is_init(pid: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let ids = status.lines().find_map(|line| line.strip_prefix("NSpid:")).unwrap_or_default();
    let ids: Vec<&str> = ids.split_whitespace().collect();
    ids.len() > 1 && ids.last() == Some(&"1")
}

/// Whether a path exists. A link is not followed: inside the instance's root it leads elsewhere than from outside.
fn is_there(path: &str) -> bool {
    fs::symlink_metadata(path).is_ok()
}
