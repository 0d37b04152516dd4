//! A throw-away machine for one command: one of the lab's images under an overlay, in a network namespace with an
//! `ens5` and no route out. Nothing remains after the command.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use lab::dir::LabDir;
use templates::balancer::{Balancer, NodeConfig};
use templates::files::{self, HaproxyNode};
use templates::paths;

/// In new mount, network and process namespaces: sets up the overlay, /proc, /dev and addresses, and runs the command.
const ENTER: &str = r#"
    mount -t tmpfs scratch "$SCRATCH"
    mkdir "$SCRATCH/upper" "$SCRATCH/work" "$SCRATCH/root"
    mount -t overlay overlay -o "lowerdir=$IMAGE,upperdir=$SCRATCH/upper,workdir=$SCRATCH/work" "$SCRATCH/root"
    cp -R --no-dereference "$FILES/." "$SCRATCH/root/"
    mount -t proc proc "$SCRATCH/root/proc"
    # A console that the test can read, and that isn't the one of the machine it runs on.
    mount -t tmpfs dev "$SCRATCH/root/dev"
    for device in null zero full random urandom tty; do
        touch "$SCRATCH/root/dev/$device"
        mount --bind "/dev/$device" "$SCRATCH/root/dev/$device"
    done
    ln -s /proc/self/fd "$SCRATCH/root/dev/fd"
    : >"$SCRATCH/root/dev/console"
    if [ -n "$REPOSITORY" ]; then
        mkdir -p "$SCRATCH/root/srv/repository"
        mount --bind "$REPOSITORY" "$SCRATCH/root/srv/repository"
    fi
    ip link set lo up
    ip link add ens5 type veth peer name router
    ip link set ens5 up
    ip link set router up
    ip address add 10.0.1.10/24 dev ens5
    server=
    if [ -n "$SERVE" ]; then
        (cd "$SERVE" && exec python3 -m http.server --bind 127.0.0.1 8000 >/dev/null 2>&1) &
        server=$!
        while ! curl --silent --output /dev/null http://127.0.0.1:8000/; do kill -0 $server; done
    fi
    status=0
    chroot "$SCRATCH/root" sh -c "$COMMAND" || status=$?
    [ -z "$server" ] || kill $server
    sed 's/^/console: /' "$SCRATCH/root/dev/console" >&2
    exit $status
"#;

/// A machine that isn't running yet: an image and files to put over it.
pub struct Machine {
    image: PathBuf,
    files: tempfile::TempDir,
    served: tempfile::TempDir,
    repository: Option<PathBuf>,
}

impl Machine {
    /// A machine with a node's packages, such as HAProxy and keepalived, and what HAProxy's unit writes before a start.
    pub fn node() -> Machine {
        Machine::of(LabDir::open().unwrap().image()).with(paths::SERVER_STATE, "1\n")
    }

    /// A machine without them.
    pub fn plain() -> Machine {
        Machine::of(LabDir::open().unwrap().plain())
    }

    /// A machine without them and without apt-get, but with dnf.
    pub fn dnf() -> Machine {
        Machine::of(LabDir::open().unwrap().dnf())
    }

    fn of(image: PathBuf) -> Machine {
        assert!(image.join("usr").is_dir(), "no image at {}: `make setup` first", image.display());
        assert!(rustix::process::geteuid().is_root(), "this check makes namespaces and mounts: run it as root");
        Machine { image, files: tempfile::tempdir().unwrap(), served: tempfile::tempdir().unwrap(), repository: None }
    }

    /// Adds all files that the user-data and the agent of a node write.
    pub fn with_files_of(self, balancer: &Balancer, keepalived: &str) -> Machine {
        self.with(paths::BALANCER, &NodeConfig::of(balancer).to_json())
            .with(paths::INSTALL, &files::install_script(balancer))
            .with(paths::AGENT_UNIT, &files::agent_unit(balancer))
            .with(paths::HAPROXY_UNIT, &files::haproxy_unit())
            .with(paths::KEEPALIVED_UNIT, &files::keepalived_unit())
            .with(paths::RSYSLOG, &files::rsyslog_conf(balancer))
            .with(paths::LOGROTATE, &files::logrotate_conf())
            .with(paths::SYSCTL, &files::sysctl_conf(balancer))
            .with(paths::HAPROXY, &files::haproxy_cfg(&HaproxyNode::typical(balancer)))
            .with(paths::KEEPALIVED, keepalived)
            .with(paths::METADATA, &files::metadata_nft(balancer, |_| false))
            .with("/tmp/user-data.yaml", &files::user_data(balancer))
    }

    /// Adds a file, executable if it starts with `#!`.
    pub fn with(self, path: &str, content: &str) -> Machine {
        let there = self.files.path().join(path.trim_start_matches('/'));
        write(&there, content);
        let mode = if content.starts_with("#!") { 0o755 } else { 0o644 };
        fs::set_permissions(&there, fs::Permissions::from_mode(mode)).unwrap();
        self
    }

    /// Serves this at `http://127.0.0.1:8000/NAME`.
    pub fn serving(self, name: &str, content: &str) -> Machine {
        write(&self.served.path().join(name), content);
        self
    }

    /// Adds the lab's package repository as the only one.
    pub fn with_repository(mut self) -> Machine {
        let repository = LabDir::open().unwrap().repository();
        assert!(repository.is_dir(), "no packages at {}: `make setup` first", repository.display());
        self.repository = Some(repository);
        self.with("/etc/apt/sources.list", "deb [trusted=yes] file:/srv/repository/debian bookworm main\n")
            .with("/etc/yum.repos.d/lab.repo", "[lab]\nname=lab\nbaseurl=file:///srv/repository/rpm\ngpgcheck=0\n")
    }

    /// Runs a shell command; returns its output, the console's output and the exit code.
    pub fn run(&self, command: &str) -> Said {
        let scratch = tempfile::tempdir().unwrap();
        let serves = fs::read_dir(self.served.path()).unwrap().next().is_some();
        let output = Command::new("timeout")
            .args(["60", "unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--propagation", "private"])
            .args(["sh", "-eu", "-c", ENTER])
            .env("SCRATCH", scratch.path())
            .env("IMAGE", &self.image)
            .env("FILES", self.files.path())
            .env("SERVE", if serves { self.served.path() } else { Path::new("") })
            .env("REPOSITORY", self.repository.as_deref().unwrap_or(Path::new("")))
            .env("COMMAND", command)
            .output()
            .expect("starting unshare");
        Said::from(output)
    }
}

fn write(path: &Path, content: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

/// A command's output and exit code.
#[derive(Debug)]
pub struct Said {
    pub code: Option<i32>,
    pub text: String,
}

impl From<Output> for Said {
    fn from(output: Output) -> Said {
        let text = [output.stdout, output.stderr].concat();
        Said { code: output.status.code(), text: String::from_utf8_lossy(&text).into_owned() }
    }
}

impl Said {
    /// Fails the test unless the command succeeded.
    #[track_caller]
    pub fn ok(self) -> Said {
        assert_eq!(self.code, Some(0), "{}", self.text);
        self
    }

    /// Fails the test if the output contains one of these words, in any case.
    #[track_caller]
    pub fn without(self, words: &[&str]) -> Said {
        let text = self.text.to_lowercase();
        for word in words {
            assert!(!text.contains(word), "{word:?} in:\n{}", self.text);
        }
        self
    }

    /// Fails the test unless the output contains `what`.
    #[track_caller]
    pub fn with(self, what: &str) -> Said {
        assert!(self.text.contains(what), "no {what:?} in:\n{}", self.text);
        self
    }
}
