//! What tests and benchmarks of the whole stand on: a lab that is up, and the programs as a person calls them.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::Write;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::clients::{Crowd, Kind};
use crate::daemon::place::CLIENT;
use crate::daemon::protocol::{InstanceStatus, Status};
use crate::dir::LabDir;
use crate::network::namespace;
use crate::prober::{Plan, Prober};
use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use tokio::net::TcpSocket;

/// The example balancer's virtual IP and port.
pub const VIP: &str = "10.255.0.10:80";
/// Other tests and people may have the machine's one lab before us.
const TURN: Duration = Duration::from_secs(20 * 60);

/// One rig at a time: a machine has one lab.
static TAKEN: (Mutex<bool>, Condvar) = (Mutex::new(false), Condvar::new());

/// The right to this machine's lab, as far as this program goes; tests may hand it from thread to thread.
struct Turn;

impl Turn {
    fn wait() -> Turn {
        let taken = TAKEN.0.lock().unwrap_or_else(PoisonError::into_inner);
        *TAKEN.1.wait_while(taken, |taken| *taken).unwrap_or_else(PoisonError::into_inner) = true;
        Turn
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        *TAKEN.0.lock().unwrap_or_else(PoisonError::into_inner) = false;
        TAKEN.1.notify_one();
    }
}

/// A lab that is up, with nothing in it but its seed; down again when dropped.
pub struct Rig {
    dir: LabDir,
    programs: PathBuf,
    environment: BTreeMap<String, String>,
    folder: tempfile::TempDir,
    _turn: Turn,
}

impl Rig {
    /// A fresh lab.
    pub fn up() -> Result<Rig> {
        Rig::up_with(LabDir::open()?, programs()?)
    }

    /// A fresh lab in that folder, of the programs in the other; its instances fetch the agent there.
    pub fn up_with(dir: LabDir, programs: PathBuf) -> Result<Rig> {
        let (environment, folder) = (BTreeMap::new(), tempfile::tempdir()?);
        let mut rig = Rig { dir, programs, environment, folder, _turn: Turn::wait() };
        let end = Instant::now() + TURN;
        while let Err(error) = rig.lab(["down"]).and_then(|_| rig.lab(["up"])) {
            ensure!(format!("{error:#}").contains("another lab is up") && Instant::now() < end, "{error:#}");
            std::thread::sleep(Duration::from_secs(1));
        }
        rig.environment = exports(&rig.lab(["env"])?)?;
        Ok(rig)
    }

    /// Where the lab that is up keeps its things, and what it is made from.
    pub fn dir(&self) -> &LabDir {
        &self.dir
    }

    /// Where the lab that is up keeps its things.
    pub fn run_folder(&self) -> PathBuf {
        self.dir.run()
    }

    /// A file of this test's, written with that text.
    pub fn file(&self, name: &str, text: &str) -> Result<PathBuf> {
        let path = self.folder.path().join(name);
        std::fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
        Ok(path)
    }

    /// The lab's example, after changes to its text.
    pub fn balancer(&self, change: impl FnOnce(String) -> String) -> Result<PathBuf> {
        let text = change(self.lab(["example"])?);
        self.file("balancer.toml", &text)
    }

    /// `lab …`: its standard output.
    pub fn lab<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Result<String> {
        printed(&self.run("lab", arguments)?)
    }

    /// `launcher …`, whatever its exit status.
    pub fn launcher<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Result<Output> {
        self.run("launcher", arguments)
    }

    /// `launcher create FILE`: its standard output; it must succeed.
    pub fn create(&self, file: &Path) -> Result<String> {
        printed(&self.launcher([OsStr::new("create"), file.as_os_str()])?)
    }

    /// `launcher destroy NAME --yes`: its standard output; it must succeed.
    pub fn destroy(&self, name: &str) -> Result<String> {
        printed(&self.launcher(["destroy", name, "--yes"])?)
    }

    /// `aws … --output json`.
    pub fn aws<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Result<Value> {
        let arguments: Vec<_> = arguments.into_iter().map(|word| word.as_ref().to_owned()).collect();
        let mut command = Command::new(self.dir.venv().join("bin/aws"));
        command.args(arguments).args(["--output", "json"]).envs(&self.environment);
        // What the lab answers is to be seen, and not what it answers when asked again.
        command.env("AWS_MAX_ATTEMPTS", "1");
        let text = printed(&finish(command)?)?;
        if text.trim().is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_str(&text).context("reading what the AWS CLI printed")
    }

    /// A command inside an instance: its standard output; it must succeed.
    pub fn inside(&self, id: &str, command: &[&str]) -> Result<String> {
        self.lab(["exec", id].iter().chain(command))
    }

    /// The lab as it stands.
    pub fn status(&self) -> Result<Status> {
        serde_json::from_str(&self.lab(["status", "--json"])?).context("reading the lab's status")
    }

    /// The instance that the virtual IP's route in the main table points at.
    pub fn active(&self) -> Result<String> {
        let routes = self.status()?.routes;
        let main = routes.iter().find(|r| r.name == "main" && r.destination == "10.255.0.10/32");
        main.and_then(|r| r.instance.clone())
            .context("the main table has no route to a live instance for the virtual IP")
    }

    /// Waits until so many nodes of the balancer `web` say what they are, one of them active; gives them.
    pub fn settled(&self, nodes: usize, patience: Duration) -> Result<Vec<InstanceStatus>> {
        self.settled_of("web", nodes, patience)
    }

