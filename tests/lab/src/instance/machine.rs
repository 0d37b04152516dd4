//! An instance's power: on, off, cut, frozen; and ways to look inside.

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

/// What a command inside an instance has for an environment, and nothing of the caller's but the terminal.
const INSIDE: [&str; 3] =
    ["HOME=/root", "LANG=C.UTF-8", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"];

/// Whether an instance runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Power {
    /// No process is there.
    Off,
    /// It is booting or shutting down.
    Booting,
    /// cloud-init has ended, well or not.
    Up,
}

/// An instance that has been made.
#[derive(Debug, Clone)]
pub struct Machine {
    spec: Spec,
    folder: PathBuf,
    cgroup: Cgroup,
}

impl Machine {
    /// Makes an instance, switched off.
    pub fn create(dir: &LabDir, spec: Spec) -> Result<Machine> {
        let machine = Machine { folder: folder(dir, &spec.id), cgroup: Cgroup::of(dir, &spec.id)?, spec };
        disk::make(&machine.folder)?;
        root::prepare(&machine.folder, &machine.spec)?;
        let text = serde_json::to_string_pretty(&machine.spec)?;
        // Written last: without it, an instance hasn't been made.
        fs::write(machine.folder.join("spec.json"), text).context("writing the instance's description")?;
        Ok(machine)
    }

    /// Finds an instance that has been made, by this process or another.
    pub fn find(dir: &LabDir, id: &str) -> Result<Option<Machine>> {
        let folder = folder(dir, id);
        let text = match fs::read_to_string(folder.join("spec.json")) {
            Ok(text) => text,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(e).with_context(|| format!("reading the description of {id}")),
        };
        let spec = serde_json::from_str(&text).with_context(|| format!("reading the description of {id}"))?;
        Ok(Some(Machine { spec, folder, cgroup: Cgroup::of(dir, id)? }))
    }

    /// What it was made from.
    pub fn spec(&self) -> &Spec {
        &self.spec
    }

