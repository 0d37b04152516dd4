//! The `lab` command: what a person, the demo and the tests do with the lab. It asks the running lab by its control
//! socket; only `up`, `client` and `exec` do something themselves.

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

/// A VPC in a box: an AWS-like API, a router, and instances that boot for real. Wants root.
#[derive(Debug, Parser)]
#[command(name = "lab", version, after_help = HELP)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const HELP: &str = "\
ID is an instance's id, or `active` (the one that the virtual IP's route in the main route table points at) or
`standby`; with several balancers `active:NAME`, `standby:NAME`.

  lab up && eval \"$(lab env)\"
  lab example > balancer.toml && launcher create balancer.toml
  lab client curl http://10.255.0.10/
  lab kill active; lab status; lab down";

#[derive(Debug, Subcommand)]
enum Command {
    /// Start the lab and leave it running; says so if it is up already
    Up,
    /// Stop the lab and remove everything it made; fine if there is none
    Down,
    /// Print shell lines that point AWS tools at the lab: eval "$(lab env)"
    Env,
    /// Print a balancer.toml that fits the lab as it stands
    Example,
    /// Show instances, virtual IPs' routes and what is set to go wrong
    Status {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Run a command inside an instance
    Exec {
        /// Which instance
        id: String,
        /// The command and its arguments
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<OsString>,
    },
    /// Run a command of this machine where the client is in the VPC
    Client {
        /// The command and its arguments
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<OsString>,
    },
    #[command(flatten)]
    Order(Order),
    /// Show the API calls so far
    Calls {
        /// A JSON object a line
        #[arg(long)]
        json: bool,
        /// Forget them after
        #[arg(long)]
        clear: bool,
    },
    /// Ask from the client's place again and again, until an outage has come and gone
    #[command(hide = true)]
    Probe {
        /// Whom, such as 10.255.0.10:80
        to: SocketAddrV4,
        /// Milliseconds from one request to the next
        #[arg(long, default_value_t = 10)]
        every: u64,
    },
    /// Play random faults on a balancer of its own, in a fresh lab, and print each fault and each outage
    Chaos {
        /// Which faults, when: the same number plays the same plan
        #[arg(long, default_value_t = rand::random::<u16>().into())]
        seed: u64,
        /// For how long faults begin, in seconds
        #[arg(long, default_value_t = 600)]
        seconds: u64,
    },
    /// Be the lab, in the foreground
    #[command(hide = true)]
    Serve,
    /// Build the instances' images and the package repository, where they aren't there
    #[command(hide = true)]
    Image,
}

/// Parses the command line and does what it says.
pub fn run() -> Result<()> {
    let command = Cli::parse().command;
    let dir = LabDir::open()?;
    match command {
        Command::Up => up::up(&dir),
        Command::Down => up::down(&dir),
        Command::Serve => up::serve(dir),
        Command::Image => up::image(&dir),
        Command::Env => print::env(&dir),
        Command::Example => print::example(&dir),
        Command::Status { json } => print::status(&dir, json),
        Command::Calls { json, clear } => print::calls(&dir, json, clear),
        Command::Probe { to, every } => probe::probe(&dir, to, every),
        Command::Exec { id, command } => inside::exec(&dir, id, command),
        Command::Client { command } => inside::client(&dir, command),
        Command::Chaos { seed, seconds } => chaos::run(seed, Duration::from_secs(seconds)),
        Command::Order(order) => ask::ask(&dir, &Request::Do(order)).map(say),
    }
}

/// What the lab has to say to a person, if anything.
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
