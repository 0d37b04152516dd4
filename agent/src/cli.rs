//! The commands.

use std::net::Ipv4Addr;
use std::process::ExitCode;

use anstream::eprintln;
use anyhow::Context;
use clap::{Parser, Subcommand, ValueEnum};
use rustix::process::{Gid, Uid};
use rustix::thread;
use templates::files::SCRIPT_USER;
use templates::text::Millis;

use crate::config::boot;
use crate::host::logs::{self, Console};
use crate::node::status;
use crate::{haproxy, peers, runtime, takeover};

/// Enough for twenty connections that are opened at once and look up a name; idle ones end after ten seconds.
const BLOCKING_THREADS: usize = 4;

/// The node's side of Elbow.
#[derive(Debug, Parser)]
#[command(name = "agent", version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Configure this node, then keep it true: what elbow-agent.service runs
    Run,
    /// Configure this node and start HAProxy and keepalived, as at boot, then end
    Configure,
    /// Ask HAProxy for its health page once: exit code 0 if it answers, 1 if not (keepalived's scripts)
    Check {
        /// Ask the agent that runs at this address, the node's own, instead
        #[arg(long, value_name = "IP")]
        agent: Option<Ipv4Addr>,
    },
    /// Say what the running agent knows about this node
    Status {
        /// For people, or for programs
        #[arg(long, value_enum, default_value_t = Output::Text)]
        output: Output,
    },
    /// Point the virtual IPs' routes at this node by hand, whatever keepalived thinks
    Takeover {
        /// Only this virtual IP, which may be given several times; otherwise all
        #[arg(long = "vip", value_name = "IP")]
        vips: Vec<Ipv4Addr>,
        /// How long to try, as in 500ms, 30s or 2m
        #[arg(long, value_name = "TIME", default_value = "30s")]
        timeout: Millis,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    Text,
    Json,
}

/// Runs the command that the process was started with.
pub fn main() -> ExitCode {
    match Arguments::parse().command {
        // keepalived starts these all the time: nothing is set up for them.
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

/// keepalived starts its scripts as root: for another user keepalived 2.2.7 kills its own configuration test. A user that
/// isn't root has nothing to drop.
fn drop_privileges() {
    let (user, group) = (Uid::from_raw(SCRIPT_USER), Gid::from_raw(SCRIPT_USER));
    let _ = thread::set_thread_groups(&[])
        .and_then(|()| thread::set_thread_res_gid(group, group, group))
        .and_then(|()| thread::set_thread_res_uid(user, user, user));
}

/// Runs what a machine does when it boots: whoever watches its console is told why it failed.
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

/// Runs `work`; all that it logged is written when this returns.
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

/// One thread is enough for what the agent does, and is small.
fn block_on(work: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(BLOCKING_THREADS).build()?;
    let result = runtime.block_on(work);
    // A name being looked up can't be interrupted, and needn't be waited for.
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
