//! How a command can end badly, and the exit code of each way.

use templates::balancer::Balancer;

use crate::aws::error::{CallFailed, Reason};

/// How a command can end badly.
#[derive(Debug)]
pub enum Failure {
    /// The input, or the world it meets, can't work; nothing was changed. One line for each problem.
    BadInput(Vec<String>),
    /// It was tried and failed, or took too long.
    Failed(anyhow::Error),
    /// It did what it could; a line for each thing that is left.
    Unfinished(Vec<String>),
    /// `status`: what is there doesn't serve as it should. Already shown.
    Degraded,
    /// The operator stopped it.
    Interrupted,
}

impl Failure {
    /// Input that can't work, for one reason.
    pub fn bad_input(problem: impl Into<String>) -> Failure {
        Failure::BadInput(vec![problem.into()])
    }

    /// What scripts see.
    pub fn exit_code(&self) -> u8 {
        match self {
            Failure::Failed(_) | Failure::Unfinished(_) | Failure::Interrupted => 1,
            Failure::BadInput(_) => 2,
            Failure::Degraded => 3,
        }
    }

    /// One line for each thing to tell the operator.
    pub fn lines(&self) -> Vec<String> {
        match self {
            Failure::BadInput(problems) | Failure::Unfinished(problems) => problems.clone(),
            Failure::Failed(error) => vec![format!("{error:#}")],
            Failure::Degraded => Vec::new(),
            Failure::Interrupted => vec!["stopped; the same command again takes up where this one was".to_owned()],
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

/// A call that failed before anything was changed: credentials that AWS doesn't take are bad input.
pub fn looking(error: CallFailed) -> Failure {
    match error.reason {
        Reason::NoCredentials(_) => Failure::bad_input(error.to_string()),
        _ => error.into(),
    }
}

/// Refuses a name that no balancer has, before AWS is asked for it: in a filter `*` would be every balancer.
pub fn check_name(name: &str) -> Result<(), Failure> {
    templates::names::check(name).map_err(|problem| Failure::bad_input(format!("name: {problem}")))
}

/// Reads and validates a balancer file, before anything else happens.
pub fn read_balancer(path: &std::path::Path) -> Result<Balancer, Failure> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| Failure::bad_input(format!("{}: can't be read: {error}", path.display())))?;
    Balancer::parse(&text).map_err(|invalid| Failure::bad_input(format!("{}: {invalid}", path.display())))
}
