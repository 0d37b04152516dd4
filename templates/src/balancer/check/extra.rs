//! Checks of `[haproxy]`, and of an operator's own sections of haproxy.cfg. A section starts at a line with its keyword
//! as the first word, so a parser of first words is enough; HAProxy itself checks the rest.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use super::listeners::TAKEN;
use super::{Problem, within};
use crate::balancer::haproxy::{SECTIONS, bind_port};
use crate::balancer::location::at;
use crate::balancer::{Balancer, Bytes, Extra};

/// HAProxy's other sections (configuration manual, chapters 3 and 4).
const OTHERS: [&str; 10] =
    ["global", "defaults", "peers", "program", "http-errors", "ring", "log-forward", "fcgi-app", "mailer", "traces"];

/// Reads the file that `[haproxy] extra` names into the balancer.
pub fn read(balancer: &mut Balancer, read: &dyn Fn(&str) -> Result<String, String>) -> Option<Problem> {
    let extra = balancer.haproxy.extra.as_mut()?;
    match read(&extra.file) {
        // Editors of Windows write a byte order mark and CRLF.
        Ok(text) => {
            extra.text = text.strip_prefix('\u{feff}').unwrap_or(&text).replace("\r\n", "\n");
            None
        }
        Err(why) => Some(Problem::new(at!["haproxy", "extra"], format!("{:?} can't be read: {why}", extra.file))),
    }
}

pub fn all(b: &Balancer) -> Vec<Problem> {
    let settings = &b.haproxy;
    let checks = [
        within(
            at!["haproxy", "max_request_headers"],
            settings.max_request_headers.as_ref(),
            (Bytes(15 * 1024), Bytes(64 * 1024)),
            "15KB to 64KB",
        ),
        within(at!["haproxy", "max_connections"], settings.max_connections.as_ref(), (100, 250_000), "100 to 250000"),
    ];
    let wrong = settings.extra.iter().flat_map(|extra| {
        let said = lines(b, extra).into_iter();
        said.map(|(line, said)| Problem::new(at!["haproxy", "extra"], format!("{}, line {line}: {said}", extra.file)))
    });
    checks.into_iter().filter_map(Result::err).chain(wrong).collect()
}

/// Problems with the number of their line.
fn lines(b: &Balancer, extra: &Extra) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut names = BTreeSet::new();
    let mut is_inside = false;
    // Not `lines`, which hides a carriage return.
    for (i, line) in extra.text.split('\n').enumerate() {
        if let Err(said) = one(b, line, &mut names, &mut is_inside) {
            found.push((i + 1, said));
        }
    }
    found
}

fn one(b: &Balancer, line: &str, names: &mut BTreeSet<String>, is_inside: &mut bool) -> Result<(), String> {
    if line.chars().any(|c| c.is_control() && c != '\t') {
        return Err("has a control character; write plain lines that end in a newline".to_owned());
    }
    let words: Vec<&str> = line.split_whitespace().collect();
    let Some(first) = words.first().filter(|word| !word.starts_with('#')) else { return Ok(()) };
    // A quote, an escape or a variable could hide a keyword, and a dot starts a directive to the parser.
    if !first.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-') {
        return Err(format!("{first:?} is not a keyword; write it in a-z, 0-9 and -, without quotes"));
    }
    if SECTIONS.contains(first) {
        *is_inside = true;
        return header(b, first, words.get(1).copied().unwrap_or_default(), names);
    }
    if OTHERS.contains(first) {
        return Err(format!("a section {first:?} isn't allowed here; write {}", SECTIONS.join(", ")));
    }
    if !*is_inside {
        return Err(format!("{first:?} is in no section; start with one of {}", SECTIONS.join(", ")));
    }
    match *first {
        "bind" => bind(b, &words[1..]),
        "stats" if words.get(1) == Some(&"admin") => {
            Err("stats admin lets readers change servers; remove it".to_owned())
        }
        _ if words.iter().any(|word| word.contains("lua.")) => Err("Lua isn't allowed here".to_owned()),
        _ => Ok(()),
    }
}

fn header(b: &Balancer, section: &str, name: &str, names: &mut BTreeSet<String>) -> Result<(), String> {
    if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.:".contains(&b)) {
        return Err(format!("{section} needs a name of a-z, A-Z, 0-9 and -_.:"));
    }
    let base = name.split("--").next().unwrap_or(name);
    let is_elbows = b.listeners.iter().any(|listener| listener.name == base)
        || b.target_groups.iter().any(|group| group.name == base)
        || name.starts_with("elbow");
    if is_elbows {
        return Err(format!("{name:?} is a name of Elbow's own sections; choose another"));
    }
    // A `listen` section is a frontend and a backend (configuration manual, chapter 4).
    let kinds: &[&str] = if section == "listen" { &["frontend", "backend"] } else { &[section] };
    for kind in kinds {
        if !names.insert(format!("{kind} {name}")) {
            return Err(format!("{section} {name:?}: another section has this name; choose another"));
        }
    }
    Ok(())
}

/// Addresses of a `bind` line: no virtual IP, no port of Elbow's, no socket in the file system.
fn bind(b: &Balancer, words: &[&str]) -> Result<(), String> {
    if words.iter().any(|word| word.contains(['"', '\'', '\\', '$'])) {
        return Err("a bind line with quotes, escapes or variables can't be checked; write it plainly".to_owned());
    }
    if words.iter().any(|word| ["level", "expose-fd", "severity-output"].contains(word)) {
        return Err("an admin socket isn't allowed here".to_owned());
    }
    for address in words.first().copied().unwrap_or_default().split(',') {
        let shape = || format!("{address:?} is not address:port or *:port");
        let (ip, port) = address.rsplit_once(':').ok_or_else(shape)?;
        let ports = bind_port(port).ok_or_else(shape)?;
        let ip: Option<Ipv4Addr> = match ip {
            "" | "*" | "0.0.0.0" => None,
            ip => Some(ip.parse().map_err(|_| shape())?),
        };
        if let Some(ip) = ip.filter(|ip| b.virtual_ips.contains(ip)) {
            return Err(format!(
                "bind {ip} would lose connections at a takeover; write a [[listener]] that forwards to a backend of this file"
            ));
        }
        if let Some(listener) = b.listeners.iter().find(|listener| listener.range().overlaps(ports)) {
            return Err(format!("{ports} is the port of the listener {:?}", listener.name));
        }
        if let Some((port, what)) = TAKEN.iter().find(|(port, _)| ports.overlaps((*port).into())) {
            return Err(format!("{port} is {what}; choose another port"));
        }
    }
    Ok(())
}
