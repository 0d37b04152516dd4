//! Where a listener's requests go. HAProxy tries `http-request` lines in order, so a rule that forwards only notes its
//! group in `txn.group`, and lines of later rules ask that there is none yet, or are skipped. `use_backend` reads the
//! note.

use super::pattern;
use super::quote::{self, Part, Quoted};
use super::{OPEN, fails_open};
use crate::balancer::{Action, Conditions, Listener, Millis, Protocol, Redirect, Respond, Rewrite, TargetGroup};

/// Where a listener's connections or requests go.
pub struct Routing<'a> {
    /// Whether the lines use the host and the path of the request.
    pub has_patterns: bool,
    /// Whether a group is chosen at random.
    pub has_dice: bool,
    /// Whether a group is noted, rather than there being one for all.
    pub has_notes: bool,
    /// `http-request` or `tcp-request content`.
    pub verb: &'static str,
    pub steps: Vec<Step<'a>>,
    /// The groups with a backend for unhealthy targets.
    pub open: Vec<Open<'a>>,
    /// The only group, if there is one for all.
    pub only: Option<&'a str>,
}

/// A rule, or at the end what no rule matches.
pub struct Step<'a> {
    /// Named conditions.
    pub acls: Vec<String>,
    /// The end of a line that is for this rule's requests, such as ` if !decided r1_host`.
    pub when: String,
    pub rewrite: Option<Rewriting>,
    pub cookie: Option<GroupCookie<'a>>,
    pub action: Line<'a>,
    /// Whether requests with a note skip the rules after this one.
    pub skips: bool,
}

pub struct Rewriting {
    /// The rule's number, from 1.
    pub number: usize,
    pub host: Option<Quoted>,
    pub path: Option<(Quoted, Quoted)>,
    pub query: Option<Quoted>,
}

/// Lines for an action.
pub enum Line<'a> {
    /// Each group with the end of its line.
    Forward(Vec<(&'a str, String)>),
    /// Each location with the end of its line.
    Redirect { status: u16, locations: Vec<(Quoted, String)> },
    /// With a media type and a body, if it has one.
    Respond { status: u16, content: Option<(Quoted, Quoted)> },
}

/// A cookie by which a client stays with a group.
pub struct GroupCookie<'a> {
    pub name: String,
    /// In seconds.
    pub lasts: u32,
    /// The step's number.
    pub number: usize,
    /// Each group with the end of its line.
    pub choices: Vec<(&'a str, String)>,
}

/// A group that fails open.
pub struct Open<'a> {
    pub group: &'a str,
    pub backend: String,
    pub minimum: u32,
}

/// Weights become parts of this number.
const DICE: u64 = 1_000_000;
/// No group is noted. It is a line's last condition: the others are false for most rules, and then HAProxy asks no more.
const UNDECIDED: &str = "!decided";
/// After so many rules, requests with a note skip the rest.
const SKIP: usize = 10;

pub fn of<'a>(listener: &'a Listener, groups: &'a [TargetGroup]) -> Routing<'a> {
    let mut steps = Vec::new();
    let mut has_notes = false;
    let rules =
        listener.rules.iter().map(|rule| (Some(&rule.conditions), Some(rule), rule.forward_sticky, rule.action()));
    let rules: Vec<_> = rules.chain([(None, None, listener.forward_sticky, listener.action())]).collect();
    let is_forward = |action: &Action<'_>| matches!(action, Action::Forward(_));
    let only = match &rules[..] {
        [(_, None, _, Action::Forward(groups))] if groups.len() == 1 => Some(groups[0].0),
        _ => None,
    };
    let mut has_dice = false;
    for (i, (conditions, rule, sticky, action)) in rules.into_iter().enumerate().filter(|_| only.is_none()) {
        let (acls, mut names) = conditions.map_or_else(Default::default, |conditions| named(i + 1, conditions));
        if has_notes {
            names.push(UNDECIDED.to_owned());
        }
        has_notes |= is_forward(&action);
        has_dice |= matches!(&action, Action::Forward(groups) if groups.len() > 1);
        let rewrite = rule.and_then(|rule| rule.rewrite.as_ref()).map(|rewrite| rewriting(i + 1, rewrite));
        let cookie = sticky.and_then(|lasts| group_cookie(i + 1, lasts, &action, &names));
        let when = suffix(&names);
        if cookie.is_some() {
            add_undecided(&mut names);
        }
        let skips = has_notes && i % SKIP == SKIP - 1;
        steps.push(Step { acls, when, rewrite, cookie, action: line(action, &names), skips });
    }
    let open = listener.forwards_to().into_iter().filter_map(|name| {
        let group = groups.iter().find(|group| group.name == name && fails_open(group))?;
        Some(Open { group: &group.name, backend: format!("{name}{OPEN}"), minimum: group.minimum_healthy() })
    });
    Routing {
        has_patterns: listener
            .rules
            .iter()
            .any(|rule| !rule.conditions.host.is_empty() || !rule.conditions.path.is_empty()),
        has_dice,
        has_notes,
        verb: if listener.protocol == Protocol::Http { "http-request" } else { "tcp-request content" },
        steps,
        open: open.collect(),
        only,
    }
}

