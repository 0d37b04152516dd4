//! CPU time and memory, as the kernel counts them.

use std::fs;

use anyhow::{Context, Result, bail};
use lab::rig::Rig;

/// `USER_HZ`, the unit of /proc/stat, is the same on all of Debian's architectures (time(7)).
const TICKS_A_SECOND: f64 = 100.0;

/// CPU seconds of an instance's service since it started.
pub fn cpu(rig: &Rig, id: &str, service: &str) -> Result<f64> {
    let path = format!("/sys/fs/cgroup/system.slice/{service}.service/cpu.stat");
    Ok(number(&rig.inside(id, &["cat", &path])?, "usage_usec")? as f64 / 1e6)
}

/// The number after `word` at the beginning of a line.
pub fn number(text: &str, word: &str) -> Result<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(word)).with_context(|| format!("there is no {word}"))?;
    line.split_whitespace().next().unwrap_or_default().parse().with_context(|| format!("reading {word}"))
}

/// CPU seconds of this machine since its boot, in programs and in the kernel.
pub fn machine_cpu() -> Result<f64> {
    let text = fs::read_to_string("/proc/stat").context("reading /proc/stat")?;
    let line = text.lines().next().unwrap_or_default();
    let ticks = line.split_whitespace().skip(1).map(str::parse).collect::<Result<Vec<u64>, _>>();
    let ticks = ticks.with_context(|| format!("reading {line:?} of /proc/stat"))?;
    // proc_stat(5); stolen time isn't this machine's.
    let [user, nice, system, _idle, _waiting, interrupts, soft_interrupts, ..] = ticks[..] else {
        bail!("/proc/stat begins with {line:?}");
    };
    Ok((user + nice + system + interrupts + soft_interrupts) as f64 / TICKS_A_SECOND)
}
