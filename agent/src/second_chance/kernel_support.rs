//! Checks that this machine's kernel supports the second chance.

use anyhow::Context;

use crate::host::memory;

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
    templates::files::greeted(memory::total_kb().unwrap_or_default())
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
