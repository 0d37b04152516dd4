//! Checks of `health_check`, in a target group or in a shorthand listener.

use super::{Checked, Problem, text, within};
use crate::balancer::location::at;
use crate::balancer::{CheckProtocol, HealthCheck, Millis};

pub fn all(check: &HealthCheck) -> Vec<Problem> {
    let longest = Millis(300_000);
    let checks = [
        path(check.path.as_deref()),
        within(at!["port"], check.port.as_ref(), (1, u16::MAX), "1 to 65535"),
        by(at!["host"], check.host.as_deref(), text::host),
        by(at!["status"], check.status.as_deref(), codes),
        within(at!["interval"], check.interval.as_ref(), (Millis(100), longest), "100ms to 300s"),
        within(at!["timeout"], check.timeout.as_ref(), (Millis(10), longest), "10ms to 300s"),
        within(at!["healthy"], check.healthy.as_ref(), (1, 10), "1 to 10"),
        within(at!["unhealthy"], check.unhealthy.as_ref(), (1, 10), "1 to 10"),
        speaks(check),
    ];
    checks.into_iter().filter_map(Result::err).collect()
}

fn by(at: crate::balancer::location::Path, value: Option<&str>, check: fn(&str) -> Result<(), String>) -> Checked {
    value.map_or(Ok(()), check).map_err(|message| Problem::new(at, message))
}

fn path(path: Option<&str>) -> Checked {
    let Some(path) = path else { return Ok(()) };
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"/-._~!$&()*+,;=:@%?".contains(&b);
    if path.starts_with('/') && path.len() <= 200 && path.bytes().all(plain) {
        return Ok(());
    }
    let message = format!("{path:?} is not a path; write / and up to 199 of the characters of a URL's path and query");
    Err(Problem::new(at!["path"], message))
}

/// ALB's matcher: codes and ranges of codes.
fn codes(text: &str) -> Result<(), String> {
    let code = |text: &str| text.parse::<u16>().ok().filter(|code| text.len() == 3 && (100..=599).contains(code));
    let one = |part: &str| match part.split_once('-') {
        Some((first, last)) => code(first).zip(code(last)).is_some_and(|(first, last)| first < last),
        None => code(part).is_some(),
    };
    if text.split(',').all(one) {
        return Ok(());
    }
    Err(format!("{text:?} are not codes; write codes and ranges from 100 to 599, such as \"200-299,301\""))
}

fn speaks(check: &HealthCheck) -> Checked {
    let keys = [("path", check.path.is_some()), ("host", check.host.is_some()), ("status", check.status.is_some())];
    match (check.protocol, keys.iter().find(|(_, present)| *present)) {
        (Some(CheckProtocol::Tcp), Some((key, _))) => {
            Err(Problem::new(at![*key], "a TCP check has no requests; write protocol = \"http\", or remove this key"))
        }
        _ => Ok(()),
    }
}
