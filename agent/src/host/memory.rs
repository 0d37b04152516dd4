//! This machine's memory.

use anyhow::Context;

/// All of it, in kB.
pub fn total_kb() -> anyhow::Result<u64> {
    let path = "/proc/meminfo";
    let text = std::fs::read_to_string(path).with_context(|| format!("reading {path}"))?;
    total(&text).with_context(|| format!("{path} has no MemTotal"))
}

/// proc(5).
fn total(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_memory_is_read_as_the_kernel_shows_it() {
        assert_eq!(total("MemTotal:        1986044 kB\nMemFree:          123 kB\n"), Some(1_986_044));
        assert_eq!(total(""), None);
    }
}
