//! `lab`: see `lab --help`.

use std::process::ExitCode;

fn main() -> ExitCode {
    match lab::cli::run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("lab: {error:#}");
            ExitCode::FAILURE
        }
    }
}
