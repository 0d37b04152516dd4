//! The operator's side of Elbow.

use std::process::ExitCode;

fn main() -> ExitCode {
    launcher::main()
}
