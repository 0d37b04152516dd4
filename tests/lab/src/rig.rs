//! A running lab for tests and benchmarks, which call `lab`, `launcher` and `aws` as an operator does.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::Write;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::clients::{Crowd, Kind};
use crate::daemon::addresses::CLIENT;
use crate::daemon::protocol::{InstanceStatus, Status};
use crate::dir::LabDir;
use crate::network::namespace;
use crate::prober::{Plan, Prober};
use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use tokio::net::TcpSocket;

/// The example balancer's virtual IP and port.
pub const VIP: &str = "10.255.0.10:80";
/// How long to wait for another lab on this machine to end.
const TURN: Duration = Duration::from_secs(20 * 60);

/// Whether this process has a rig: a machine has one lab.
static TAKEN: (Mutex<bool>, Condvar) = (Mutex::new(false), Condvar::new());

/// This process's lock for the machine's lab; it can move between threads.
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

/// A fresh running lab; stopped when dropped.
pub struct Rig {
    dir: LabDir,
    programs: PathBuf,
    environment: BTreeMap<String, String>,
    folder: tempfile::TempDir,
    _turn: Turn,
}

impl Rig {
    /// Starts a fresh lab.
    pub fn up() -> Result<Rig> {
        Rig::up_with(LabDir::open()?, programs()?)
    }

    /// Starts a fresh lab in `dir` with the programs in `programs`, the agent included.
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

    /// The lab's folder.
    pub fn dir(&self) -> &LabDir {
        &self.dir
    }

    /// The folder of the running lab's files.
    pub fn run_folder(&self) -> PathBuf {
        self.dir.run()
    }

    /// Writes a file of this test.
    pub fn file(&self, name: &str, text: &str) -> Result<PathBuf> {
        let path = self.folder.path().join(name);
        std::fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
        Ok(path)
    }

    /// Writes the lab's example, after `change`.
    pub fn balancer(&self, change: impl FnOnce(String) -> String) -> Result<PathBuf> {
        let text = change(self.lab(["example"])?);
        self.file("balancer.toml", &text)
    }

    /// [`Rig::balancer`] with nodes that get the agent by URL.
    pub fn balancer_by_url(&self, change: impl FnOnce(String) -> String) -> Result<PathBuf> {
        let text = change(self.lab(["example", "--by-url"])?);
        self.file("balancer.toml", &text)
    }

    /// Runs `lab`. Returns its standard output.
    pub fn lab<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Result<String> {
        printed(&self.run("lab", arguments)?)
    }

    /// Runs `launcher`; any exit status is fine.
    pub fn launcher<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Result<Output> {
        self.run("launcher", arguments)
    }

    /// Runs `launcher create FILE`, which must succeed. Returns its standard output.
    pub fn create(&self, file: &Path) -> Result<String> {
        printed(&self.launcher([OsStr::new("create"), file.as_os_str()])?)
    }

    /// Runs `launcher destroy NAME --yes`, which must succeed. Returns its standard output.
    pub fn destroy(&self, name: &str) -> Result<String> {
        printed(&self.launcher(["destroy", name, "--yes"])?)
    }

    /// Runs `aws … --output json`.
    pub fn aws<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Result<Value> {
        let arguments: Vec<_> = arguments.into_iter().map(|word| word.as_ref().to_owned()).collect();
        let mut command = Command::new(self.dir.venv().join("bin/aws"));
        command.args(arguments).args(["--output", "json"]).envs(&self.environment);
        // The test must see the first answer, not one after a retry.
        command.env("AWS_MAX_ATTEMPTS", "1");
        let text = printed(&finish(command)?)?;
        if text.trim().is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_str(&text).context("reading the AWS CLI's output")
    }

    /// Runs a command inside an instance, which must succeed. Returns its standard output.
    pub fn inside(&self, id: &str, command: &[&str]) -> Result<String> {
        self.lab(["exec", id].iter().chain(command))
    }

    /// The lab's status.
    pub fn status(&self) -> Result<Status> {
        serde_json::from_str(&self.lab(["status", "--json"])?).context("reading the lab's status")
    }

