//! Refuses an HAProxy that is too old, by its version. `haproxy -c` would only complain about a line of haproxy.cfg.

use anyhow::ensure;

use crate::host::process;

/// The first two numbers of Debian 12's version.
const OLDEST: (u32, u32) = (2, 6);

/// Fails if this node's HAProxy is too old. A version that can't be read passes: `haproxy -c` checks the configuration
/// in any case.
pub async fn check_version() -> anyhow::Result<()> {
    judge(&process::run("haproxy", &["-v"]).await.unwrap_or_default())
}

/// `said` is the output of `haproxy -v`.
fn judge(said: &str) -> anyhow::Result<()> {
    let Some((version, numbers)) = version(said) else { return Ok(()) };
    ensure!(numbers >= OLDEST, "HAProxy {version} is too old; Elbow needs {}.{} or later", OLDEST.0, OLDEST.1);
    Ok(())
}

/// The version without the distribution's part, and its first two numbers.
fn version(said: &str) -> Option<(&str, (u32, u32))> {
    let (_, rest) = said.split_once("version ")?;
    let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
    let version = &rest[..end];
    let mut numbers = version.split('.').map(str::parse::<u32>);
    Some((version, (numbers.next()?.ok()?, numbers.next()?.ok()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The error for the first line of `haproxy -v`.
    fn refused(line: &str) -> Option<String> {
        let said = format!("{line}\nStatus: long-term supported branch\nRunning on: Linux 5.15.0 #1 SMP version 7\n");
        judge(&said).err().map(|error| error.to_string())
    }

    #[test]
    fn an_old_haproxy_is_refused_by_name() {
        for (line, version) in [
            ("HAProxy version 2.4.22-0ubuntu0.22.04.3 2023/12/04 - https://haproxy.org/", "2.4.22"),
            ("HAProxy version 2.5.0 2021/11/23 - https://haproxy.org/", "2.5.0"),
            ("HA-Proxy version 1.8.8-1ubuntu0.13 2022/02/08", "1.8.8"),
        ] {
            assert_eq!(refused(line).unwrap(), format!("HAProxy {version} is too old; Elbow needs 2.6 or later"));
        }
    }

    #[test]
    fn a_newer_haproxy_and_one_of_an_unknown_version_pass() {
        for line in [
            "HAProxy version 2.6.12-1+deb12u1 2023/12/16 - https://haproxy.org/",
            "HAProxy version 2.10.1 2026/01/01",
            "HAProxy version 3.3-dev1-a1b2c3d 2025/06/11 - https://haproxy.org/",
            "HAProxy version of my own",
            "HAProxy version 2",
            "haproxy",
        ] {
            assert_eq!(refused(line), None, "{line}");
        }
        judge("").unwrap();
    }
}
