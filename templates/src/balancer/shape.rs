//! Words for the errors of the TOML library: the key at fault, and what to write instead.

use std::ops::Range;

use toml::de::DeTable;

use super::findings::{Finding, Severity};
use super::location::{self, Path, Segment};
use super::{expected, hint, instead, secrets};

/// An error, and the path of the value at fault. The path of a missing key ends in the key.
pub struct Shape {
    pub finding: Finding,
    pub path: Path,
    /// The key that an unknown one was probably meant for.
    pub meant: Option<Path>,
}

/// TOML that isn't a balancer: an unknown or missing key, or a value of the wrong type.
pub fn shape(text: &str, root: &DeTable<'_>, error: &toml::de::Error) -> Shape {
    let message = one_line(error.message());
    let quoted: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
    // An empty span is the whole document's.
    let span = error.span().filter(|span| !span.is_empty());
    let path = span.as_ref().map_or_else(Path::new, |span| location::around(root, span));
    let shown = span.clone().filter(|span| span.end <= text.len());
    if message.starts_with("missing field") {
        let span = shown.filter(|_| !path.is_empty());
        let path = [path, vec![quoted[0].into()]].concat();
        return Shape {
            finding: wrong(text, span, location::dotted(&path), "is missing".to_owned()),
            path,
            meant: None,
        };
    }
    let key = location::dotted(&path);
    if message.starts_with("unknown field") {
        // The key may be a webhook's address.
        let is_shown = path.iter().skip(1).all(|step| !matches!(step, Segment::Key(key) if !secrets::is_key(key)));
        // Only the launcher writes `agents`.
        let known: Vec<&str> = quoted[1..].iter().copied().filter(|known| *known != "agents").collect();
        let nearest = hint::nearest(quoted[0], known.iter().copied());
        let table = Some(&key).filter(|_| path.len() == 1).and_then(|key| instead::table_of(key));
        let said = match (instead::of_key(&key), table) {
            (Some(said), _) => said.to_owned(),
            (None, Some(table)) => format!("unknown key; write it below [{table}]"),
            (None, None) => unknown_key(nearest, &known),
        };
        let table = path[..path.len().saturating_sub(1)].to_vec();
        let meant = nearest.map(|key| [table, vec![key.into()]].concat());
        let key = match key.starts_with("notify") && !is_shown {
            true => "notify".to_owned(),
            false => Some(key).filter(|key| !key.contains("://")).unwrap_or_default(),
        };
        return Shape { finding: wrong(text, shown, key, said), path, meant };
    }
    if key.starts_with("notify") {
        // The library repeats the value, and a webhook's address is a secret.
        let finding = wrong(text, shown, key, format!("wrong type; {}", secrets::WANTED));
        return Shape { finding, path, meant: None };
    }
    let value = span.and_then(|span| text.get(span)).filter(|value| value.len() <= 80 && !value.contains('\n'));
    let is_secret = path.contains(&Segment::from(secrets::WEBHOOK))
        || shown.as_ref().and_then(|span| text.get(span.clone())).is_some_and(secrets::names_webhook);
    let message = match (value.and_then(|value| instead::of_value(&key, value)), expected::of(&key)) {
        (Some(said), _) => said.to_owned(),
        (None, Some(wanted)) if is_of_another_kind(&message) => format!("wrong type; write {wanted}"),
        (None, Some(wanted)) if is_of_range(&message) => format!("not {}", wanted.trim_end_matches(", without quotes")),
        (None, None) if is_of_another_kind(&message) => kind(&message),
        _ => plain(&message, &quoted),
    };
    let message = match value {
        _ if is_secret && !message.starts_with("wrong type") => secrets::unquoted(&message),
        _ if is_secret => message,
        Some(value) if !message.starts_with(value) => format!("{value}: {message}"),
        // Without a key, the value may be a secret.
        None if key.is_empty() => secrets::unquoted(&message),
        _ => message,
    };
    Shape { finding: wrong(text, shown, key, secrets::addresses(&message)), path, meant: None }
}

fn wrong(text: &str, span: Option<Range<usize>>, key: String, message: String) -> Finding {
    let line = span.as_ref().map(|span| location::line(text, span.start));
    Finding { severity: Severity::Error, span, line, key, message }
}

/// Whether the message is about a value's type (text, a list, a table) rather than its content.
fn is_of_another_kind(message: &str) -> bool {
    message.starts_with("invalid type")
        || message.starts_with("wanted ")
        || message.starts_with("invalid length")
        || message.starts_with("data did not match any variant")
}

/// Whether the message is about a whole number that its type can't hold.
fn is_of_range(message: &str) -> bool {
    message.starts_with("invalid value: integer")
}

/// What to write for a value of a wrong type, in words of TOML, if the key has no example.
fn kind(message: &str) -> String {
    let wanted = match message.rsplit_once("expected ").map_or("", |(_, wanted)| wanted) {
        "u8" | "u16" | "u32" => "a whole number, without quotes",
        "a string" => "text in quotes",
        "a boolean" => "true or false",
        "a sequence" => "a list in brackets",
        "a map" => "a table in braces",
        _ => return "wrong type".to_owned(),
    };
    format!("wrong type; write {wanted}")
}

fn unknown_key(nearest: Option<&str>, known: &[&str]) -> String {
    match nearest {
        Some(meant) => format!("unknown key; did you mean {meant}?"),
        None => format!("unknown key; known here: {}", known.join(", ")),
    }
}

/// A library's message in words that say what to write.
fn plain(message: &str, quoted: &[&str]) -> String {
    let plain = match message {
        "invalid IPv4 address syntax" => "not an IPv4 address, such as \"10.255.0.10\"",
        "invalid IP address syntax" => "not a CIDR, such as \"10.0.0.0/16\"",
        _ if message.starts_with("unknown variant") => {
            return format!("unknown value; write {}", quoted[1..].join(" or "));
        }
        other => other,
    };
    plain.to_owned()
}

/// The message without line breaks.
pub fn one_line(message: &str) -> String {
    message.split('\n').map(str::trim).filter(|part| !part.is_empty()).collect::<Vec<_>>().join("; ")
}