fn add_undecided(conditions: &mut Vec<String>) {
    if !conditions.iter().any(|condition| condition == UNDECIDED) {
        conditions.push(UNDECIDED.to_owned());
    }
}

/// ` if a b`, or nothing without conditions.
fn suffix(conditions: &[String]) -> String {
    if conditions.is_empty() { String::new() } else { format!(" if {}", conditions.join(" ")) }
}

/// Lines that define a rule's conditions, and their names.
fn named(rule: usize, conditions: &Conditions) -> (Vec<String>, Vec<String>) {
    let Conditions { host, path, header, method, query, source } = conditions;
    let mut lines = Vec::new();
    let mut names = Vec::new();
    let mut add = |name: String, of: &dyn Fn(&str) -> Vec<String>| {
        let defined = of(&name);
        if !defined.is_empty() {
            lines.extend(defined);
            names.push(name);
        }
    };
    // The variable has lower case. Its text patterns have, too, as HAProxy indexes only those without -i.
    let (regex, text): (Vec<String>, Vec<String>) = host.iter().cloned().partition(|host| host.starts_with('~'));
    let text: Vec<String> = text.iter().map(|host| host.to_ascii_lowercase()).collect();
    add(format!("r{rule}_host"), &|name| {
        [pattern::acl(name, "var(txn.host)", "", &text), pattern::acl(name, "var(txn.host)", "-i ", &regex)].concat()
    });
    add(format!("r{rule}_path"), &|name| pattern::acl(name, "var(txn.path)", "", path));
    for (i, (header, values)) in header.iter().enumerate() {
        // Not hdr, which splits a value at its commas.
        let fetch = format!("req.fhdr({})", Quoted::name(header));
        add(format!("r{rule}_header{}", i + 1), &|name| pattern::acl(name, &fetch, "-i ", values));
    }
    let methods: Vec<&str> = method.iter().map(String::as_str).collect();
    add(format!("r{rule}_method"), &|name| quote::acl(name, "method -m str", &methods));
    for (i, (parameter, values)) in query.iter().enumerate() {
        let fetch = format!("url_param({})", Quoted::name(parameter));
        add(format!("r{rule}_query{}", i + 1), &|name| pattern::acl(name, &fetch, "-i ", values));
    }
    let networks: Vec<String> = source.iter().map(ToString::to_string).collect();
    let networks: Vec<&str> = networks.iter().map(String::as_str).collect();
    add(format!("r{rule}_source"), &|name| quote::acl(name, "src", &networks));
    (lines, names)
}

fn rewriting(number: usize, rewrite: &Rewrite) -> Rewriting {
    Rewriting {
        number,
        host: rewrite.host.as_deref().map(Quoted::format),
        path: rewrite.path.as_ref().map(|(regex, to)| (Quoted::text(regex), Quoted::format(to))),
        query: rewrite.query.as_deref().map(Quoted::format),
    }
}

fn line<'a>(action: Action<'a>, conditions: &[String]) -> Line<'a> {
    match action {
        Action::Forward(groups) => Line::Forward(choices(groups, conditions)),
        Action::Redirect(redirect) => {
            Line::Redirect { status: redirect.status, locations: locations(redirect, conditions) }
        }
        Action::Respond(Respond { status, content_type, body }) => {
            let content_type = content_type.as_deref().unwrap_or("text/plain");
            let body = body.as_deref().filter(|body| !body.is_empty());
            Line::Respond {
                status: *status,
                content: body.map(|body| (Quoted::text(content_type), Quoted::text(body))),
            }
        }
    }
}

/// The same groups, in whichever rule, have the same cookie.
fn group_cookie<'a>(
    number: usize,
    lasts: Millis,
    action: &Action<'a>,
    conditions: &[String],
) -> Option<GroupCookie<'a>> {
    let Action::Forward(groups) = action else { return None };
    let names: Vec<&str> = groups.iter().map(|(name, _)| *name).collect();
    let name = format!("elbow-{}", names.join("-"));
    let choice = |(group, _): &(&'a str, u16)| {
        let conditions = [conditions, &[format!("{{ req.cook({name}) -m str {group} }}")]].concat();
        (*group, suffix(&conditions))
    };
    let choices = groups.iter().filter(|(_, weight)| *weight > 0).map(choice).collect();
    Some(GroupCookie { lasts: lasts.0 / 1000, number, choices, name })
}

