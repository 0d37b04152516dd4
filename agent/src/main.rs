//! The agent's executable; see the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    agent::cli::main()
}
