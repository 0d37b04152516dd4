//! A result of a check.

use serde::Serialize;

use super::facts::Read;
use super::ids::Id;
use crate::aws::error::{CallFailed, Reason};

/// How a check ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// The balancer can't serve, or not as its file says.
    Problem,
    /// It serves, with a risk or for fewer clients than expected.
    Warning,
    /// The check couldn't be made.
    Unknown,
    Ok,
}

/// A result of a check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    pub id: Id,
    pub status: Status,
    /// What the check saw, in one line.
    pub seen: String,
    /// What to do about it, in one line; empty if the check is ok.
    pub remedy: String,
}

impl Finding {
    pub fn problem(id: Id, seen: impl Into<String>, remedy: impl Into<String>) -> Finding {
        Finding { id, status: Status::Problem, seen: seen.into(), remedy: remedy.into() }
    }

    pub fn warning(id: Id, seen: impl Into<String>, remedy: impl Into<String>) -> Finding {
        Finding { id, status: Status::Warning, seen: seen.into(), remedy: remedy.into() }
    }

    pub fn unknown(id: Id, seen: impl Into<String>, remedy: impl Into<String>) -> Finding {
        Finding { id, status: Status::Unknown, seen: seen.into(), remedy: remedy.into() }
    }

    pub fn ok(id: Id, seen: impl Into<String>) -> Finding {
        Finding { id, status: Status::Ok, seen: seen.into(), remedy: String::new() }
    }

    /// The finding of a check that needs a call which failed.
    pub fn unread(id: Id, error: &CallFailed) -> Finding {
        let remedy = match error.reason {
            Reason::Denied(_) => "run doctor again with this permission",
            _ => "run doctor again",
        };
        Finding::unknown(id, error.to_string(), remedy)
    }

    /// What it saw and what to do, in one line.
    pub fn line(&self) -> String {
        match self.remedy.is_empty() {
            true => self.seen.clone(),
            false => format!("{}; {}", self.seen, self.remedy),
        }
    }
}

/// The findings, or an ok if there are none.
pub fn or_ok(id: Id, findings: Vec<Finding>, seen: impl Into<String>) -> Vec<Finding> {
    match findings.is_empty() {
        true => vec![Finding::ok(id, seen)],
        false => findings,
    }
}

/// Calls `check` with what was read; an unknown if the call failed.
pub fn with<'a, T>(id: Id, read: &'a Read<T>, check: impl FnOnce(&'a T) -> Vec<Finding>) -> Vec<Finding> {
    match read {
        Ok(value) => check(value),
        Err(error) => vec![Finding::unread(id, error)],
    }
}
