//! The `lab` program: see `lab --help`.

use std::process::ExitCode;

use anstream::eprintln;

fn main() -> ExitCode {
    match lab::cli::run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("lab: {error:#}");
            ExitCode::FAILURE
        }
    }
}
