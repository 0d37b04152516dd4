//! Finds rules that no request can reach, as an earlier rule matches all of theirs. Errs on the side of silence: of
//! regular expressions and inner wildcards it compares the text only.

use super::Problem;
use crate::balancer::location::at;
use crate::balancer::{Conditions, Rule};

pub fn unreachable(rules: &[Rule]) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (later, rule) in rules.iter().enumerate() {
        let Some(earlier) = rules[..later].iter().position(|earlier| covers(&earlier.conditions, &rule.conditions))
        else {
            continue;
        };
        let first = &rules[earlier].conditions;
        let number = earlier + 1;
        // Also in another order, or with letters of another case.
        let message = if covers(&rule.conditions, first) {
            format!("never matches: rule {number} has the same conditions; remove one of them")
        } else if is_always(first) {
            format!(
                "never matches: rule {number} matches every request; move it to the end, or remove its action to the listener"
            )
        } else {
            format!("never matches: rule {number} matches all of its requests; move this rule before it")
        };
        problems.push(Problem::new(at!["rule", later], message));
    }
    problems
}

fn is_always(conditions: &Conditions) -> bool {
    covers(conditions, &Conditions::default())
}

/// Whether each request that matches `b` matches `a`.
fn covers(a: &Conditions, b: &Conditions) -> bool {
    let same = |a: &[String], b: &[String]| a.is_empty() || (!b.is_empty() && b.iter().all(|value| a.contains(value)));
    // HAProxy finds a header by its name in any case.
    let header = |name: &str| b.header.iter().find(|(other, _)| other.eq_ignore_ascii_case(name));
    let lower = |hosts: &[String]| hosts.iter().map(|host| host.to_ascii_lowercase()).collect::<Vec<_>>();
    patterns(&lower(&a.host), &lower(&b.host))
        && patterns(&a.path, &b.path)
        && same(&a.method, &b.method)
        && a.header.iter().all(|(name, values)| header(name).is_some_and(|(_, others)| same(values, others)))
        && a.query.iter().all(|(name, values)| b.query.get(name).is_some_and(|others| same(values, others)))
        && (a.source.is_empty()
            || (!b.source.is_empty() && b.source.iter().all(|net| a.source.iter().any(|wide| wide.contains(net)))))
}

fn patterns(a: &[String], b: &[String]) -> bool {
    let every = |pattern: &String| pattern == "*" || pattern == "/*";
    a.is_empty()
        || a.iter().any(every)
        || (!b.is_empty() && b.iter().all(|narrow| a.iter().any(|wide| wide == narrow || is_below(wide, narrow))))
}

/// Whether `wide` is text and one final `*`, and `narrow` starts with the text.
fn is_below(wide: &str, narrow: &str) -> bool {
    let prefix = wide.strip_suffix('*').filter(|prefix| !prefix.contains(['*', '?']) && !prefix.starts_with('~'));
    prefix.is_some_and(|prefix| narrow.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn covered(a: &str, b: &str) -> bool {
        let conditions = |text: &str| -> Conditions { toml::from_str(text).unwrap() };
        covers(&conditions(a), &conditions(b))
    }

    #[test]
    fn a_rule_covers_what_it_is_wider_than() {
        for (a, b) in [
            ("", "host = ['a']"),
            ("path = ['/*']", "host = ['a']"),
            ("path = ['/a*']", "path = ['/a/b', '/ac']"),
            ("path = ['/a*']", "path = ['/a/*']\nhost = ['h']"),
            ("host = ['A.example']", "host = ['a.example']"),
            ("source = ['10.0.0.0/8']", "source = ['10.1.0.0/16']"),
            ("method = ['GET', 'PUT']", "method = ['GET']"),
            ("header = { X = ['a'] }", "header = { x = ['a'] }\npath = ['/b']"),
        ] {
            assert!(covered(a, b), "{a:?} covers {b:?}");
        }
        for (a, b) in [
            ("host = ['a']", ""),
            ("path = ['/a*']", "path = ['/a', '/b']"),
            ("path = ['~^/a*']", "path = ['~^/ab']"),
            ("path = ['/a?*']", "path = ['/abc']"),
            ("host = ['a']\npath = ['/a*']", "path = ['/a']"),
            ("header = { X = ['a'] }", "header = { Y = ['a'] }"),
            ("query = { v = ['1'] }", ""),
        ] {
            assert!(!covered(a, b), "{a:?} doesn't cover {b:?}");
        }
    }
}
