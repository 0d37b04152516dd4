//! The command line.

mod init;
mod remove;

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;
use templates::values::Millis;
use templates::{Slot, names};

pub use self::init::Init;
pub use self::remove::{Bucket, Destroy};
use crate::aws::Account;
use crate::doctor::Id;
use crate::model::node_selector::NodeSelector;
use crate::output::Output;

/// Creates, updates, shows and removes Elbow balancers, self-hosted stand-ins for the AWS load balancer.
///
/// Reads the standard AWS environment variables and profiles. Exit codes: 0 done, or nothing to do; 1 failed or timed out; 2
/// bad input, nothing changed; 3 (status, doctor, --probe) something is degraded, or a check found a problem.
#[derive(Debug, Parser)]
#[command(name = "launcher", version, disable_help_subcommand = true)]
#[command(after_help = "Example:
  launcher init --target 10.0.1.20:8080 > web.toml
                                write a file for this account
  launcher validate web.toml    check the file, without AWS
  launcher doctor web.toml      check whether account and network fit the file
  launcher create web.toml      create the balancer that web.toml describes
  launcher update web.toml      change it to match web.toml
  launcher status web           show its nodes, routes and problems
  launcher destroy web          remove it")]
pub struct Cli {
    /// Output format: text, or json (fields: docs/output.md)
    #[arg(long, global = true, value_enum, default_value_t, value_name = "FORMAT", hide_possible_values = true)]
    pub output: Output,
    /// AWS Region; default: from the environment or the profile
    #[arg(long, global = true, value_name = "REGION")]
    pub region: Option<String>,
    /// AWS profile
    #[arg(long, global = true, value_name = "NAME")]
    pub profile: Option<String>,
    /// The command to run
    #[command(subcommand)]
    pub command: Command,
}

impl Cli {
    /// The AWS profile and Region to use.
    pub fn account(&self) -> Account {
        Account { profile: self.profile.clone(), region: self.region.clone() }
    }
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Print a balancer file for this account: VPC, subnets and virtual IP are chosen
    Init(Init),
    /// Create a balancer, or resume an interrupted create
    Create(Create),
    /// Change a running balancer while it serves
    Update(Update),
    /// Show a balancer's nodes, their roles, its targets, and where the routes lead
    Status(Status),
    /// Check whether a balancer is configured right: by its file before create, by its name after
    Doctor(Doctor),
    /// List the balancers in the Region
    List,
    /// Make another node active without losing a request or a connection
    Handover(Handover),
    /// Remove a balancer, and check that nothing of it is left
    Destroy(Destroy),
    /// Show the bucket that holds the agents of this account and Region, or delete it
    Bucket(Bucket),
    /// Check a balancer file; makes no AWS call
    Validate(Validate),
    /// Print a file that the launcher or a node generates; makes no AWS call
    #[command(subcommand)]
    Render(Render),
    /// Print the JSON schema of a balancer file, for editors; makes no AWS call
    Schema,
    /// Print a shell's completions of the launcher's command line; makes no AWS call
    Completions {
        /// The shell
        shell: Shell,
    },
}

/// Create a balancer, or resume an interrupted create.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  launcher create web.toml --dry-run   print the plan
  launcher create web.toml             create the balancer and wait until it serves
  launcher create web.toml --probe     the same, and show how each listener answers

Running it again resumes an interrupted run and replaces terminated nodes.")]
pub struct Create {
    /// The balancer file (TOML)
    pub file: PathBuf,
    /// Print the plan and change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// How long to wait until the balancer serves, such as 90s or 10m
    #[arg(long, default_value = "10m", value_name = "TIME", value_parser = duration)]
    pub timeout: Duration,
    /// Don't wait until the balancer serves
    #[arg(long)]
    pub no_wait: bool,
    /// Don't wait for healthy targets. By default create waits two minutes for each target group's minimum_healthy;
    /// then it fails and leaves the balancer running
    #[arg(long)]
    pub no_wait_targets: bool,
    /// At the end, ask each listener on its active node, and show the answers. Exits with 3 if no target answers
    #[arg(long, conflicts_with_all = ["dry_run", "no_wait"])]
    pub probe: bool,
    /// Go on although these checks of doctor found a problem, such as subnet-api,network-acls
    #[arg(long, value_name = "ID", value_delimiter = ',')]
    pub despite: Vec<Id>,
}

/// Change a running balancer while it serves.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  launcher update web.toml --dry-run   print the plan and the changed files of the nodes
  launcher update web.toml             update the standby nodes first; undo it if a node refuses
  launcher update --rollback web       return to the version before
  launcher update --versions web       list the versions

