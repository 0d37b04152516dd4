//! Reads and checks a `balancer.toml` offline, and finds every error of it in one run.

use std::ops::Range;

use toml::de::DeTable;

use super::check::{self, Problem};
use super::findings::{Examined, Finding, Invalid, Severity};
use super::location::Segment;
use super::{Balancer, location, prune, secrets, syntax};

/// Reads and checks a balancer's file. `read` returns the text of a file that it names, by a path relative to it. What
/// only AWS knows isn't checked.
pub fn examine(text: &str, read: &dyn Fn(&str) -> Result<String, String>) -> Examined {
    let (document, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        let findings = syntax::findings(text, &errors).into_iter().map(|finding| shown(finding, text)).collect();
        return Examined { balancer: None, findings };
    }
    let pruned = prune::read(text, document);
    let mut findings = pruned.findings;
    let mut balancer = pruned.balancer;
    if let Some(balancer) = &mut balancer {
        if let Some(agent) = &mut balancer.agent {
            agent.sha256.make_ascii_lowercase();
        }
        let unread = check::read_extra(balancer, read);
        let not_for_files = check::not_for_files(balancer).err();
        let empty = check::empty_values(pruned.root.get_ref());
        // Without its text, the names of its backends are unknown.
        let is_unread = unread.is_some();
        let follows = |problem: &Problem| is_unread && problem.path.contains(&Segment::from("forward"));
        let found_by_checks = check::problems(balancer).into_iter().filter(|problem| !follows(problem));
        for problem in unread.into_iter().chain(not_for_files).chain(empty).chain(found_by_checks) {
            // What stands in for a value at fault has no problems of its own, and lists and tables without it may have.
            if !pruned.paths.iter().any(|path| location::related(path, &problem.path)) {
                let span = location::find(pruned.root.get_ref(), &problem.path).filter(|span| span.end <= text.len());
                findings.push(found(problem, Some(text), span));
            }
        }
    }
    findings.sort_by_key(|finding| (finding.severity, finding.span.as_ref().map_or(usize::MAX, |span| span.start)));
    let is_valid = findings.iter().all(|finding| finding.severity != Severity::Error);
    let findings = findings.into_iter().map(|finding| shown(finding, text)).collect();
    Examined { balancer: balancer.filter(|_| is_valid), findings }
}

/// Without the place of what may be a secret: a reader of findings may show the text there.
fn shown(finding: Finding, text: &str) -> Finding {
    let is_secret = finding.key.starts_with("notify")
        || finding.line.is_some_and(|line| secrets::is_secret(text, line))
        || finding.line.and_then(|line| text.lines().nth(line - 1)).is_some_and(|line| line.contains("://"));
    Finding { span: finding.span.filter(|_| !is_secret), ..finding }
}

fn found(problem: Problem, text: Option<&str>, span: Option<Range<usize>>) -> Finding {
    let line = text.zip(span.as_ref()).map(|(text, span)| location::line(text, span.start));
    let key = location::dotted(&problem.path);
    let message = match problem.path.contains(&Segment::from(secrets::WEBHOOK)) {
        true => secrets::unquoted(&problem.message),
        false => secrets::addresses(&problem.message),
    };
    Finding { severity: problem.severity, span, line, key, message }
}

impl Balancer {
    /// Reads a `balancer.toml` that names no other file.
    ///
    /// # Errors
    /// If it isn't TOML, has an unknown key or lacks one, or has an invalid value. What only AWS knows isn't checked.
    pub fn parse(toml_text: &str) -> Result<Balancer, Invalid> {
        examine(toml_text, &|_| Err("no other file can be read here".to_owned())).valid()
    }

    /// The checks of [`Balancer::parse`], for a balancer from another source.
    ///
    /// # Errors
    /// All errors, with their keys.
    pub fn check(&self) -> Result<(), Invalid> {
        let found = check::problems(self).into_iter().map(|problem| found(problem, None, None));
        let invalid = Invalid::of(found.collect());
        if invalid.0.is_empty() { Ok(()) } else { Err(invalid) }
    }
}
