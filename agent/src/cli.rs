//! The agent's commands and their arguments.

use std::net::Ipv4Addr;
use std::process::ExitCode;

use anstream::eprintln;
use anyhow::Context;
use clap::{Parser, Subcommand, ValueEnum};
use rustix::process::{Gid, Uid};
use rustix::thread;
use templates::files::SCRIPT_USER;
use templates::values::Millis;

use crate::config::boot;
use crate::host::logs::{self, Console};
use crate::node::status;
use crate::{haproxy, peers, runtime, takeover};

/// The most threads for blocking work, which is rare. Idle ones end after ten seconds.
const BLOCKING_THREADS: usize = 4;

/// The agent of an Elbow node.
#[derive(Debug, Parser)]
#[command(name = "agent", version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Configure this node, then keep its routes and its configuration up to date (elbow-agent.service)
    Run,
    /// Configure this node and start HAProxy and keepalived, as at boot, then exit
    Configure,
    /// Request HAProxy's health page once: exit code 0 if it answers, 1 if not (keepalived's scripts)
    Check {
        /// Request the health page of the agent at this address of the node instead
        #[arg(long, value_name = "IP")]
        agent: Option<Ipv4Addr>,
    },
    /// Show this node's state as the running agent knows it
    Status {
        /// The output format
        #[arg(long, value_enum, default_value_t = Output::Text)]
        output: Output,
    },
    /// Point the virtual IPs' routes at this node by hand, whatever state keepalived is in
    Takeover {
        /// Take over only this virtual IP (repeatable); all by default
        #[arg(long = "vip", value_name = "IP")]
        vips: Vec<Ipv4Addr>,
        /// The time limit, such as 500ms, 30s or 2m
        #[arg(long, value_name = "TIME", default_value = "30s")]
        timeout: Millis,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    Text,
    Json,
}

/// Runs the command of the process's arguments.
pub fn main() -> ExitCode {
    match Arguments::parse().command {
        // keepalived starts this every second, so no runtime and no log are set up.
        Command::Check { agent } => {
            drop_privileges();
            exit(match agent {
                None => haproxy::check().context("HAProxy doesn't answer its health page"),
                Some(address) => peers::check(address).context("the agent doesn't answer its health page"),
            })
        }
        Command::Run => boot(runtime::run()),
        Command::Configure => boot(boot::command()),
        Command::Status { output } => exit(status::command(output == Output::Json)),
        Command::Takeover { vips, timeout } => exit(logged(Console::No, takeover::command(vips, timeout.duration()))),
    }
}

/// Changes to an unprivileged user, as keepalived starts its scripts as root. (With another user, keepalived 2.2.7
/// kills its own configuration test.) Errors are ignored: a user other than root has no privileges to drop.
fn drop_privileges() {
    let (user, group) = (Uid::from_raw(SCRIPT_USER), Gid::from_raw(SCRIPT_USER));
    let _ = thread::set_thread_groups(&[])
        .and_then(|()| thread::set_thread_res_gid(group, group, group))
        .and_then(|()| thread::set_thread_res_uid(user, user, user));
}

/// Runs a command of the boot. Its error goes to the log and the machine's console.
fn boot(work: impl Future<Output = anyhow::Result<()>>) -> ExitCode {
    let work = async {
        let result = work.await;
        if let Err(error) = &result {
            tracing::error!("{error:#}");
        }
        result
    };
    ExitCode::from(u8::from(logged(Console::Too, work).is_err()))
}

/// Runs `work` with logging. All its log lines are written when this returns.
fn logged(console: Console, work: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    let _logs = logs::init(console).inspect_err(|error| eprintln!("error: {error:#}"))?;
    block_on(work)
}

fn exit(result: anyhow::Result<()>) -> ExitCode {
    if let Err(error) = &result {
        eprintln!("error: {error:#}");
    }
    ExitCode::from(u8::from(result.is_err()))
}

/// Runs `work` on a runtime of one thread, which is enough for the agent and saves memory.
fn block_on(work: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(BLOCKING_THREADS).build()?;
    let result = runtime.block_on(work);
    // Blocking work can't be interrupted, and the process needn't wait for it.
    runtime.shutdown_background();
    result
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn takeover_takes_several_virtual_ips() {
        let arguments = ["agent", "takeover", "--vip", "10.255.0.10", "--vip", "10.255.0.11", "--timeout", "5s"];
        let Command::Takeover { vips, timeout } = Arguments::try_parse_from(arguments).unwrap().command else {
            panic!("not a takeover");
        };
        assert_eq!(vips.len(), 2);
        assert_eq!(timeout, Millis(5000));
    }
}