Most settings change in place. A change of subnets, instance_type, image, agent, notify or metrics, \
and any change with in_place = false, replaces nodes one at a time, standby nodes first. The new node \
serves before the old one hands over. The old node waits for open connections, at most drain_timeout, \
and is terminated. An Auto Scaling group replaces all of its nodes itself, and launches the new ones \
first.")]
#[command(group = clap::ArgGroup::new("what").required(true).args(["file", "rollback", "versions"]))]
pub struct Update {
    /// The balancer file (TOML)
    pub file: Option<PathBuf>,
    /// Return this balancer to the version that its nodes booted before
    #[arg(long, value_name = "NAME")]
    pub rollback: Option<String>,
    /// List the launch template versions of this balancer, and change nothing
    #[arg(long, value_name = "NAME")]
    pub versions: Option<String>,
    /// Resolve the file's image again, and replace nodes that were launched from another image
    #[arg(long, conflicts_with_all = ["rollback", "versions"])]
    pub new_image: bool,
    /// Keep the balancer's agents, although the launcher has others. The file must have no [agent]
    #[arg(long, conflicts_with_all = ["rollback", "versions"])]
    pub keep_agent: bool,
    /// Print the plan and change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// How long the nodes may take, such as 90s or 10m; starts again with each step of a replacement
    #[arg(long, default_value = "5m", value_name = "TIME", value_parser = duration)]
    pub timeout: Duration,
    /// Continue although a node doesn't run, the active node isn't known, or the launch template or the
    /// Auto Scaling group was changed outside of Elbow
    #[arg(long)]
    pub force: bool,
    /// Continue without this unreachable node; it takes the revision when it returns. May be repeated
    #[arg(long, value_name = "SLOT|INSTANCE", conflicts_with = "versions")]
    pub without: Vec<NodeSelector>,
    /// Take the lease from another update that is under way
    #[arg(long)]
    pub take_over: bool,
    /// At the end, ask each listener on its active node, and show the answers. Exits with 3 if no target answers
    #[arg(long, conflicts_with_all = ["dry_run", "versions"])]
    pub probe: bool,
}

/// Show a balancer's nodes, their roles, its targets, and where the routes lead.
#[derive(Debug, Args)]
#[command(
    after_help = "Exits with 3 if something is degraded, for use by monitoring: also if a target group has fewer healthy \
                        targets than its minimum_healthy."
)]
pub struct Status {
    /// The balancer's name; default: all balancers in the Region
    pub name: Option<String>,
    /// Exit with 3 for warnings, too: one of many targets is down
    #[arg(long)]
    pub strict: bool,
    /// Ask each listener on its active node, and show the answers. Exits with 3 if no target answers
    #[arg(long, requires = "name")]
    pub probe: bool,
    /// Wait until nothing is degraded, at most this long, such as 90s or 10m
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub wait: Option<Duration>,
}

/// Check whether a balancer is configured right: by its file before create, by its name after.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  launcher doctor web.toml            check the file against the account, before create
  launcher doctor web                 check the running balancer, and what was changed by hand
  launcher doctor web.toml --wait 5m  check again until there is no problem

Each finding is ok, a warning, a problem or unknown, with an id that docs/failure-guide.md explains. Exits with 3 if \
there is a problem. Makes no change: permissions are tried by dry runs and by IAM's simulation. status says whether a \
balancer serves, doctor whether it is configured right.")]
pub struct Doctor {
    /// A balancer file (it exists, or ends in .toml), or a balancer's name
    #[arg(value_name = "FILE|NAME")]
    pub subject: PathBuf,
    /// List the checks that are ok, too
    #[arg(long)]
    pub verbose: bool,
    /// Check again until there is no problem, at most this long, such as 90s or 10m
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub wait: Option<Duration>,
}

/// Make another node active without losing a request or a connection.
#[derive(Debug, Args)]
#[command(
    after_help = "The active node hands its virtual IPs over to a standby that can serve, and keeps serving its open \
                        connections. With --to, every virtual IP goes to that node. If no standby can serve, the active \
                        node refuses and stays active."
)]
pub struct Handover {
    /// The balancer's name
    pub name: String,
    /// The node to make active; default: the active node chooses one
    #[arg(long, value_name = "SLOT|INSTANCE")]
    pub to: Option<NodeSelector>,
    /// Print the plan and change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// How long to wait until the routes lead to the new active node, such as 90s
    #[arg(long, default_value = "2m", value_name = "TIME", value_parser = duration)]
    pub timeout: Duration,
}

/// Check a balancer file; makes no AWS call.
#[derive(Debug, Args)]
#[command(after_help = "Shows all errors and warnings, each with its line. Exits with 2 if the file has an error, \
or needs more user-data than EC2 takes; a warning doesn't change the exit code.

