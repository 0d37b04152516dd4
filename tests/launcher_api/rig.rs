//! The rig of each test: its own AWS account in the lab, a balancer file for it, and the launcher.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;

use lab::api::{Call, Caller, Hooks, NoHooks};
use lab::daemon::api_only::ApiOnly;
use lab::world::{Instance, InstanceState, World};

/// An account, and a folder for balancer files.
pub struct Rig {
    pub api: ApiOnly,
    folder: tempfile::TempDir,
}

impl Rig {
    pub fn new() -> Rig {
        Rig::with(Arc::new(NoHooks))
    }

    pub fn with(hooks: Arc<dyn Hooks>) -> Rig {
        let api = ApiOnly::start_with(hooks).expect("the lab's API starts (`make setup` installs moto)");
        Rig { api, folder: tempfile::tempdir().expect("a temporary folder") }
    }

    /// The text of a balancer file for `web` in this account.
    pub fn example(&self) -> String {
        let seed = self.api.seed();
        format!(
            r#"name = "web"
vpc = "{}"
subnets = ["{}", "{}"]
virtual_ips = ["10.255.0.10"]
instance_type = "t3.small"
image = "{}"

[agent]
source = "https://example.com/agent"
sha256 = "{}"

[[listener]]
name = "http"
port = 80
protocol = "http"
targets = ["10.0.1.20:8080", "10.0.2.20:8080"]
"#,
            seed.vpc,
            seed.subnets["private-a"],
            seed.subnets["private-b"],
            seed.images["main"],
            "0".repeat(64)
        )
    }

    pub fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, text).expect("the folder is writable");
        path
    }

    /// The example in a file.
    pub fn web(&self) -> PathBuf {
        self.file("web.toml", &self.example())
    }

    /// The example with an Auto Scaling group in a file.
    pub fn grouped(&self) -> PathBuf {
        self.file("group.toml", &format!("launch = \"auto-scaling\"\n{}", self.example()))
    }

    /// A command for the launcher.
    pub fn command<A: AsRef<std::ffi::OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Command {
        let mut command = Command::new(launcher());
        command.args(arguments).envs(self.api.environment()).stdin(std::process::Stdio::null());
        command
    }

    /// Runs the launcher to its end.
    pub fn launcher<A: AsRef<std::ffi::OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Output {
        self.command(arguments).output().expect("the launcher starts")
    }

    /// Runs `create FILE --no-wait`, which must succeed.
    pub fn create(&self, file: &Path) -> Output {
        succeeded(self.launcher(["create".as_ref(), file.as_os_str(), "--no-wait".as_ref()]))
    }

    /// Runs `destroy web --yes`, which must succeed.
    pub fn destroy(&self) -> Output {
        succeeded(self.launcher(["destroy", "web", "--yes"]))
    }

    /// Runs the AWS CLI; returns its standard output without the last newline.
    pub fn aws(&self, arguments: &[&str]) -> String {
        text(&succeeded(self.tool("aws", arguments)).stdout).trim_end().to_owned()
    }

    /// Runs the Python that has boto3.
    pub fn python(&self, arguments: &[&str]) {
        succeeded(self.tool("python", arguments));
    }

    fn tool(&self, name: &str, arguments: &[&str]) -> Output {
        let program = lab::dir::LabDir::open().expect("the lab's folder").venv().join("bin").join(name);
        let output = Command::new(program).args(arguments).envs(self.api.environment()).output();
        output.unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    pub fn world(&self) -> World {
        self.api.world().expect("the API answers")
    }

    /// The balancer's live instances, by slot.
    pub fn nodes(&self) -> Vec<Instance> {
        let mut nodes: Vec<Instance> = self.world().instances.into_iter().filter(is_live).collect();
        nodes.retain(|node| node.tags.get("elbow:balancer").is_some_and(|name| name == "web"));
        let first = &self.api.seed().subnets["private-a"];
        nodes.sort_by_key(|node| node.subnet.as_ref() != Some(first));
        nodes
    }

    /// The account without terminated instances, in a comparable form.
    pub fn surroundings(&self) -> World {
        let mut world = self.world();
        world.generation = 0;
        world.instances.retain(is_live);
        world.route_tables.iter_mut().for_each(|table| table.routes.sort_by_key(|route| route.destination));
        world
    }

    /// The launcher's calls since the last `take_calls`.
    pub fn take_calls(&self) -> Vec<Call> {
        self.api.take_calls().into_iter().filter(|call| call.caller == Caller::Launcher).collect()
    }
}

fn is_live(instance: &Instance) -> bool {
    !matches!(instance.state, InstanceState::Terminated | InstanceState::ShuttingDown)
}

/// The actions of the mutating calls.
pub fn mutating(calls: &[Call]) -> Vec<&str> {
    calls.iter().filter(|call| call.is_mutating()).map(|call| call.action.as_str()).collect()
}

#[track_caller]
pub fn succeeded(output: Output) -> Output {
    assert!(output.status.success(), "{}: {}{}", output.status, text(&output.stdout), text(&output.stderr));
    output
}

/// The launcher refuses before it changes anything, and its message contains `parts`; returns its messages.
#[track_caller]
pub fn refused(rig: &Rig, arguments: &[&str], parts: &[&str]) -> String {
    rig.take_calls();
    let output = rig.launcher(arguments);
    let said = complaints(&output);
    assert_eq!(output.status.code(), Some(2), "{said}");
    for part in parts {
        assert!(said.contains(part), "{part:?} isn't in: {said}");
    }
    assert_eq!(mutating(&rig.take_calls()), [] as [&str; 0]);
    said
}

/// Standard error without progress lines, which depend on the machine's speed.
pub fn complaints(output: &Output) -> String {
    let said = text(&output.stderr);
    said.split_inclusive('\n').filter(|line| !line.starts_with("  ")).collect()
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The launcher of the same build as this test.
pub fn launcher() -> PathBuf {
    let test = std::env::current_exe().expect("a test knows where it is");
    let folder = test.parent().and_then(Path::parent).expect("target/release/deps/");
    let path = folder.join("launcher");
    assert!(path.exists(), "{} isn't there: `make build` first", path.display());
    path
}
