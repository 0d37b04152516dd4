//! Reads an operator's balancer file.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use templates::balancer::{Examined, Severity, examine};
use templates::{Balancer, names};

use crate::model::local_agents;
use crate::output;
use crate::output::failure::Failure;
use crate::output::located::Located;

/// The largest balancer file, and the largest file of the operator's own sections. EC2 takes 16 KB of user-data, gzipped,
/// so a file that works is far smaller.
const LARGEST: u64 = 1 << 20;

/// Reads and checks a balancer file, and adds the digests of the agents beside the launcher if the file has no `[agent]`. Its
/// warnings go to standard error.
pub fn read_balancer(path: &Path) -> Result<Balancer, Failure> {
    local_agents::resolve(read_with_warnings(path)?.0)
}

/// Like [`read_balancer`], without digests and with the warnings. `-` is standard input.
pub fn read_with_warnings(path: &Path) -> Result<(Balancer, Vec<Located>), Failure> {
    let text = text(path).map_err(|why| Failure::bad_input(format!("{}: can't be read: {why}", path.display())))?;
    let beside = |name: &str| of_file(&path.parent().unwrap_or(Path::new("")).join(name));
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

/// The text of a balancer file, or why it has none that Elbow can use.
fn text(path: &Path) -> Result<String, String> {
    match path == Path::new("-") {
        true => limited(io::stdin().lock()),
        false => of_file(path).map_err(|why| match path.exists() {
            true => why,
            false => format!("{why}{}", instead_of_name(path)),
        }),
    }
}

/// What to write instead of a balancer's name.
fn instead_of_name(path: &Path) -> String {
    let name = path.to_str().filter(|name| names::check(name).is_ok());
    name.map(|name| format!("; give a file, such as {name}.toml")).unwrap_or_default()
}

fn of_file(path: &Path) -> Result<String, String> {
    let opened = File::open(path).map_err(|error| error.to_string())?;
    match opened.metadata().map_err(|error| error.to_string())?.len() {
        size if size > LARGEST => Err(too_large(size)),
        _ => limited(opened),
    }
}

/// A pipe has no size before it is read.
fn limited(source: impl Read) -> Result<String, String> {
    let mut bytes = Vec::new();
    source.take(LARGEST + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    match bytes.len() as u64 {
        size if size > LARGEST => Err(too_large(size)),
        _ => String::from_utf8(bytes).map_err(|_| "it isn't a text file (UTF-8)".to_owned()),
    }
}

fn too_large(size: u64) -> String {
    format!("it has at least {size} bytes, and {LARGEST} (1 MB) are the most")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_instead_of_a_file_is_recognized() {
        assert_eq!(instead_of_name(Path::new("web")), "; give a file, such as web.toml");
        for path in ["web.toml", "a/web"] {
            assert_eq!(instead_of_name(Path::new(path)), "", "{path}");
        }
        assert!(text(Path::new("web")).unwrap_err().ends_with("; give a file, such as web.toml"));
        assert!(!text(Path::new("/")).unwrap_err().contains("give a file"), "it exists");
    }

    #[test]
    fn a_file_that_is_too_large_or_no_text_is_refused_before_it_is_parsed() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("web.toml");
        let longest = "#".repeat(1 << 20);
        std::fs::write(&file, &longest).unwrap();
        assert_eq!(text(&file), Ok(longest));
        // A sparse file: to read it would take minutes.
        File::create(&file).unwrap().set_len(3 << 30).unwrap();
        let size = "it has at least 3221225472 bytes, and 1048576 (1 MB) are the most";
        assert_eq!(text(&file), Err(size.to_owned()));
        let size = "it has at least 1048577 bytes, and 1048576 (1 MB) are the most";
        assert_eq!(text(Path::new("/dev/zero")), Err(size.to_owned()), "no size in its metadata");
        std::fs::write(&file, b"name = \"\xff\"").unwrap();
        assert_eq!(text(&file), Err("it isn't a text file (UTF-8)".to_owned()));
    }
}
