//! Reads the facts about this machine. Nothing works without them, so the boot waits for them without a limit.

use std::fs;
use std::time::Duration;

use anyhow::Context;

use crate::aws::imds::{Facts, Imds, facts};
use crate::host::backoff::Backoff;

/// Asks IMDS until it answers.
pub(super) async fn until_known(imds: &Imds) -> Facts {
    let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(5));
    loop {
        match facts(imds).await {
            Ok(facts) => return facts,
            Err(error) => {
                let error = anyhow::Error::new(error);
                tracing::warn!("cannot read this instance's facts from IMDS, trying again: {error:#}");
                backoff.wait().await;
            }
        }
    }
}

/// The name of the interface with the hardware address `mac`: `ens5` on one image, `eth0` on another.
pub(super) fn link(mac: &str) -> anyhow::Result<String> {
    let folder = "/sys/class/net";
    for entry in fs::read_dir(folder).with_context(|| format!("reading {folder}"))? {
        let entry = entry.with_context(|| format!("reading {folder}"))?;
        let address = fs::read_to_string(entry.path().join("address")).unwrap_or_default();
        if address.trim().eq_ignore_ascii_case(mac) {
            return Ok(entry.file_name().to_string_lossy().into_owned());
        }
    }
    anyhow::bail!("no interface has the hardware address {mac} that IMDS names")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interface_is_found_by_its_hardware_address() {
        assert_eq!(link("00:00:00:00:00:00").unwrap(), "lo");
        let error = link("0a:00:00:00:00:99").unwrap_err();
        assert_eq!(error.to_string(), "no interface has the hardware address 0a:00:00:00:00:99 that IMDS names");
    }
}
