//! Checks that this machine's kernel supports the second chance.

use anyhow::Context;

/// The first kernel with `socket wildcard` (nft(8)).
const NEEDED: (u32, u32) = (5, 14);

/// The kernel is too old; trying again is useless.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("kernel {release} is older than 5.14 and can't keep open connections at a handover: use a newer image")]
pub(super) struct Unsupported {
    release: String,
}

/// Checks the running kernel.
pub(super) fn check() -> anyhow::Result<()> {
    let path = "/proc/sys/kernel/osrelease";
    let release = std::fs::read_to_string(path).with_context(|| format!("reading {path}"))?;
    Ok(judge(release.trim())?)
}

/// How many handshakes this machine's memory has room for.
pub fn handshakes() -> u32 {
    let memory = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    templates::files::greeted(total(&memory).unwrap_or_default())
}

/// All of a machine's memory, in kB (proc(5)).
fn total(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse().ok()
}

/// Accepts an unreadable release.
fn judge(release: &str) -> Result<(), Unsupported> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|number| number.parse::<u32>().ok());
    match (numbers.next().flatten(), numbers.next().flatten()) {
        (Some(major), Some(minor)) if (major, minor) < NEEDED => Err(Unsupported { release: release.to_owned() }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_memory_is_read_as_the_kernel_shows_it() {
        assert_eq!(total("MemTotal:        1986044 kB\nMemFree:          123 kB\n"), Some(1_986_044));
        assert_eq!(total(""), None);
    }

    #[test]
    fn a_kernel_is_judged_by_its_number() {
        for new in ["5.14.0", "5.15.0-1019-aws", "6.1.79-99.164.amzn2023.x86_64", "6.18.44", "10.0", "unheard-of"] {
            assert_eq!(judge(new), Ok(()), "{new}");
        }
        for old in ["4.14.336-253.554.amzn2.x86_64", "5.10.0-28-cloud-amd64", "5.13.9"] {
            let said = judge(old).unwrap_err().to_string();
            assert!(said.starts_with(&format!("kernel {old} is older than 5.14")), "{said}");
        }
    }
}
