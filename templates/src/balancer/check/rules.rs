//! Checks of the actions of listeners, and of their rules.

use super::actions::{self, Group, Groups};
use super::{Problem, coverage, network, text};
use crate::balancer::location::{Path, at};
use crate::balancer::{Balancer, Conditions, Listener, Protocol, Rewrite, Rule};

/// ALB has 100 by default; 16 KB of user-data hold about twice that.
const MAX_RULES: usize = 500;

pub fn all(b: &Balancer) -> Vec<Problem> {
    let known = b.groups();
    let own = b.haproxy.extra.iter().flat_map(|extra| extra.backends());
    let mut groups: Groups<'_> = own.map(|(name, mode)| (name, Group::Own(mode))).collect();
    groups.extend(known.iter().map(|group| (group.name.as_str(), Group::Elbows(group.protocol))));
    let mut problems = Vec::new();
    for (i, listener) in b.listeners.iter().enumerate() {
        problems.extend(of(listener, &groups).into_iter().map(|problem| problem.below(at!["listener", i])));
    }
    problems
}

fn of(listener: &Listener, groups: &Groups<'_>) -> Vec<Problem> {
    let present = [
        ("targets", listener.targets.is_some()),
        ("forward", listener.forward.is_some()),
        ("redirect", listener.redirect.is_some()),
        ("respond", listener.respond.is_some()),
    ];
    let mut problems: Vec<Problem> =
        actions::one(&keys(&present), "targets, forward, redirect and respond").into_iter().collect();
    problems.extend(actions::content(&listener.action(), listener.forward.as_ref(), listener.protocol, groups));
    problems.extend(actions::endless(&listener.action(), listener.range()));
    problems.extend(actions::sticky(listener.forward_sticky.as_ref(), listener.forward.as_ref()).err());
    if listener.rules.len() > MAX_RULES {
        let message = format!("{} are too many; write at most {MAX_RULES}", listener.rules.len());
        problems.push(Problem::new(at!["rule"], message));
    }
    for (i, rule) in listener.rules.iter().enumerate() {
        let endless = actions::endless(&rule.action(), listener.range());
        problems.extend(one(rule, groups).into_iter().chain(endless).map(|problem| problem.below(at!["rule", i])));
    }
    problems.extend(coverage::unreachable(&listener.rules));
    problems
}

fn keys(present: &[(&'static str, bool)]) -> Vec<&'static str> {
    present.iter().filter(|(_, is_present)| *is_present).map(|(key, _)| *key).collect()
}

fn one(rule: &Rule, groups: &Groups<'_>) -> Vec<Problem> {
    let present = [
        ("forward", rule.forward.is_some()),
        ("redirect", rule.redirect.is_some()),
        ("respond", rule.respond.is_some()),
    ];
    let mut problems: Vec<Problem> =
        actions::one(&keys(&present), "forward, redirect and respond").into_iter().collect();
    problems.extend(actions::content(&rule.action(), rule.forward.as_ref(), Protocol::Http, groups));
    problems.extend(actions::sticky(rule.forward_sticky.as_ref(), rule.forward.as_ref()).err());
    problems.extend(conditions(&rule.conditions).into_iter().map(|problem| problem.below(at!["if"])));
    if let Some(rewrite) = &rule.rewrite {
        if rule.forward.is_none() {
            problems.push(Problem::new(at!["rewrite"], "changes a request that is forwarded; write forward"));
        }
        problems.extend(rewrites(rewrite).into_iter().map(|problem| problem.below(at!["rewrite"])));
    }
    problems
}

fn conditions(conditions: &Conditions) -> Vec<Problem> {
    let Conditions { host, path, header, method, query, source } = conditions;
    let mut problems = Vec::new();
    let mut each = |at: Path, values: &[String], check: fn(&str) -> Result<(), String>| {
        for (i, value) in values.iter().enumerate() {
            let path = [at.clone(), at![i]].concat();
            problems.extend(check(value).err().map(|message| Problem::new(path, message)));
        }
    };
    each(at!["host"], host, text::host_pattern);
    each(at!["path"], path, text::path_pattern);
    each(at!["method"], method, self::method);
    for (name, values) in header {
        each(at!["header", name.as_str()], values, text::printable);
    }
    for (name, values) in query {
        each(at!["query", name.as_str()], values, text::printable);
    }
    let named = header.iter().map(|(name, values)| ("header", name, values));
    for (key, name, values) in named.chain(query.iter().map(|(name, values)| ("query", name, values))) {
        let message = match text::name(if key == "header" { "header" } else { "query parameter" }, name) {
            Err(message) => message,
            Ok(()) if key == "header" && name.eq_ignore_ascii_case("host") => "write if = { host = […] }".to_owned(),
            Ok(()) if values.is_empty() => "the list is empty; write a value, such as [\"*\"] for any".to_owned(),
            Ok(()) => continue,
        };
        problems.push(Problem::new(at![key, name.as_str()], message));
    }
    problems.extend(network::nets(&at!["source"], source).err());
    problems
}

fn method(text: &str) -> Result<(), String> {
    match (1..=40).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_uppercase() || b"-_".contains(&b)) {
        true => Ok(()),
        false => Err(format!("{text:?} is not a method; write capitals, such as \"GET\"")),
    }
}

fn rewrites(rewrite: &Rewrite) -> Vec<Problem> {
    let Rewrite { host, path, query } = rewrite;
    let mut problems = Vec::new();
    if host.is_none() && path.is_none() && query.is_none() {
        problems.push(Problem::new(vec![], "changes nothing; write host, path or query"));
    }
    problems.extend(host.as_deref().and_then(|host| text::host(host).err()).map(|m| Problem::new(at!["host"], m)));
    problems
        .extend(query.as_deref().and_then(|query| text::url_part(query).err()).map(|m| Problem::new(at!["query"], m)));
    if let Some((regex, replacement)) = path {
        problems.extend(text::regex(regex).err().map(|message| Problem::new(at!["path", 0], message)));
        problems.extend(text::printable(replacement).err().map(|message| Problem::new(at!["path", 1], message)));
        if replacement.contains(' ') {
            problems.push(Problem::new(at!["path", 1], format!("{replacement:?} has a space; write %20")));
        }
    }
    problems
}
