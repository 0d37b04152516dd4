//! The command line.

#[cfg(test)]
mod documents;

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use templates::text::Millis;
use templates::{Slot, names};

use crate::aws::Account;
use crate::model::which::Which;
use crate::output::Output;

/// Elbow: a self-run stand-in for an AWS load balancer.
///
/// Reads AWS's standard environment, profiles and region. Exit codes: 0 done, or nothing to do; 1 failed or timed out; 2 bad
/// input, nothing changed; 3 (status) something is degraded.
#[derive(Debug, Parser)]
#[command(name = "launcher", version, disable_help_subcommand = true)]
#[command(after_help = "Example:
  launcher create web.toml      make the balancer that web.toml describes
  launcher update web.toml      change it to what web.toml describes now
  launcher status web           see how it is
  launcher destroy web          remove all of it")]
pub struct Cli {
    /// How results are written: text, or json as docs/output.md describes it
    #[arg(long, global = true, value_enum, default_value_t, value_name = "FORMAT", hide_possible_values = true)]
    pub output: Output,
    /// The AWS Region; default: the environment's or the profile's
    #[arg(long, global = true, value_name = "REGION")]
    pub region: Option<String>,
    /// The AWS profile
    #[arg(long, global = true, value_name = "NAME")]
    pub profile: Option<String>,
    /// What to do
    #[command(subcommand)]
    pub command: Command,
}

impl Cli {
    /// Whom to be and where.
    pub fn account(&self) -> Account {
        Account { profile: self.profile.clone(), region: self.region.clone() }
    }
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make a balancer, or finish one that is half-made; what is there already stays
    Create(Create),
    /// Change a balancer that runs, without losing a connection
    Update(Update),
    /// Show how a balancer is: its nodes, their roles, and where the routes lead
    Status(Status),
    /// List the balancers in the Region
    List,
    /// Have another node serve, without losing a request or a connection
    Handover(Handover),
    /// Remove a balancer, and prove that nothing of it is left
    Destroy(Destroy),
    /// Print a file that is made for a balancer; offline
    #[command(subcommand)]
    Render(Render),
}

/// Make a balancer.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  launcher create web.toml --dry-run   see what it would make
  launcher create web.toml             make it and wait until it serves")]
pub struct Create {
    /// The balancer's description (TOML)
    pub file: PathBuf,
    /// Show what would change, and change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// How long to wait until it serves, such as 90s or 10m
    #[arg(long, default_value = "10m", value_name = "TIME", value_parser = duration)]
    pub timeout: Duration,
    /// Don't wait until it serves
    #[arg(long)]
    pub no_wait: bool,
}

/// Change a balancer that runs.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  launcher update web.toml --dry-run   see which files change on the nodes, and how
  launcher update web.toml             standbys first; all of it back if one refuses
  launcher update --rollback web       go back to the version before
  launcher update --versions web       list the versions

What takes new nodes (subnets, instance_type, image, agent, notify, metrics) replaces them one at a \
time, standbys first: the new one serves before the old one hands over, waits for open connections \
(drain_timeout), and is ended. An Auto Scaling group replaces all of its nodes itself, new ones first.")]
#[command(group = clap::ArgGroup::new("what").required(true).args(["file", "rollback", "versions"]))]
pub struct Update {
    /// The balancer's description (TOML)
    pub file: Option<PathBuf>,
    /// Go back to the version that nodes booted before
    #[arg(long, value_name = "NAME")]
    pub rollback: Option<String>,
    /// List the versions of the balancer's launch template, and change nothing
    #[arg(long, value_name = "NAME")]
    pub versions: Option<String>,
    /// Look anew what the file's image stands for, and replace nodes that were launched from another
    #[arg(long, conflicts_with_all = ["rollback", "versions"])]
    pub new_image: bool,
    /// Show what would change, and change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// How long the nodes may take, each where they are replaced, such as 90s or 10m
    #[arg(long, default_value = "5m", value_name = "TIME", value_parser = duration)]
    pub timeout: Duration,
    /// Go on although a node doesn't run, it isn't sure who is active, or somebody changed the launch
    /// template or the Auto Scaling group's settings by hand
    #[arg(long)]
    pub force: bool,
    /// Go on without this node, which can't be reached; it takes the revision when it returns. May be given more than once
    #[arg(long, value_name = "SLOT|INSTANCE", conflicts_with = "versions")]
    pub without: Vec<Which>,
    /// Go on although another update says that it is under way
    #[arg(long)]
    pub take_over: bool,
}

