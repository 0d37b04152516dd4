//! Checks of actions: exactly one, with groups that exist, and a redirect or response that HAProxy can make.

use std::collections::BTreeMap;

use super::{Checked, Problem, text, within};
use crate::balancer::location::at;
use crate::balancer::{Action, Forward, Millis, PortRange, Protocol, Redirect, Respond, hint};

/// The codes of a redirect (RFC 9110 section 15.4).
const REDIRECTS: [u16; 5] = [301, 302, 303, 307, 308];
/// What a redirect's text may contain in `#{…}`.
pub const VARIABLES: [&str; 5] = ["protocol", "host", "port", "path", "query"];

/// The groups that exist, by name.
pub type Groups<'a> = BTreeMap<&'a str, Group>;

/// What a listener can forward to.
pub enum Group {
    /// A target group.
    Elbows(Protocol),
    /// A backend of the operator's own file, with its mode. None: another mode, which HAProxy checks.
    Own(Option<Protocol>),
}

/// Problems of the actions of one table. `present` are the keys that it has.
pub fn one(present: &[&'static str], allowed: &str) -> Option<Problem> {
    match present {
        [] => Some(Problem::new(vec![], format!("no action; write one of {allowed}"))),
        [_] => None,
        [first, second, ..] => {
            let message = format!("write one action, not both {first} and {second}");
            Some(Problem::new(at![*second], message))
        }
    }
}

/// A client stays with a group only where several are chosen from.
pub fn sticky(time: Option<&Millis>, forward: Option<&Forward>) -> Checked {
    if time.is_some() && forward.is_none_or(|forward| forward.groups().len() < 2) {
        let message =
            "chooses among groups; write forward = { blue = 80, green = 20 }, or sticky in the [[target_group]]";
        return Err(Problem::new(at!["forward_sticky"], message));
    }
    // ALB's limit.
    within(at!["forward_sticky"], time, (Millis(1000), Millis(7 * 24 * 3_600_000)), "1s to 168h")
}

/// Problems of what an action says.
pub fn content(
    action: &Action<'_>,
    forward: Option<&Forward>,
    protocol: Protocol,
    groups: &Groups<'_>,
) -> Vec<Problem> {
    match action {
        Action::Forward(_) => forward.map_or_else(Vec::new, |forward| forwards(forward, protocol, groups)),
        Action::Redirect(redirect) => redirects(redirect).into_iter().map(|p| p.below(at!["redirect"])).collect(),
        Action::Respond(respond) => responds(respond).into_iter().map(|p| p.below(at!["respond"])).collect(),
    }
}

fn forwards(forward: &Forward, protocol: Protocol, groups: &Groups<'_>) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (name, weight) in forward.groups() {
        let at = match forward {
            Forward::One(_) => at!["forward"],
            Forward::Weighted(_) => at!["forward", name],
        };
        let message = match groups.get(name) {
            None => match hint::nearest(name, groups.keys().copied()) {
                Some(meant) => format!("no target group has the name {name:?}; did you mean {meant:?}?"),
                None => format!("no target group has the name {name:?}; write [[target_group]] with this name"),
            },
            Some(Group::Elbows(its)) if *its != protocol => {
                format!("{name:?} has protocol {:?}, and the listener {:?}", its.to_string(), protocol.to_string())
            }
            Some(Group::Own(Some(its))) if *its != protocol => {
                format!(
                    "the backend {name:?} has mode {its}, and the listener protocol {protocol}; write mode {protocol} in it"
                )
            }
            Some(_) if weight > 999 => format!("the weight {weight} is out of range; write 0 to 999"),
            Some(_) => continue,
        };
        problems.push(Problem::new(at, message));
    }
    let sum: u32 = forward.groups().iter().map(|(_, weight)| u32::from(*weight)).sum();
    if sum == 0 {
        problems.push(Problem::new(at!["forward"], "the weights sum to 0; give one group a weight"));
    }
    problems
}

fn redirects(redirect: &Redirect) -> Vec<Problem> {
    let Redirect { scheme, host, port, path, query, status } = redirect;
    let mut problems = Vec::new();
    if !REDIRECTS.contains(status) {
        let message = format!("{status} is not a redirect; write 301, 302, 303, 307 or 308");
        problems.push(Problem::new(at!["status"], message));
    }
    if let Some(scheme) = scheme.as_deref().filter(|scheme| !["http", "https", "#{protocol}"].contains(scheme)) {
        problems.push(Problem::new(at!["scheme"], format!("{scheme:?} is not a scheme; write \"http\" or \"https\"")));
    }
    if host.as_deref() == Some("") {
        problems.push(Problem::new(at!["host"], "is empty; remove the key to keep the host"));
    }
    problems.extend(within(at!["port"], port.as_ref(), (1, u16::MAX), "1 to 65535").err());
    for (key, value) in [("host", host), ("path", path), ("query", query)] {
        let Some(value) = value else { continue };
        if let Err(message) = text::url_part(value).and_then(|()| variables(value)) {
            problems.push(Problem::new(at![key], message));
        }
    }
    if path.as_deref().is_some_and(|path| !path.starts_with('/')) {
        problems.push(Problem::new(at!["path"], "doesn't start with /, as \"/#{path}\" does"));
    }
    problems
}

/// Refuses a redirect to the request's own address, which the client would follow without end. `ports` are the
/// listener's. As ALB does, it compares what is written; a fixed host or path may lead back, too.
pub fn endless(action: &Action<'_>, ports: PortRange) -> Option<Problem> {
    let Action::Redirect(Redirect { scheme, host, port, path, query, .. }) = action else { return None };
    let is_one_of = |part: &Option<String>, own: &[&str]| part.as_deref().is_none_or(|part| own.contains(&part));
    // A scheme or a host without a port leads to the scheme's port.
    let leads_to = port.or((scheme.is_some() || host.is_some()).then_some(80));
    let keeps_port = port.is_none() && host.as_deref() == Some("#{host}:#{port}");
    let is_own = is_one_of(scheme, &["http", "#{protocol}"])
        && is_one_of(host, &["#{host}", "#{host}:#{port}"])
        && (keeps_port || leads_to.is_none_or(|port| ports.overlaps(port.into())))
        && is_one_of(path, &["/#{path}"])
        && is_one_of(query, &["#{query}"]);
    let message = "leads to where the client is; write scheme, host, port, path or query";
    is_own.then(|| Problem::new(at!["redirect"], message))
}

fn variables(text: &str) -> Result<(), String> {
    for part in text.split("#{").skip(1) {
        let name = part.split_once('}').map(|(name, _)| name);
        if !name.is_some_and(|name| VARIABLES.contains(&name)) {
            return Err(format!("{text:?} has an unknown #{{…}}; known: #{{{}}}", VARIABLES.join("}, #{")));
        }
    }
    Ok(())
}

fn responds(respond: &Respond) -> Vec<Problem> {
    let Respond { status, content_type, body } = respond;
    let checks = [
        within(at!["status"], Some(status), (200, 599), "200 to 599"),
        content_type.as_deref().map_or(Ok(()), text::media_type).map_err(|m| Problem::new(at!["content_type"], m)),
        body.as_deref().map_or(Ok(()), text::printable).map_err(|m| Problem::new(at!["body"], m)),
    ];
    checks.into_iter().filter_map(Result::err).collect()
}