Needs no credentials: whether the file fits the account, create and update check.

If haproxy is in the PATH, it reads the nodes' haproxy.cfg, and what it refuses is a warning: the nodes may \
run another version.")]
pub struct Validate {
    /// The balancer file (TOML)
    pub file: PathBuf,
}

/// The file to print.
#[derive(Debug, Subcommand)]
pub enum Render {
    /// A node's user-data (cloud-config)
    UserData {
        /// The balancer file (TOML)
        file: PathBuf,
        /// Write gzip-compressed user-data, as the launcher passes it to EC2
        #[arg(long)]
        gzip: bool,
    },
    /// A launch template for an Auto Scaling group of your own: JSON for `aws ec2 create-launch-template
    /// --cli-input-json` (docs/auto-scaling.md)
    LaunchTemplate {
        /// The balancer file (TOML)
        file: PathBuf,
        /// The nodes' security group id
        #[arg(long, value_name = "SG", value_parser = security_group)]
        security_group: String,
    },
    /// The install script that a node runs at its first boot
    Install {
        /// The balancer file (TOML)
        file: PathBuf,
    },
    /// The agent's systemd unit
    Unit {
        /// The balancer file (TOML)
        file: PathBuf,
    },
    /// A node's haproxy.cfg
    Haproxy {
        /// The balancer file (TOML)
        file: PathBuf,
        /// The node's slot, and the addresses of all nodes; without them, stick tables are shared with no node
        #[command(flatten)]
        node: NodeArgs,
        /// The node's memory, such as 4GiB or 3900MB, which sets the number of connections; default: 2GiB, a t3.small's
        #[arg(long, value_name = "SIZE", value_parser = memory)]
        memory: Option<u32>,
    },
    /// A node's keepalived.conf
    Keepalived {
        /// The balancer file (TOML)
        file: PathBuf,
        /// The node's slot, and the addresses of all nodes
        #[command(flatten)]
        node: NodeArgs,
        /// The name of the node's network interface
        #[arg(long, default_value = "eth0", value_name = "NAME", value_parser = interface)]
        interface: String,
    },
    /// The permission policy of the nodes' IAM role (JSON)
    Policy {
        /// The balancer file (TOML)
        file: PathBuf,
    },
    /// The least IAM policy of an operator who runs the launcher for this balancer (JSON)
    OperatorPolicy {
        /// The balancer file (TOML)
        file: PathBuf,
    },
    /// The trust policy of the nodes' IAM role (JSON)
    TrustPolicy {
        /// The balancer file (TOML)
        file: PathBuf,
    },
}

/// A node's slot, and the addresses of all nodes.
#[derive(Debug, Args)]
pub struct NodeArgs {
    /// The node's slot
    #[arg(long, default_value = "0", value_name = "N")]
    pub slot: Slot,
    /// The addresses of all nodes, in slot order
    #[arg(long, value_delimiter = ',', value_name = "IP,IP")]
    pub members: Vec<Ipv4Addr>,
}

fn security_group(text: &str) -> Result<String, String> {
    match names::is_security_group(text) {
        true => Ok(text.to_owned()),
        false => Err("not a security group id: write sg-…".to_owned()),
    }
}

/// Accepts what the kernel accepts (15 bytes, no /), without characters that keepalived interprets.
fn interface(text: &str) -> Result<String, String> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    match (1..=15).contains(&text.len()) && text.bytes().all(fits) {
        true => Ok(text.to_owned()),
        false => {
            Err("not a network interface name: write up to 15 letters, digits, ., _ and -, such as eth0".to_owned())
        }
    }
}

/// In MB.
fn memory(text: &str) -> Result<u32, String> {
    let wrong = || "not a size of memory: write a number and MB or GiB, such as 4GiB".to_owned();
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let scale = match unit {
        "" | "MB" | "MiB" => 1,
        "GB" | "GiB" => 1024,
        _ => return Err(wrong()),
    };
    let number: u32 = number.parse().map_err(|_| wrong())?;
    number.checked_mul(scale).filter(|mb| *mb > 0).ok_or_else(wrong)
}

fn duration(text: &str) -> Result<Duration, String> {
    text.parse::<Millis>().map(Millis::duration).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }

    #[test]
    fn memory_is_in_mb_or_gib() {
        for (text, mb) in [("4GiB", 4096), ("2GB", 2048), ("3900MB", 3900), ("512MiB", 512), ("1024", 1024)] {
            assert_eq!(super::memory(text), Ok(mb));
        }
        for text in ["", "GiB", "0", "-1", "4 GiB", "4TiB", "1.5GiB", "4194304GiB", "99999999999"] {
            assert!(super::memory(text).is_err(), "{text}");
        }
    }
}
