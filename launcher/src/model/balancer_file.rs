//! Reads an operator's balancer file.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use templates::Balancer;
use templates::balancer::{Examined, Severity, examine};

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

/// Like [`read_balancer`], without digests and with the warnings.
pub fn read_with_warnings(path: &Path) -> Result<(Balancer, Vec<Located>), Failure> {
    let text = read(path).map_err(|why| Failure::bad_input(format!("{}: can't be read: {why}", path.display())))?;
    let beside = |name: &str| read(&path.parent().unwrap_or(Path::new("")).join(name));
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

/// A file's text, or why it has none that Elbow can use.
fn read(path: &Path) -> Result<String, String> {
    let opened = File::open(path).map_err(|error| error.to_string())?;
    let size = opened.metadata().map_err(|error| error.to_string())?.len();
    let mut bytes = Vec::new();
    if size <= LARGEST {
        // A pipe has no size.
        opened.take(LARGEST + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    }
    let least = size.max(bytes.len() as u64);
    if least > LARGEST {
        return Err(format!("it has at least {least} bytes, and {LARGEST} (1 MB) are the most"));
    }
    String::from_utf8(bytes).map_err(|_| "it isn't a text file (UTF-8)".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_too_large_or_no_text_is_refused_before_it_is_parsed() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("web.toml");
        let text = "#".repeat(1 << 20);
        std::fs::write(&file, &text).unwrap();
        assert_eq!(read(&file), Ok(text));
        // A sparse file: to read it would take minutes.
        File::create(&file).unwrap().set_len(3 << 30).unwrap();
        let size = "it has at least 3221225472 bytes, and 1048576 (1 MB) are the most";
        assert_eq!(read(&file), Err(size.to_owned()));
        let size = "it has at least 1048577 bytes, and 1048576 (1 MB) are the most";
        assert_eq!(read(Path::new("/dev/zero")), Err(size.to_owned()), "no size in its metadata");
        std::fs::write(&file, b"name = \"\xff\"").unwrap();
        assert_eq!(read(&file), Err("it isn't a text file (UTF-8)".to_owned()));
    }
}
