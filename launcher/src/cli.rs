//! The command line.

mod init;
mod remove;
mod render;

use std::path::PathBuf;
use std::time::Duration;

use clap::error::{ContextKind, ContextValue};
use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;
use templates::values::Millis;

pub use self::init::Init;
pub use self::remove::{Bucket, Destroy};
pub use self::render::{NodeArgs, Render};
use crate::aws::Account;
use crate::doctor::Id;
use crate::model::node_selector::NodeSelector;
use crate::output::Output;

/// Creates, updates, shows and removes Elbow balancers, self-hosted stand-ins for the AWS load balancer.
///
/// Reads the standard AWS environment variables and profiles. Exit codes: 0 done, or nothing to do; 1 failed or timed out; 2
/// bad input, nothing changed; 3 (status, doctor, --probe) something is degraded, or a check found a problem.
#[derive(Debug, Parser)]
#[command(name = "launcher", version)]
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
    /// Reads the process's arguments. Prints what is wrong with them, or the help, and exits.
    pub fn from_arguments() -> Cli {
        Cli::try_parse().unwrap_or_else(|error| with_destroy(error).exit())
    }

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
    /// The balancer file (TOML), or - for standard input
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

Most settings change in place. A change of subnets, instance_type, image, agent, notify, metrics, \
node.security_groups, volume or iam.instance_profile, and any change of nodes with updates.in_place = false, \
replaces nodes one at a time, standby nodes first. The new node serves before the old one hands over. The old \
node waits for open connections, at most drain_timeout, and is terminated. An Auto Scaling group replaces all \
of its nodes itself, and launches the new ones first. docs/configuration.md says for each key what its change \
does.")]
#[command(group = clap::ArgGroup::new("what").required(true).args(["file", "rollback", "versions"]))]
pub struct Update {
    /// The balancer file (TOML), or - for standard input
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
    #[arg(long, conflicts_with = "versions")]
    pub dry_run: bool,
    /// How long the nodes may take, such as 90s or 10m; starts again with each step of a replacement
    #[arg(long, default_value = "5m", value_name = "TIME", value_parser = duration, conflicts_with = "versions")]
    pub timeout: Duration,
    /// Continue although a node doesn't run, the active node isn't known, or the launch template or the
    /// Auto Scaling group was changed outside of Elbow
    #[arg(long, conflicts_with = "versions")]
    pub force: bool,
    /// Continue without this unreachable node; it takes the revision when it returns. May be repeated
    #[arg(long, value_name = "SLOT|INSTANCE", conflicts_with = "versions")]
    pub without: Vec<NodeSelector>,
    /// Take the lease from another update that is under way
    #[arg(long, conflicts_with = "versions")]
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
run another version. Otherwise the result says that HAProxy didn't check the file.")]
pub struct Validate {
    /// The balancer file (TOML), or - for standard input
    pub file: PathBuf,
}

/// Suggests `destroy` for other programs' word for it, which clap finds too different.
fn with_destroy(mut error: clap::Error) -> clap::Error {
    let Some(ContextValue::String(word)) = error.get(ContextKind::InvalidSubcommand) else { return error };
    if ["delete", "remove", "rm"].contains(&word.as_str()) {
        error.insert(ContextKind::SuggestedSubcommand, ContextValue::Strings(vec!["destroy".to_owned()]));
    }
    error
}

fn duration(text: &str) -> Result<Duration, String> {
    text.parse::<Millis>().map(Millis::duration).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests;
