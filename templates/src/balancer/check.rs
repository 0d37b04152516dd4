//! The offline checks of a parsed balancer, in the order of the file. The launcher checks what only AWS knows.

mod account;
mod actions;
mod agent;
mod coverage;
mod empty;
mod extra;
mod groups;
mod health_check;
mod listeners;
mod monitoring;
pub(crate) mod naming;
mod network;
mod rules;
mod text;

use self::naming::{has_prefix, repeated};
use super::findings::Severity;
use super::location::{Path, Segment, at};
use super::{Balancer, Failover, Launch};
use crate::names;
use crate::values::{Image, Millis};

/// As long as HAProxy keeps an idle tunnel (`timeout tunnel`).
const LONGEST_DRAIN: Millis = Millis(3_600_000);

/// What is wrong with a value, and its path.
pub struct Problem {
    pub severity: Severity,
    pub path: Path,
    pub message: String,
}

impl Problem {
    fn new(path: Path, message: impl Into<String>) -> Problem {
        Problem { severity: Severity::Error, path, message: message.into() }
    }

    fn warning(path: Path, message: impl Into<String>) -> Problem {
        Problem { severity: Severity::Warning, path, message: message.into() }
    }

    /// The same, inside of what is at `path`.
    fn below(self, path: impl AsRef<[Segment]>) -> Problem {
        Problem { path: [path.as_ref(), &self.path].concat(), ..self }
    }
}

type Checked = Result<(), Problem>;

pub use agent::not_for_files;
pub use empty::all as empty_values;
pub use extra::read as read_extra;

/// All problems. Each check of a value yields at most one.
pub fn problems(b: &Balancer) -> Vec<Problem> {
    let values = [
        name(&b.name),
        network::vpc(&b.vpc),
        network::subnets(&b.subnets),
        network::virtual_ips(&b.virtual_ips),
        instance_type(&b.instance_type),
        image(&b.image),
        network::clients(&b.clients),
        network::route_tables(&b.route_tables),
        failover(&b.failover),
        replace_after(b),
        monitoring::notify(b.notify.as_ref()),
        monitoring::metrics(b.metrics.as_ref()),
        monitoring::logs(b.logs.as_ref(), &b.virtual_ips),
    ];
    let mut problems: Vec<Problem> = values.into_iter().filter_map(Result::err).collect();
    problems.extend(agent::all(b));
    problems.extend(account::all(b));
    problems.extend(listeners::all(b));
    problems.extend(groups::all(b));
    problems.extend(rules::all(b));
    problems.extend(extra::all(b));
    problems
}

/// Refuses a number or duration outside of these, which are written for the operator as `range`.
fn within<T: PartialOrd + std::fmt::Display>(path: Path, value: Option<&T>, ends: (T, T), range: &str) -> Checked {
    match value {
        Some(value) if *value < ends.0 || *value > ends.1 => {
            Err(Problem::new(path, format!("{value} is out of range; write {range}")))
        }
        _ => Ok(()),
    }
}

fn name(name: &str) -> Checked {
    names::check(name).map_err(|message| Problem::new(at!["name"], message))
}

fn instance_type(instance_type: &str) -> Checked {
    let word = |part: &str| {
        !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    };
    match instance_type.split_once('.') {
        Some((family, size)) if word(family) && word(size) => Ok(()),
        _ => Err(Problem::new(
            at!["instance_type"],
            format!("{instance_type:?} is not an instance type, such as \"t3.small\""),
        )),
    }
}

fn image(image: &Image) -> Checked {
    let wrong = |what| Err(Problem::new(at!["image"], format!("\"{image}\" {what}")));
    match image {
        Image::Id(id) if !has_prefix(id, "ami-") => wrong("is not an image id; write ami- and hex digits"),
        // A parameter's name: Systems Manager API reference, PutParameter.
        Image::Parameter(path) if !path.bytes().all(|b| b.is_ascii_alphanumeric() || b"/_.-:".contains(&b)) => {
            wrong("is not an SSM parameter; use a-z, A-Z, 0-9 and /_.-:")
        }
        _ => Ok(()),
    }
}

/// VRRPv3 counts in hundredths of a second, in 12 bits (RFC 5798 section 5.2.7).
fn failover(failover: &Failover) -> Checked {
    let interval = failover.advertisement_interval;
    if !(10..=40_950).contains(&interval.0) || !interval.0.is_multiple_of(10) {
        let message = format!("{interval} is out of range; write 10ms to 40950ms, in steps of 10ms");
        return Err(Problem::new(at!["failover", "advertisement_interval"], message));
    }
    let check = failover.route_check();
    if !(2_000..=300_000).contains(&check.0) {
        let message = format!("{check} is out of range; write 2s to 5m");
        return Err(Problem::new(at!["failover", "route_check"], message));
    }
    match failover.drain_timeout {
        Some(time) if time.0 > LONGEST_DRAIN.0 => Err(Problem::new(
            at!["failover", "drain_timeout"],
            format!("{time} is out of range; write at most 60m, or 0s for no wait"),
        )),
        _ => Ok(()),
    }
}

/// At least 20 s: an unreachable peer that still runs reports so within ten seconds, and the API shows it seconds
/// later.
fn replace_after(balancer: &Balancer) -> Checked {
    let Some(time) = balancer.failover.replace_after else { return Ok(()) };
    let message = if balancer.launch != Launch::AutoScaling {
        "only an Auto Scaling group replaces nodes; remove this key, or write launch = \"auto-scaling\"".to_owned()
    } else if !(20_000..=3_600_000).contains(&time.0) {
        format!("{time} is out of range; write 20s to 60m")
    } else {
        return Ok(());
    };
    Err(Problem::new(at!["failover", "replace_after"], message))
}

/// Refuses a list, at `path`, that contains an item twice.
fn once<T: PartialEq + std::fmt::Display>(path: &Path, items: &[T]) -> Checked {
    match repeated(items) {
        None => Ok(()),
        Some(index) => {
            Err(Problem::new([path.clone(), at![index]].concat(), format!("{} is listed twice", items[index])))
        }
    }
}
