//! The command lines that remove something.

use std::time::Duration;

use clap::Args;

use super::duration;

/// Remove a balancer, and check that nothing of it is left.
#[derive(Debug, Args)]
#[command(
    after_help = "Asks for confirmation before it removes anything, unless --yes is given. Deletes a route of a virtual IP \
                        only if it leads to one of the balancer's nodes or is a blackhole."
)]
pub struct Destroy {
    /// The balancer's name
    pub name: String,
    /// Print the plan and remove nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Don't ask for confirmation
    #[arg(long)]
    pub yes: bool,
    /// How long to wait until AWS has removed everything, such as 5m
    #[arg(long, default_value = "10m", value_name = "TIME", value_parser = duration)]
    pub timeout: Duration,
}

/// Show the bucket that holds the agents of this account and Region, or delete it.
#[derive(Debug, Args)]
#[command(
    after_help = "Nodes of balancers without [agent] get the agent from there. create and update make the bucket and upload the \
                        agent; destroy leaves both. --delete refuses while a balancer in the Region uses the bucket."
)]
pub struct Bucket {
    /// Delete the bucket and its objects
    #[arg(long)]
    pub delete: bool,
    /// Don't ask for confirmation
    #[arg(long, requires = "delete")]
    pub yes: bool,
}