    /// The instance to which the main table routes the virtual IP.
    pub fn active(&self) -> Result<String> {
        let routes = self.status()?.routes;
        let main = routes.iter().find(|r| r.name == "main" && r.destination == "10.255.0.10/32");
        main.and_then(|r| r.instance.clone()).context("the main table has no route for the virtual IP to an instance")
    }

    /// Waits until this many nodes of the balancer `web` report a role, one of them active. Returns them.
    pub fn serving_nodes(&self, nodes: usize, patience: Duration) -> Result<Vec<InstanceStatus>> {
        self.serving_nodes_of("web", nodes, patience)
    }

    /// The same for another balancer.
    pub fn serving_nodes_of(&self, balancer: &str, nodes: usize, patience: Duration) -> Result<Vec<InstanceStatus>> {
        wait_for(&format!("{nodes} nodes of {balancer}, one of them active"), patience, || {
            let status = self.status()?;
            let ours =
                status.instances.into_iter().filter(|i| i.balancer.as_deref() == Some(balancer) && i.api == "running");
            let ours: Vec<_> = ours.filter(|i| i.lab == "up").collect();
            let count = |role: &str| ours.iter().filter(|i| i.role.as_deref() == Some(role)).count();
            ensure!(count("active") == 1 && count("standby") == nodes - 1, "the nodes report {ours:?}");
            Ok(ours)
        })
    }

    /// The recorded API calls.
    pub fn calls(&self) -> Result<Vec<Value>> {
        let text = self.lab(["calls", "--json"])?;
        text.lines().map(|line| serde_json::from_str(line).context("reading a recorded call")).collect()
    }

    /// Starts a prober at the client.
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

    /// Starts a crowd of clients at the client.
    pub fn crowd(&self, kinds: Vec<Kind>) -> Result<Crowd> {
        self.crowd_of(VIP, kinds)
    }

    /// The same for another virtual IP and port.
    pub fn crowd_of(&self, vip: &str, kinds: Vec<Kind>) -> Result<Crowd> {
        Crowd::start(Some(namespace::behind(CLIENT)), vip.parse()?, kinds)
    }

    /// A socket at the client, bound to this port, which a socket in TIME_WAIT may have used before.
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

    /// Prints a measured figure and appends it to `figures.txt` in the lab's folder.
    pub fn figure(&self, name: &str, value: impl std::fmt::Display) -> Result<()> {
        println!("figure: {name}: {value}");
        let path = self.dir.root().join("figures.txt");
        let mut file = std::fs::OpenOptions::new().create(true).append(true).open(path)?;
        writeln!(file, "{name}: {value}").context("writing a figure")
    }

    /// One of the programs, or any other by its whole path, with the environment that points it at the lab.
    pub fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new(self.programs.join(program));
        command.envs(&self.environment).env("ELBOW_LAB_DIR", self.dir.root());
        command
    }

    fn run<A: AsRef<OsStr>>(&self, program: &str, arguments: impl IntoIterator<Item = A>) -> Result<Output> {
        let mut command = self.command(program);
        command.args(arguments);
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

/// Waits until `look` succeeds. After `patience`, returns its last error.
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

/// The standard output; an error if the program failed.
pub fn printed(output: &Output) -> Result<String> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    ensure!(output.status.success(), "{}: {}{}", output.status, text(&output.stdout), text(&output.stderr).trim());
    Ok(text(&output.stdout))
}

fn finish(mut command: Command) -> Result<Output> {
    let output = command.stdin(std::process::Stdio::null()).output();
    output.with_context(|| format!("running {}", command.get_program().display()))
}

/// The folder of `launcher`, `lab`, `agent` and `prove`: this program's, or the one above Cargo's `deps`.
pub fn programs() -> Result<PathBuf> {
    let program = std::env::current_exe()?;
    let folder = program.parent().context("this program has no parent folder")?;
    let folder = if folder.ends_with("deps") { folder.parent().unwrap_or(folder) } else { folder };
    for program in ["launcher", "lab", "agent", "prove"] {
        if !folder.join(program).exists() {
            bail!("{}: missing; run `make build` first", folder.join(program).display());
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
