//! The ways in which a command fails, and their exit codes.

use crate::aws::error::{CallFailed, Reason};
use crate::output::located::Located;

/// Why a command failed.
#[derive(Debug)]
pub enum Failure {
    /// The input is invalid or doesn't fit what AWS has; nothing was changed. One line for each problem.
    BadInput(Vec<String>),
    /// A balancer file has errors; nothing was changed.
    BadFile(Vec<Located>),
    /// It was tried and failed, or took too long.
    Failed(anyhow::Error),
    /// It did a part; a line for each thing that is left.
    Unfinished(Vec<String>),
    /// `status` or `--probe`: the balancer doesn't serve as it should. `doctor`: a check found a problem. Already shown.
    Degraded,
    /// The operator stopped it.
    Interrupted,
}

impl Failure {
    pub fn bad_input(problem: impl Into<String>) -> Failure {
        Failure::BadInput(vec![problem.into()])
    }

    /// The process's exit code.
    pub fn exit_code(&self) -> u8 {
        match self {
            Failure::Failed(_) | Failure::Unfinished(_) | Failure::Interrupted => 1,
            Failure::BadInput(_) | Failure::BadFile(_) => 2,
            Failure::Degraded => 3,
        }
    }

    /// One line for each thing to tell the operator.
    pub fn lines(&self) -> Vec<String> {
        match self {
            Failure::BadInput(problems) | Failure::Unfinished(problems) => problems.clone(),
            Failure::BadFile(problems) => problems.iter().map(|problem| problem.line.clone()).collect(),
            Failure::Failed(error) => {
                let decoding = error.downcast_ref().and_then(CallFailed::decoding);
                [format!("{error:#}")].into_iter().chain(decoding).collect()
            }
            Failure::Degraded => Vec::new(),
            Failure::Interrupted => vec!["interrupted; run the same command again to resume".to_owned()],
        }
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Failure {
        Failure::Failed(error)
    }
}

impl From<CallFailed> for Failure {
    fn from(error: CallFailed) -> Failure {
        Failure::Failed(error.into())
    }
}

/// The failure of a call before anything was changed. Rejected credentials are bad input.
pub fn looking(error: CallFailed) -> Failure {
    match error.reason {
        Reason::NoCredentials(_) => Failure::bad_input(error.to_string()),
        _ => error.into(),
    }
}

/// Refuses an invalid balancer name before any call: in a filter `*` would match every balancer.
pub fn check_name(name: &str) -> Result<(), Failure> {
    let hint = if name.ends_with(".toml") { "; for the balancer of a file, give the name in the file" } else { "" };
    templates::names::check(name).map_err(|problem| Failure::bad_input(format!("name: {problem}{hint}")))
}