    /// The same for a balancer of that name.
    pub fn settled_of(&self, balancer: &str, nodes: usize, patience: Duration) -> Result<Vec<InstanceStatus>> {
        wait_for(&format!("{nodes} nodes of {balancer}, one of them active"), patience, || {
            let status = self.status()?;
            let ours =
                status.instances.into_iter().filter(|i| i.balancer.as_deref() == Some(balancer) && i.api == "running");
            let ours: Vec<_> = ours.filter(|i| i.lab == "up").collect();
            let count = |role: &str| ours.iter().filter(|i| i.role.as_deref() == Some(role)).count();
            ensure!(count("active") == 1 && count("standby") == nodes - 1, "they say {ours:?}");
            Ok(ours)
        })
    }

    /// The API calls so far.
    pub fn calls(&self) -> Result<Vec<Value>> {
        let text = self.lab(["calls", "--json"])?;
        text.lines().map(|line| serde_json::from_str(line).context("reading a recorded call")).collect()
    }

    /// A prober at the client's place.
    pub fn prober(&self, every_ms: u64) -> Result<Prober> {
        self.prober_of(VIP, every_ms)
    }

    /// The same for another virtual IP and port.
    pub fn prober_of(&self, vip: &str, every_ms: u64) -> Result<Prober> {
        Prober::start(Plan {
            namespace: Some(namespace::behind(CLIENT)),
            to: vip.parse()?,
            path: "/".to_owned(),
            every: Duration::from_millis(every_ms),
            limit: Duration::from_secs(2),
        })
    }

    /// A crowd of clients at the client's place.
    pub fn crowd(&self, kinds: Vec<Kind>) -> Result<Crowd> {
        self.crowd_of(VIP, kinds)
    }

    /// The same for another virtual IP and port.
    pub fn crowd_of(&self, vip: &str, kinds: Vec<Kind>) -> Result<Crowd> {
        Crowd::start(Some(namespace::behind(CLIENT)), vip.parse()?, kinds)
    }

    /// A socket at the client's place, bound to that port: also where one that has ended held it before.
    pub fn client_socket(&self, port: u16) -> Result<TcpSocket> {
        let bound = move || {
            let socket = TcpSocket::new_v4()?;
            socket.set_reuseaddr(true)?;
            socket.bind((Ipv4Addr::UNSPECIFIED, port).into())?;
            Ok::<_, std::io::Error>(socket)
        };
        namespace::enter(&namespace::behind(CLIENT), bound)?
            .with_context(|| format!("binding the client's port {port}"))
    }

    /// A variable of `lab env`.
    pub fn variable(&self, key: &str) -> Result<String> {
        self.environment.get(key).cloned().with_context(|| format!("`lab env` doesn't set {key}"))
    }

    /// Puts a measured figure where the closing note takes it from, and into the test's output.
    pub fn figure(&self, name: &str, value: impl std::fmt::Display) -> Result<()> {
        println!("figure: {name}: {value}");
        let path = self.dir.root().join("figures.txt");
        let mut file = std::fs::OpenOptions::new().create(true).append(true).open(path)?;
        writeln!(file, "{name}: {value}").context("noting a figure")
    }

    fn run<A: AsRef<OsStr>>(&self, program: &str, arguments: impl IntoIterator<Item = A>) -> Result<Output> {
        let mut command = Command::new(self.programs.join(program));
        command.args(arguments).envs(&self.environment).env("ELBOW_LAB_DIR", self.dir.root());
        finish(command)
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        if let Err(error) = self.lab(["down"]) {
            eprintln!("lab down: {error:#}");
        }
    }
}

/// Waits until `look` finds something, and says at the end of its patience what it saw last.
pub fn wait_for<T>(what: &str, patience: Duration, mut look: impl FnMut() -> Result<T>) -> Result<T> {
    let end = Instant::now() + patience;
    loop {
        match look() {
            Ok(found) => return Ok(found),
            Err(error) if Instant::now() >= end => {
                return Err(error).with_context(|| format!("waited {patience:?} for {what}"));
            }
            Err(_) => std::thread::sleep(Duration::from_millis(100)),
        }
    }
}

/// What it printed, if it succeeded.
pub fn printed(output: &Output) -> Result<String> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    ensure!(output.status.success(), "{}: {}{}", output.status, text(&output.stdout), text(&output.stderr).trim());
    Ok(text(&output.stdout))
}

fn finish(mut command: Command) -> Result<Output> {
    let output = command.stdin(std::process::Stdio::null()).output();
    output.with_context(|| format!("running {}", command.get_program().display()))
}

/// Where `launcher`, `lab` and `agent` are: beside this program, or a folder above, where Cargo puts tests into one.
pub fn programs() -> Result<PathBuf> {
    let program = std::env::current_exe()?;
    let folder = program.parent().context("this program is in no folder")?;
    let folder = if folder.ends_with("deps") { folder.parent().unwrap_or(folder) } else { folder };
    for program in ["launcher", "lab", "agent"] {
        if !folder.join(program).exists() {
            bail!("{} isn't there: run `make build` first", folder.join(program).display());
        }
    }
    Ok(folder.to_owned())
}

fn exports(text: &str) -> Result<BTreeMap<String, String>> {
    let pair = |line: &str| {
        let (key, value) = line.strip_prefix("export ")?.split_once('=')?;
        Some((key.to_owned(), value.strip_prefix('\'')?.strip_suffix('\'')?.to_owned()))
    };
    text.lines().map(|line| pair(line).with_context(|| format!("`lab env` printed {line:?}"))).collect()
}