/// A group gets a request if the dice is below the group's limit and no earlier group got it. The last group has no limit.
fn choices<'a>(groups: Vec<(&'a str, u16)>, conditions: &[String]) -> Vec<(&'a str, String)> {
    let sum: u64 = groups.iter().map(|(_, weight)| u64::from(*weight)).sum();
    let weighted: Vec<(&str, u64)> =
        groups.into_iter().filter(|(_, weight)| *weight > 0).map(|(name, weight)| (name, weight.into())).collect();
    let mut below = 0;
    let mut choices = Vec::new();
    for (i, (name, weight)) in weighted.iter().enumerate() {
        below += weight;
        let mut conditions = conditions.to_vec();
        if i > 0 {
            add_undecided(&mut conditions);
        }
        if i + 1 < weighted.len() {
            conditions.push(format!("{{ var(txn.dice) -m int lt {} }}", below * DICE / sum));
        }
        choices.push((*name, suffix(&conditions)));
    }
    choices
}

/// A redirect's location. A path of the operator's own keeps the query: that takes two lines, as HAProxy can't write
/// the `?` only if there is a query.
fn locations(redirect: &Redirect, conditions: &[String]) -> Vec<(Quoted, String)> {
    let Redirect { scheme, host, port, path, query, .. } = redirect;
    let port_text = port.map(|port| format!(":{port}"));
    let mut parts = match scheme.as_deref() {
        Some("https") => vec![Part::Text("https://")],
        _ => vec![Part::Text("http://")],
    };
    let leaves_port = scheme.is_some() || port.is_some();
    match host.as_deref() {
        Some(host) => parts.extend(substituted(host)),
        // The header has the port that the client connected to.
        None if !leaves_port => parts.push(Part::Expression("%[req.hdr(host)]")),
        None => parts.push(Part::Expression("%[req.hdr(host),host_only]")),
    }
    parts.extend(port_text.as_deref().map(Part::Text));
    let when = suffix(conditions);
    match (path.as_deref(), query.as_deref()) {
        (None, None) => {
            parts.push(Part::Expression("%[pathq]"));
            return vec![(Quoted::formats(&parts), when)];
        }
        (None, _) => parts.push(Part::Expression("%[path]")),
        (Some(path), _) => parts.extend(substituted(path)),
    }
    let with_query = |query: &str| {
        let parts = [parts.clone(), vec![Part::Text("?")], substituted(query)].concat();
        Quoted::formats(&parts)
    };
    match query.as_deref() {
        Some("") => vec![(Quoted::formats(&parts), when)],
        Some(query) => vec![(with_query(query), when)],
        None => {
            let has_query = [conditions, &["{ query -m found }".to_owned()]].concat();
            vec![(with_query("#{query}"), suffix(&has_query)), (Quoted::formats(&parts), when)]
        }
    }
}

/// Text with `#{…}` as HAProxy's expressions.
fn substituted(text: &str) -> Vec<Part<'_>> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("#{") {
        let Some((name, after)) = after.split_once('}') else { break };
        parts.push(Part::Text(before));
        parts.push(match name {
            "protocol" => Part::Text("http"),
            "host" => Part::Expression("%[req.hdr(host),host_only]"),
            "port" => Part::Expression("%[dst_port]"),
            // Without the first slash, as with ALB.
            "path" => Part::Expression("%[path,bytes(1)]"),
            _ => Part::Expression("%[query]"),
        });
        rest = after;
    }
    parts.push(Part::Text(rest));
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn location(redirect: &str) -> Vec<String> {
        let redirect: Redirect = toml::from_str(&format!("status = 301\n{redirect}")).unwrap();
        let lines = locations(&redirect, &["r1_path".to_owned()]);
        lines.into_iter().map(|(location, when)| format!("{location}{when}")).collect()
    }

    #[test]
    fn a_redirect_keeps_what_it_does_not_name() {
        let none = " if r1_path";
        for (redirect, said) in [
            ("scheme = 'https'", format!("'https://%[req.hdr(host),host_only]%[pathq]'{none}")),
            ("scheme = 'https'\nport = 8443", format!("'https://%[req.hdr(host),host_only]:8443%[pathq]'{none}")),
            ("host = 'www.#{host}'", format!("'http://www.%[req.hdr(host),host_only]%[pathq]'{none}")),
            ("query = ''", format!("'http://%[req.hdr(host)]%[path]'{none}")),
            (
                "path = '/#{path}/100%'\nquery = 'a=#{port}'",
                format!("'http://%[req.hdr(host)]/%[path,bytes(1)]/100%%?a=%[dst_port]'{none}"),
            ),
        ] {
            assert_eq!(location(redirect), [said]);
        }
        assert_eq!(
            location("path = '/new'"),
            [
                "'http://%[req.hdr(host)]/new?%[query]' if r1_path { query -m found }",
                "'http://%[req.hdr(host)]/new' if r1_path"
            ]
        );
    }

    #[test]
    fn weights_are_parts_of_a_million_and_a_weight_of_0_gets_nothing() {
        let said = choices(vec![("blue", 80), ("green", 20), ("red", 0)], &["r1_host".to_owned()]);
        assert_eq!(
            said,
            [
                ("blue", " if r1_host { var(txn.dice) -m int lt 800000 }".to_owned()),
                ("green", " if r1_host !decided".to_owned())
            ]
        );
    }
}