    /// Switches it on; it boots by itself from there. Nothing is done to one that is on.
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
        // A group of its own: an interrupt at the terminal isn't meant for it.
        let mut child = command.process_group(0).spawn().context("starting unshare for an instance")?;
        let pid = child.id();
        // Waits only so that the process doesn't stay behind as a zombie.
        thread::spawn(move || child.wait());
        let ended = || !Path::new(&format!("/proc/{pid}/exe")).exists();
        // Seen once is enough: while systemd sorts its processes into groups, they may be missed by a look at them.
        let started = Cell::new(false);
        self.cgroup.wait(Duration::from_secs(20), |_| {
            started.set(self.init().is_some());
            started.get() || ended()
        })?;
        ensure!(started.get(), "{} didn't start: {}", self.spec.id, self.console()?.trim_end());
        Ok(())
    }

    /// Whether it runs, and how far its boot is.
    pub fn power(&self) -> Power {
        match self.init() {
            _ if !self.cgroup.is_populated() => Power::Off,
            Some(init) if is_there(&format!("/proc/{init}/root/run/cloud-init/result.json")) => Power::Up,
            _ => Power::Booting,
        }
    }

    /// Cuts its power: every process ends at once, and has no say in it. Its link is the network's to darken, before.
    pub fn power_cut(&self) -> Result<()> {
        self.cgroup.kill().with_context(|| format!("cutting the power of {}", self.spec.id))?;
        self.cgroup.remove().map(drop)
    }

    /// Shuts it down in order, as a power button does; cuts its power if it takes longer than `most`.
    pub fn stop(&self, most: Duration) -> Result<()> {
        if let Some(supervisor) = self.supervisor() {
            kill_process(supervisor, Signal::TERM).with_context(|| format!("asking {} to shut down", self.spec.id))?;
            // Whether it made it in time or not, what follows is right.
            let _ = self.cgroup.wait(most, |group| !group.is_populated());
        }
        self.power_cut()
    }

    /// Stops all its processes where they are.
    pub fn freeze(&self) -> Result<()> {
        self.cgroup.freeze(true).with_context(|| format!("freezing {}", self.spec.id))
    }

    /// Lets its processes go on.
    pub fn thaw(&self) -> Result<()> {
        self.cgroup.freeze(false).with_context(|| format!("thawing {}", self.spec.id))
    }

    /// Leaves so much room on its disk, or as much as it was made with.
    pub fn leave_room(&self, kilobytes: Option<u64>) -> Result<()> {
        disk::resize(&self.folder, kilobytes).with_context(|| format!("the disk of {}", self.spec.id))
    }

    /// The words to put before a command so that it runs inside, with the caller's streams and its own exit status.
    ///
    /// It is a shell's child there, not nsenter's: a shutdown stops every process before it ends them, nsenter(1) stops
    /// along with its child, and nobody out here would wake it.
    pub fn entry(&self) -> Result<Vec<String>> {
        let Some(init) = self.init() else { bail!("{} isn't running", self.spec.id) };
        let init = init.to_string();
        let enter = ["nsenter", "--no-fork", "--target", &init];
        let spaces = ["--mount", "--pid", "--net", "--uts", "--ipc", "--cgroup", "--"];
        let terminal = std::env::var("TERM").map(|name| format!("TERM={name}"));
        let clean = ["env", "--ignore-environment"].into_iter().chain(INSIDE).map(str::to_owned).chain(terminal);
        let child = ["sh", "-c", r#""$@"; exit $?"#, "sh"].map(str::to_owned);
        Ok(enter.into_iter().chain(spaces).map(str::to_owned).chain(clean).chain(child).collect())
    }

    /// A command inside.
    pub fn command<'a>(&self, words: impl IntoIterator<Item = &'a str>) -> Result<Command> {
        let entry = self.entry()?;
        let mut command = Command::new(&entry[0]);
        command.args(&entry[1..]).args(words);
        Ok(command)
    }

    /// All that it said on its console since it was made.
    pub fn console(&self) -> Result<String> {
        match fs::read(self.folder.join("console.log")) {
            Ok(raw) => Ok(console::plain(&raw)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(String::new()),
            Err(e) => Err(e).with_context(|| format!("reading the console of {}", self.spec.id)),
        }
    }

    /// A file of its root, as it sees it, while it runs.
    pub fn read(&self, path: &str) -> Result<String> {
        let Some(init) = self.init() else { bail!("{} isn't running", self.spec.id) };
        let path = format!("/proc/{init}/root/{}", path.trim_start_matches('/'));
        fs::read_to_string(&path).with_context(|| format!("reading {path} of {}", self.spec.id))
    }

    /// Ends it for good, with all that it wrote. Power first: see [`Machine::stop`].
    pub fn delete(self) -> Result<()> {
        self.power_cut()?;
        delete_remains(&self.spec.id)?;
        disk::remove(&self.folder)?;
        fs::remove_dir_all(&self.folder).with_context(|| format!("removing {}", self.folder.display()))
    }

    /// The instance's own PID 1.
    fn init(&self) -> Option<u32> {
        self.cgroup.processes().into_iter().find(|pid| is_init(*pid))
    }

    /// The process on this side that watches over it.
    fn supervisor(&self) -> Option<Pid> {
        let mut processes = self.cgroup.processes().into_iter();
        let found = processes.find(|pid| {
            let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            name.trim() == "systemd-nspawn" && !is_init(*pid)
        })?;
        Pid::from_raw(i32::try_from(found).ok()?)
    }
}

/// What systemd-nspawn leaves behind in the host's /run when it is killed.
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

/// Where the lab's instances are.
pub(crate) fn folders(dir: &LabDir) -> PathBuf {
    dir.run().join("instances")
}

fn folder(dir: &LabDir, id: &str) -> PathBuf {
    folders(dir).join(id)
}

/// The last of its process ids is the one in the innermost namespace (proc_pid_status(5)).
fn is_init(pid: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let ids = status.lines().find_map(|line| line.strip_prefix("NSpid:")).unwrap_or_default();
    let ids: Vec<&str> = ids.split_whitespace().collect();
    ids.len() > 1 && ids.last() == Some(&"1")
}

/// Whether a path is there, be it a link to nowhere: links inside a root lead elsewhere when seen from outside.
fn is_there(path: &str) -> bool {
    fs::symlink_metadata(path).is_ok()
}
