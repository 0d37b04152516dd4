//! The sources of Debian packages: this host's own, so that its mirrors and proxies are used.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

const RELEASE: &str = "bookworm";
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
const FORMAT: &str = "$(ORIGIN) $(CODENAME) $(REPO_URI) $(RELEASE) $(COMPONENT)";

/// A sources.list for the image's release: this host's own sources of it, or Debian's public ones.
pub fn of_this_host() -> Result<String> {
    let output = Command::new("apt-get")
        .args(["indextargets", "--format", FORMAT, "Created-By: Packages"])
        .output()
        .context("reading this host's package sources from apt-get")?;
    let signed_by = if Path::new(KEYRING).exists() { format!("[signed-by={KEYRING}] ") } else { String::new() };
    Ok(sources(&String::from_utf8_lossy(&output.stdout), &signed_by))
}

/// `targets` has a line for each package index, in `FORMAT`.
fn sources(targets: &str, signed_by: &str) -> String {
    let mut lines: Vec<String> = Vec::new();
    for target in targets.lines() {
        let fields: Vec<&str> = target.split_whitespace().collect();
        if let ["Debian", codename, uri, release, "main"] = fields[..]
            && (codename == RELEASE || codename.strip_prefix(RELEASE).is_some_and(|rest| rest.starts_with('-')))
        {
            let line = format!("deb {signed_by}{uri} {release} main\n");
            if !lines.contains(&line) {
                lines.push(line);
            }
        }
    }
    // Without the release itself, use Debian's public archive.
    if !lines.iter().any(|line| line.ends_with(&format!(" {RELEASE} main\n"))) {
        lines = vec![
            format!("deb {signed_by}http://deb.debian.org/debian {RELEASE} main\n"),
            format!("deb {signed_by}http://deb.debian.org/debian-security {RELEASE}-security main\n"),
        ];
    }
    lines.concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hosts_own_mirror_is_used_and_third_parties_are_not() {
        let targets = "Debian bookworm http://mirror.test/debian/ bookworm main\n\
                       Debian bookworm-security http://mirror.test/sec/ bookworm-security main\n\
                       Debian bookworm http://mirror.test/debian/ bookworm contrib\n\
                       Vendor stable https://vendor.test/apt stable main\n";
        assert_eq!(
            sources(targets, ""),
            "deb http://mirror.test/debian/ bookworm main\ndeb http://mirror.test/sec/ bookworm-security main\n"
        );
    }

    #[test]
    fn a_host_of_another_release_uses_debians_public_archive() {
        let targets = "Debian trixie http://mirror.test/debian/ trixie main\n";
        assert!(sources(targets, "").starts_with("deb http://deb.debian.org/debian bookworm main\n"));
        assert!(sources("", "[signed-by=/k] ").contains("deb [signed-by=/k] http://deb.debian.org/debian-security "));
    }
}
