//! The `lab` command. Most subcommands are requests to the running lab's control socket; `up`, `down`, `client`,
//! `exec`, `probe` and `chaos` do work of their own.

mod ask;
mod inside;
mod print;
mod probe;
mod up;

use std::ffi::OsString;
use std::net::SocketAddrV4;
use std::time::Duration;

use anstream::println;
use anyhow::Result;
use clap::{Parser, Subcommand};
use serde_json::Value;

use crate::chaos;
use crate::daemon::protocol::{Order, Request};
use crate::dir::LabDir;

/// Run a VPC on this machine: the AWS APIs, a router, and instances that boot systemd. Needs root.
#[derive(Debug, Parser)]
#[command(name = "lab", version, after_help = HELP)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

const HELP: &str = "\
ID is an instance ID, `active` or `standby`. `active` is the instance to which the main route table routes the virtual
IP; `standby` is another node that has power. With several balancers, write `active:NAME` or `standby:NAME`.

  lab up && eval \"$(lab env)\"
  lab example > balancer.toml && launcher create balancer.toml
  lab client curl http://10.255.0.10/
  lab kill active; lab status; lab down";

#[derive(Debug, Subcommand)]
enum Command {
    /// Start the lab in the background; does nothing if it is up
    Up,
    /// Stop the lab and remove everything it made; succeeds if no lab is up
    Down,
    /// Print shell exports that point AWS tools at the lab: eval "$(lab env)"
    Env,
    /// Print a balancer.toml for the running lab
    Example {
        /// Nodes get the agent from a web server of the lab instead of Elbow's bucket
        #[arg(long)]
        by_url: bool,
    },
    /// Show instances, routes to interfaces, and the faults that are set
    Status {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Run a command inside an instance
    Exec {
        /// The instance
        id: String,
        /// The command and its arguments
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<OsString>,
    },
    /// Run a command of this machine in the client's network namespace, inside the VPC
    Client {
        /// The command and its arguments
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<OsString>,
    },
    #[command(flatten)]
    Order(Order),
    /// Show the recorded API calls
    Calls {
        /// Print one JSON object per line
        #[arg(long)]
        json: bool,
        /// Clear the record afterwards
        #[arg(long)]
        clear: bool,
    },
    /// Send requests from the client until one outage has begun and ended, and print its length
    #[command(hide = true)]
    Probe {
        /// Address and port, such as 10.255.0.10:80
        to: SocketAddrV4,
        /// Milliseconds between requests
        #[arg(long, default_value_t = 10)]
        every: u64,
    },
    /// Start a fresh lab with a balancer, inject random faults, and print each fault and each outage
    Chaos {
        /// Seed of the fault plan: the same seed gives the same plan
        #[arg(long, default_value_t = rand::random::<u16>().into())]
        seed: u64,
        /// Seconds during which new faults begin
        #[arg(long, default_value_t = 600)]
        seconds: u64,
    },
    /// Run the lab in the foreground
    #[command(hide = true)]
    Serve,
    /// Build the instance images, the package repository and the tools of the tests, if missing
    #[command(hide = true)]
    Image,
}

/// Parses the command line and runs the command.
pub fn run() -> Result<()> {
    let command = Cli::parse().command;
    let dir = LabDir::open()?;
    match command {
        Command::Up => up::up(&dir),
        Command::Down => up::down(&dir),
        Command::Serve => up::serve(dir),
        Command::Image => up::image(&dir),
        Command::Env => print::env(&dir),
        Command::Example { by_url } => print::example(&dir, by_url),
        Command::Status { json } => print::status(&dir, json),
        Command::Calls { json, clear } => print::calls(&dir, json, clear),
        Command::Probe { to, every } => probe::probe(&dir, to, every),
        Command::Exec { id, command } => inside::exec(&dir, id, command),
        Command::Client { command } => inside::client(&dir, command),
        Command::Chaos { seed, seconds } => chaos::run(seed, Duration::from_secs(seconds)),
        Command::Order(order) => ask::ask(&dir, &Request::Do(order)).map(say),
    }
}

fn say(answer: Value) {
    if let Value::String(text) = answer {
        println!("{text}");
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn every_order_reaches_the_running_lab_as_it_was_typed() {
        Cli::command().debug_assert();
        for (typed, line) in [
            ("kill active", r#"{"ask":"kill","id":"active"}"#),
            ("stop i-1", r#"{"ask":"stop","id":"i-1"}"#),
            ("reboot i-1", r#"{"ask":"reboot","id":"i-1"}"#),
            ("partition i-1 api", r#"{"ask":"partition","id":"i-1","from":"api"}"#),
            ("partition i-1 imds", r#"{"ask":"partition","id":"i-1","from":"imds"}"#),
            ("lose eu-west-1a", r#"{"ask":"lose","zone":"eu-west-1a"}"#),
            ("heal", r#"{"ask":"heal"}"#),
            ("hang 20000", r#"{"ask":"hang","ms":20000}"#),
            ("disk standby 0", r#"{"ask":"disk","id":"standby","kilobytes":0}"#),
            ("latency 100", r#"{"ask":"latency","ms":100}"#),
            ("stale 5", r#"{"ask":"stale","ms":5}"#),
            ("health-checks 60000", r#"{"ask":"health-checks","ms":60000}"#),
            ("throttle 50 0.5", r#"{"ask":"throttle","burst":50,"refill":0.5}"#),
            ("throttle 0 0", r#"{"ask":"throttle","burst":0,"refill":0.0}"#),
            ("fail ReplaceRoute Boom 2", r#"{"ask":"fail","action":"ReplaceRoute","code":"Boom","count":2}"#),
            ("freeze standby 20", r#"{"ask":"freeze","id":"standby","ms":20}"#),
            ("imds i-1 a/b", r#"{"ask":"imds","id":"i-1","path":"a/b","value":null}"#),
        ] {
            let cli = Cli::try_parse_from(["lab"].into_iter().chain(typed.split(' '))).expect(typed);
            let Command::Order(order) = cli.command else { panic!("{typed} is no order") };
            let request = Request::Do(order);
            assert_eq!(serde_json::to_string(&request).unwrap(), line);
            assert_eq!(serde_json::from_str::<Request>(line).unwrap(), request);
        }
    }
}
