//! Refuses empty lists and tables that seem to narrow a balancer and don't. The types read them as absent keys, so only
//! the text's tree has them.

use toml::de::{DeTable, DeValue};

use super::Problem;
use crate::balancer::location::{Path, Segment, dotted};

const ANY_TEXT: &str = "the list is empty; write a value, such as [\"*\"] for any";
const NO_NAMES: &str = "the table is empty; write a name with its values, or remove the key";

/// Keys with dots, and what is wrong with an empty list or table there.
const REFUSED: [(&str, &str); 10] = [
    ("clients", "the list is empty; write at least one CIDR, or remove the key to admit the VPC's CIDRs"),
    (
        "listener.clients",
        "the list is empty; write at least one CIDR, or remove the key to admit the balancer's clients",
    ),
    (
        "listener.proxy_protocol_from",
        "the list is empty; write at least one CIDR, or remove the key if no proxy sends a PROXY protocol header",
    ),
    ("listener.rule.if", "has no condition; leave `if` out to match every request"),
    ("listener.rule.if.host", ANY_TEXT),
    ("listener.rule.if.path", ANY_TEXT),
    ("listener.rule.if.method", "the list is empty; write a method, such as [\"GET\"], or remove the key for any"),
    (
        "listener.rule.if.source",
        "the list is empty; write a CIDR, such as [\"10.9.0.0/16\"], or remove the key for any",
    ),
    ("listener.rule.if.header", NO_NAMES),
    ("listener.rule.if.query", NO_NAMES),
];

pub fn all(root: &DeTable<'_>) -> Vec<Problem> {
    let mut problems = Vec::new();
    table(root, &[], &mut problems);
    problems
}

fn table(table: &DeTable<'_>, path: &[Segment], problems: &mut Vec<Problem>) {
    for (key, inner) in table {
        value(inner.get_ref(), [path, &[Segment::from(&**key.get_ref())]].concat(), problems);
    }
}

fn value(value: &DeValue<'_>, path: Path, problems: &mut Vec<Problem>) {
    let is_empty = match value {
        DeValue::Table(inner) => {
            table(inner, &path, problems);
            inner.is_empty()
        }
        DeValue::Array(items) => {
            for (i, item) in items.iter().enumerate() {
                self::value(item.get_ref(), [&path[..], &[Segment::from(i)]].concat(), problems);
            }
            items.is_empty()
        }
        _ => false,
    };
    let key = dotted(&path);
    let refused = REFUSED.iter().find(|(refused, _)| is_empty && *refused == key);
    problems.extend(refused.map(|(_, message)| Problem::new(path, *message)));
}
