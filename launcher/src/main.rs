//! The launcher's entry point.

use std::process::ExitCode;

fn main() -> ExitCode {
    launcher::main()
}