/// Show how a balancer is.
#[derive(Debug, Args)]
#[command(after_help = "Exits with 3 if something is degraded, so that monitoring can call it.")]
pub struct Status {
    /// The balancer; default: all of them
    pub name: Option<String>,
}

/// Have another node serve.
#[derive(Debug, Args)]
#[command(
    after_help = "The active node gives up what it serves, to the node it thinks fit, and goes on with the connections it \
                        has. With --to, every virtual IP goes to that node. A node that finds nobody fit keeps serving."
)]
pub struct Handover {
    /// The balancer
    pub name: String,
    /// The node that is to serve; default: another than now
    #[arg(long, value_name = "SLOT|INSTANCE")]
    pub to: Option<Which>,
    /// Show what would be asked of whom, and ask nothing
    #[arg(long)]
    pub dry_run: bool,
    /// How long to wait until the routes have followed, such as 90s
    #[arg(long, default_value = "2m", value_name = "TIME", value_parser = duration)]
    pub timeout: Duration,
}

/// Remove a balancer.
#[derive(Debug, Args)]
#[command(
    after_help = "It asks before it removes anything; --yes answers. It takes the virtual IPs' routes away only where they \
                        lead to the balancer's own nodes or nowhere."
)]
pub struct Destroy {
    /// The balancer
    pub name: String,
    /// Show what would be removed, and remove nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Don't ask
    #[arg(long)]
    pub yes: bool,
    /// How long to try, such as 5m
    #[arg(long, default_value = "10m", value_name = "TIME", value_parser = duration)]
    pub timeout: Duration,
}

/// What to print.
#[derive(Debug, Subcommand)]
pub enum Render {
    /// What a node boots with: cloud-config
    UserData {
        /// The balancer's description (TOML)
        file: PathBuf,
        /// The bytes that are launched
        #[arg(long)]
        gzip: bool,
    },
    /// A launch template, for Auto Scaling groups that you make yourself: JSON for `aws ec2 create-launch-template
    /// --cli-input-json` (docs/auto-scaling.md)
    LaunchTemplate {
        /// The balancer's description (TOML)
        file: PathBuf,
        /// The nodes' security group
        #[arg(long, value_name = "SG", value_parser = security_group)]
        security_group: String,
    },
    /// The install step that a node runs at its first boot
    Install {
        /// The balancer's description (TOML)
        file: PathBuf,
    },
    /// The agent's systemd unit
    Unit {
        /// The balancer's description (TOML)
        file: PathBuf,
    },
    /// A node's haproxy.cfg
    Haproxy {
        /// The balancer's description (TOML)
        file: PathBuf,
        /// The node's place among the others; HAProxy's file is the same for all
        #[command(flatten)]
        node: NodeArgs,
    },
    /// A node's keepalived.conf
    Keepalived {
        /// The balancer's description (TOML)
        file: PathBuf,
        /// The node's place among the others
        #[command(flatten)]
        node: NodeArgs,
        /// The node's network interface, as the node calls it
        #[arg(long, default_value = "eth0", value_name = "NAME", value_parser = interface)]
        interface: String,
    },
    /// What the nodes' role may do (JSON)
    Policy {
        /// The balancer's description (TOML)
        file: PathBuf,
    },
    /// Who may take the nodes' role (JSON)
    TrustPolicy {
        /// The balancer's description (TOML)
        file: PathBuf,
    },
}

/// A node's place among the others.
#[derive(Debug, Args)]
pub struct NodeArgs {
    /// The node's number
    #[arg(long, default_value = "0", value_name = "N")]
    pub slot: Slot,
    /// The addresses of all nodes, by slot
    #[arg(long, value_delimiter = ',', value_name = "IP,IP")]
    pub members: Vec<Ipv4Addr>,
}

fn security_group(text: &str) -> Result<String, String> {
    match names::is_security_group(text) {
        true => Ok(text.to_owned()),
        false => Err("that is no security group: write its id, sg-…".to_owned()),
    }
}

/// As the kernel has it (15 bytes, no /), of characters that mean nothing to keepalived.
fn interface(text: &str) -> Result<String, String> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    match (1..=15).contains(&text.len()) && text.bytes().all(fits) {
        true => Ok(text.to_owned()),
        false => {
            Err("that is no network interface: write up to 15 letters, digits, ., _ and -, such as eth0".to_owned())
        }
    }
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
}
