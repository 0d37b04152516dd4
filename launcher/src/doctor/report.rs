//! Shows findings: as text, problems first, and as JSON. Pure.

use serde::Serialize;

use super::finding::{Finding, Status};
use crate::output::sanitize;

/// The result, for `--output json`.
#[derive(Debug, Serialize)]
pub struct Document<'a> {
    outcome: &'static str,
    balancer: &'a str,
    region: &'a str,
    findings: Vec<Entry<'a>>,
}

#[derive(Debug, Serialize)]
struct Entry<'a> {
    id: &'static str,
    status: Status,
    seen: &'a str,
    /// None if the check is ok.
    remedy: Option<&'a str>,
    guide: String,
}

/// Whether one of them is a problem.
pub fn has_problem(findings: &[Finding]) -> bool {
    findings.iter().any(|finding| finding.status == Status::Problem)
}

/// Every finding, in the order of the checks.
pub fn document<'a>(balancer: &'a str, region: &'a str, findings: &'a [Finding]) -> Document<'a> {
    let entry = |finding: &'a Finding| Entry {
        id: finding.id.name(),
        status: finding.status,
        seen: &finding.seen,
        remedy: (!finding.remedy.is_empty()).then_some(finding.remedy.as_str()),
        guide: finding.id.guide(),
    };
    let outcome = if has_problem(findings) { "problems" } else { "fine" };
    Document { outcome, balancer, region, findings: findings.iter().map(entry).collect() }
}

/// How many findings there are of each status, in words.
pub fn count(findings: &[Finding]) -> String {
    let of = |status: Status| findings.iter().filter(|finding| finding.status == status).count();
    let many = |count: usize, one: &str| match count {
        0 => format!("no {one}"),
        1 => format!("1 {one}"),
        _ => format!("{count} {one}s"),
    };
    let (unknown, ok) = (of(Status::Unknown), of(Status::Ok));
    let (problems, warnings) = (many(of(Status::Problem), "problem"), many(of(Status::Warning), "warning"));
    format!("{problems}, {warnings}, {unknown} unknown, {ok} ok")
}

/// What to show of the checks that are ok.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Oks {
    Counted,
    Listed,
}

/// The findings for people: problems first. Each finding has a second line with what to do.
pub fn text(balancer: &str, findings: &[Finding], oks: Oks) -> String {
    let mut text = format!("{balancer}: {}\n", count(findings));
    let mut shown: Vec<&Finding> =
        findings.iter().filter(|finding| oks == Oks::Listed || finding.status != Status::Ok).collect();
    shown.sort_by_key(|finding| finding.status);
    for finding in shown {
        let word = match finding.status {
            Status::Problem => "problem",
            Status::Warning => "warning",
            Status::Unknown => "unknown",
            Status::Ok => "ok",
        };
        text.push_str(&format!("  {word:<7}  {}: {}\n", finding.id, sanitize::line(&finding.seen)));
        if !finding.remedy.is_empty() {
            text.push_str(&format!("           {} ({})\n", sanitize::line(&finding.remedy), finding.id.guide()));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::ids::Id;

    fn findings() -> Vec<Finding> {
        vec![
            Finding::ok(Id::Vpc, "it exists"),
            Finding::warning(Id::Peerings, "pcx-1", "use a transit gateway"),
            Finding::problem(Id::SubnetApi, "subnet-a has no way", "add a NAT gateway"),
        ]
    }

    #[test]
    fn problems_come_first_and_oks_are_counted() {
        assert_eq!(
            text("web", &findings(), Oks::Counted),
            "web: 1 problem, 1 warning, 0 unknown, 1 ok\n\
             \x20 problem  subnet-api: subnet-a has no way\n\
             \x20          add a NAT gateway (docs/failure-guide.md#subnet-api)\n\
             \x20 warning  peerings: pcx-1\n\
             \x20          use a transit gateway (docs/failure-guide.md#peerings)\n"
        );
        assert!(text("web", &findings(), Oks::Listed).ends_with("\n  ok       vpc: it exists\n"));
    }

    #[test]
    fn json_has_every_finding_with_its_link() {
        let all = findings();
        let document = serde_json::to_value(document("web", "eu-west-1", &all)).unwrap();
        assert_eq!(document["outcome"], "problems");
        assert_eq!(document["findings"][0]["remedy"], serde_json::Value::Null);
        assert_eq!(document["findings"][2]["status"], "problem");
        assert_eq!(document["findings"][2]["guide"], "docs/failure-guide.md#subnet-api");
        assert!(!has_problem(&all[..2]));
    }
}
