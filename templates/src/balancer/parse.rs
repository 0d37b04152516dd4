//! Parses and checks a `balancer.toml` offline. An error is one line with the first problem and its key.

use std::fmt;

use toml::de::DeTable;

use super::location::{self, Path, Segment};
use super::{Balancer, check, expected, hint, secrets};

/// What is wrong with a `balancer.toml`, in one line: `line 4: virtual_ips: 10.255.0.10 is listed twice`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Invalid {
    /// Counted from 1; none if the text has no such line.
    pub line: Option<usize>,
    /// The key, with dots between tables; empty if no key is at fault.
    pub key: String,
    /// What is wrong, and what to write instead.
    pub message: String,
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line {
            write!(f, "line {line}: ")?;
        }
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.message)
    }
}

impl Balancer {
    /// Reads a `balancer.toml`.
    ///
    /// # Errors
    /// If it isn't TOML, has an unknown key or lacks one, or has an invalid value. What only AWS knows isn't checked.
    pub fn parse(toml_text: &str) -> Result<Balancer, Invalid> {
        let document = DeTable::parse(toml_text).map_err(|e| syntax(toml_text, &e))?;
        let root = document.get_ref();
        let mut balancer: Balancer = toml::from_str(toml_text).map_err(|e| shape(toml_text, root, &e))?;
        balancer.agent.sha256.make_ascii_lowercase();
        match check::first_problem(&balancer) {
            None => Ok(balancer),
            Some(problem) => Err(Invalid {
                line: location::find(root, &problem.path).map(|byte| location::line(toml_text, byte)),
                key: location::dotted(&problem.path),
                message: secrets::addresses(&problem.message),
            }),
        }
    }
}

impl Balancer {
    /// The checks of [`Balancer::parse`], for a balancer from another source.
    ///
    /// # Errors
    /// The first problem, with its key.
    pub fn check(&self) -> Result<(), Invalid> {
        match check::first_problem(self) {
            None => Ok(()),
            Some(problem) => Err(Invalid {
                line: None,
                key: location::dotted(&problem.path),
                message: secrets::addresses(&problem.message),
            }),
        }
    }
}

/// Text that isn't TOML.
fn syntax(text: &str, error: &toml::de::Error) -> Invalid {
    let line = error.span().map(|span| location::line(text, span.start));
    let repeated = error.span().and_then(|span| text.get(span));
    if line.is_some_and(|line| secrets::is_of_notify(text, line)) && !repeated.is_some_and(secrets::is_key) {
        return Invalid { line, key: "notify".to_owned(), message: secrets::UNREADABLE.to_owned() };
    }
    match repeated {
        Some(key) if error.message() == "duplicate key" => {
            Invalid { line, key: key.to_owned(), message: "is defined twice; remove one of them".to_owned() }
        }
        _ => {
            let key = line.map(|line| key_at(text, line)).unwrap_or_default();
            let message = match expected::of(&key) {
                Some(wanted) => format!("not valid TOML; write {wanted}"),
                None => one_line(error.message()),
            };
            Invalid { line, key, message }
        }
    }
}

/// The key that this line sets, guessed, as the text is no TOML.
fn key_at(text: &str, line: usize) -> String {
    let before: Vec<&str> = text.lines().take(line).map(str::trim).collect();
    let Some((key, _)) = before.last().and_then(|line| line.split_once('=')) else { return String::new() };
    let table = before.iter().rev().find(|line| line.starts_with('['));
    let table = table.map(|line| line.trim_matches(['[', ']']).trim()).filter(|table| !table.is_empty());
    let key = key.trim();
    table.map_or_else(|| key.to_owned(), |table| format!("{table}.{key}"))
}

/// TOML that isn't a balancer: an unknown or missing key, or a value of the wrong type.
fn shape(text: &str, root: &DeTable<'_>, error: &toml::de::Error) -> Invalid {
    let message = one_line(error.message());
    let quoted: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
    // An empty span is the whole document's.
    let span = error.span().filter(|span| !span.is_empty());
    let path = span.as_ref().map_or_else(Path::new, |span| location::around(root, span));
    let line = span.as_ref().map(|span| location::line(text, span.start));
    if message.starts_with("missing field") {
        let line = line.filter(|_| !path.is_empty());
        let key = location::dotted(&[path, vec![quoted[0].into()]].concat());
        return Invalid { line, key, message: "is missing".to_owned() };
    }
    let key = location::dotted(&path);
    if message.starts_with("unknown field") {
        // The key may be a webhook's address.
        let is_shown = path.iter().skip(1).all(|step| !matches!(step, Segment::Key(key) if !secrets::is_key(key)));
        let key = match key.starts_with("notify") && !is_shown {
            true => "notify".to_owned(),
            false => Some(key).filter(|key| !key.contains("://")).unwrap_or_default(),
        };
        return Invalid { line, key, message: unknown_key(quoted[0], &quoted[1..]) };
    }
    if key.starts_with("notify") {
        // The library repeats the value, and a webhook's address is a secret.
        return Invalid { line, key, message: format!("wrong type; {}", secrets::WANTED) };
    }
    let value = span.and_then(|span| text.get(span)).filter(|value| value.len() <= 80 && !value.contains('\n'));
    let message = match expected::of(&key).filter(|_| is_of_another_kind(&message)) {
        Some(wanted) => format!("wrong type; write {wanted}"),
        None => plain(&message, &quoted),
    };
    let message = match value {
        Some(value) if !message.starts_with(value) => format!("{value}: {message}"),
        // Without a key, the value may be a secret.
        None if key.is_empty() => secrets::unquoted(&message),
        _ => message,
    };
    Invalid { line, key, message: secrets::addresses(&message) }
}

/// Whether the message is about a value's type (text, a list, a table) rather than its content.
fn is_of_another_kind(message: &str) -> bool {
    message.starts_with("invalid type")
        || message.starts_with("wanted ")
        || message.starts_with("data did not match any variant")
}

fn unknown_key(key: &str, known: &[&str]) -> String {
    match hint::nearest(key, known.iter().copied()) {
        Some(meant) => format!("unknown key; did you mean {meant}?"),
        None => format!("unknown key; known here: {}", known.join(", ")),
    }
}

/// A library's message in words that say what to write.
fn plain(message: &str, quoted: &[&str]) -> String {
    let plain = match message {
        "invalid IPv4 address syntax" => "not an IPv4 address, such as \"10.255.0.10\"",
        "invalid IPv4 socket address syntax" => "not address:port, such as \"10.0.1.20:8080\"",
        "invalid IP address syntax" => "not a CIDR, such as \"10.0.0.0/16\"",
        _ if message.ends_with("expected u16") => "not a number from 1 to 65535",
        _ if message.starts_with("unknown variant") => {
            return format!("unknown value; write {}", quoted[1..].join(" or "));
        }
        other => other,
    };
    plain.to_owned()
}

fn one_line(message: &str) -> String {
    message.split('\n').map(str::trim).filter(|part| !part.is_empty()).collect::<Vec<_>>().join("; ")
}
