//! `prove`: measures on AWS what only AWS can answer, with the reader's credentials and consent, and removes everything
//! it made. docs/aws-evidence.md says what for.
//!
//! [`rows`] has the questions. [`experiments`] makes a VPC and three probes, which answer by tags; [`clean`] removes
//! what [`remains`] lists until it lists nothing.

mod clean;
mod cli;
mod experiments;
mod findings;
mod launcher_program;
mod names;
mod price;
mod probes;
mod progress;
mod record;
mod remains;
mod rows;
mod say;
mod session;
mod signals;
mod site;
mod statistics;
mod whole_way;

use std::process::ExitCode;

use clap::Parser;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match session::run(&cli::Cli::parse()).await {
        Ok(code) => code,
        Err(error) => {
            say::complain!("prove: {error:#}");
            ExitCode::FAILURE
        }
    }
}
