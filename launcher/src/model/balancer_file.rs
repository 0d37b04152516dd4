//! Reads an operator's balancer file.

use std::io::{self, ErrorKind, Read};
use std::path::Path;

use templates::balancer::{Examined, Severity, examine};
use templates::{Balancer, names};

use crate::model::local_agents;
use crate::output;
use crate::output::failure::Failure;
use crate::output::located::Located;

/// Reads and checks a balancer file, and adds the digests of the agents beside the launcher if the file has no `[agent]`. Its
/// warnings go to standard error.
pub fn read_balancer(path: &Path) -> Result<Balancer, Failure> {
    local_agents::resolve(read_with_warnings(path)?.0)
}

/// Like [`read_balancer`], without digests and with the warnings. `-` is standard input.
pub fn read_with_warnings(path: &Path) -> Result<(Balancer, Vec<Located>), Failure> {
    let text = text(path).map_err(|error| Failure::bad_input(unreadable(path, &error)))?;
    let beside = |name: &str| {
        let file = path.parent().unwrap_or(Path::new("")).join(name);
        std::fs::read_to_string(file).map_err(|error| error.to_string())
    };
    let Examined { balancer, findings } = examine(&text, &beside);
    let of = |severity: Severity| -> Vec<Located> {
        let findings = findings.iter().filter(|finding| finding.severity == severity);
        findings.map(|finding| Located::of(path, &text, finding)).collect()
    };
    let warnings = of(Severity::Warning);
    warnings.iter().for_each(output::warn_of);
    match balancer {
        Some(balancer) => Ok((balancer, warnings)),
        None => Err(Failure::BadFile(of(Severity::Error))),
    }
}

fn text(path: &Path) -> io::Result<String> {
    if path != Path::new("-") {
        return std::fs::read_to_string(path);
    }
    let mut text = String::new();
    io::stdin().lock().read_to_string(&mut text).map(|_| text)
}

fn unreadable(path: &Path, error: &io::Error) -> String {
    let file = path.display();
    match path.to_str() {
        Some(name) if error.kind() == ErrorKind::NotFound && names::check(name).is_ok() => {
            format!("{file}: can't be read: {error}; give a file, such as {file}.toml")
        }
        _ => format!("{file}: can't be read: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_instead_of_a_file_is_recognized() {
        let said = |path: &str, kind: ErrorKind| unreadable(Path::new(path), &kind.into());
        assert!(said("web", ErrorKind::NotFound).ends_with("; give a file, such as web.toml"));
        for (path, kind) in
            [("web.toml", ErrorKind::NotFound), ("a/web", ErrorKind::NotFound), ("web", ErrorKind::Other)]
        {
            assert!(!said(path, kind).contains("give a file"), "{path}");
        }
    }
}
