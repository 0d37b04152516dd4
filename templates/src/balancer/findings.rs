//! What is wrong with a balancer's file: every problem, with its place in the text.

use std::fmt;
use std::ops::Range;

use super::Balancer;

/// A problem of a balancer's file, in one line: `line 4: virtual_ips: 10.255.0.10 is listed twice`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    pub severity: Severity,
    /// The bytes of the text that are at fault; none if the text doesn't have them, or may have a secret there.
    pub span: Option<Range<usize>>,
    /// The line of `span`, counted from 1.
    pub line: Option<usize>,
    /// The key, with dots between tables; empty if no key is at fault.
    pub key: String,
    /// What is wrong, and what to write instead.
    pub message: String,
}

/// Whether a file with this problem can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    Error,
    Warning,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line {
            write!(f, "line {line}: ")?;
        }
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.message)
    }
}

/// A balancer's file, read and checked.
#[derive(Debug)]
pub struct Examined {
    /// None if there is an error.
    pub balancer: Option<Balancer>,
    /// All errors and warnings, in the order of the text.
    pub findings: Vec<Finding>,
}

impl Examined {
    /// The balancer, or all errors.
    ///
    /// # Errors
    /// If the file has one.
    pub fn valid(self) -> Result<Balancer, Invalid> {
        self.balancer.ok_or_else(|| Invalid::of(self.findings))
    }
}

/// The errors of a balancer. A node reports them in one line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Invalid(pub Vec<Finding>);

impl Invalid {
    pub(super) fn of(findings: Vec<Finding>) -> Invalid {
        Invalid(findings.into_iter().filter(|finding| finding.severity == Severity::Error).collect())
    }
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, finding) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str("; ")?;
            }
            write!(f, "{finding}")?;
        }
        Ok(())
    }
}
