//! The launcher: creates, updates, shows and destroys balancers.
//!
//! Read [`plan`] and [`assess`] first: they decide, and do no I/O. Each command in [`commands`] runs these steps: read the file,
//! observe the account ([`model`]), check both ([`preflight`], [`doctor`]), [`plan`] the difference, [`apply`] it, and wait until
//! the nodes report that they serve. [`update`] changes a running balancer, and [`init`] chooses what a new balancer's file says.

pub mod apply;
pub mod assess;
pub mod aws;
pub mod cli;
pub mod commands;
pub mod doctor;
pub mod handover;
pub mod init;
pub mod listener_probe;
pub mod model;
pub mod output;
pub mod plan;
pub mod preflight;
pub mod resources;
pub mod update;

use std::process::ExitCode;

use tracing_subscriber::EnvFilter;

use crate::output::failure::Failure;

/// Runs the command line. Scripts depend on the exit codes, which [`Failure::exit_code`] maps.
pub fn main() -> ExitCode {
    let cli = cli::Cli::from_arguments();
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("off")))
        .with_writer(std::io::stderr)
        .init();
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return finish(&cli, Failure::Failed(error.into())),
    };
    let outcome = runtime.block_on(async {
        tokio::select! {
            outcome = commands::run(&cli) => outcome,
            () = stopped(&cli) => Err(Failure::Interrupted),
        }
    });
    // Don't wait for an unanswered prompt.
    runtime.shutdown_background();
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => finish(&cli, failure),
    }
}

/// Waits for the signal that ends the command: the second for an update, which releases its lease at the first.
async fn stopped(cli: &cli::Cli) {
    interrupted().await;
    if matches!(cli.command, cli::Command::Update(_)) {
        interrupted().await;
    }
}

/// Does the work until a signal interrupts it.
pub async fn until_interrupted<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    tokio::select! {
        outcome = work => outcome,
        () = interrupted() => Err(Failure::Interrupted),
    }
}

async fn interrupted() {
    let mut terminate = match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
        Ok(signal) => signal,
        Err(_) => return std::future::pending().await,
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
}

fn finish(cli: &cli::Cli, failure: Failure) -> ExitCode {
    output::failed(cli.output, &failure);
    ExitCode::from(failure.exit_code())
}
