//! Raises this machine's limit of inotify instances. systemd and its services use about ten per instance, all as one
//! user, and Linux's limit is 128 per user: the boot of a thirteenth instance would fail.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use tracing::warn;

const LIMIT: &str = "/proc/sys/fs/inotify/max_user_instances";
/// Enough for about eighty instances.
const WANTED: u32 = 1024;

/// The raised limit. Dropping this restores the previous limit, unless another program has changed it since. A killed
/// lab leaves it raised.
#[derive(Debug)]
pub struct Watches {
    limit: PathBuf,
    before: u32,
}

impl Watches {
    /// Raises this machine's limit if it is lower.
    pub fn raise() -> Result<Watches> {
        Watches::raise_at(Path::new(LIMIT))
    }

    fn raise_at(limit: &Path) -> Result<Watches> {
        let before = read(limit)?;
        if before < WANTED {
            write(limit, WANTED)?;
        }
        Ok(Watches { limit: limit.to_owned(), before })
    }

    fn lower(&self) -> Result<()> {
        if self.before < WANTED && read(&self.limit)? == WANTED { write(&self.limit, self.before) } else { Ok(()) }
    }
}

impl Drop for Watches {
    fn drop(&mut self) {
        if let Err(error) = self.lower() {
            warn!(error = format!("{error:#}"), "could not restore the limit of inotify instances");
        }
    }
}

fn read(limit: &Path) -> Result<u32> {
    let text = fs::read_to_string(limit).with_context(|| format!("reading {}", limit.display()))?;
    text.trim().parse().with_context(|| format!("reading {}: {text:?} isn't a number", limit.display()))
}

fn write(limit: &Path, number: u32) -> Result<()> {
    fs::write(limit, number.to_string()).with_context(|| format!("writing {number} to {}", limit.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_low_limit_is_raised_and_restored_unless_another_program_changes_it() {
        let folder = tempfile::tempdir().unwrap();
        let limit = folder.path().join("limit");
        for (before, meanwhile, after) in [("128\n", None, 128), ("4096\n", None, 4096), ("128\n", Some(2048), 2048)] {
            fs::write(&limit, before).unwrap();
            let raised = Watches::raise_at(&limit).unwrap();
            assert!(read(&limit).unwrap() >= WANTED);
            if let Some(other) = meanwhile {
                write(&limit, other).unwrap();
            }
            drop(raised);
            assert_eq!(read(&limit).unwrap(), after);
        }
    }
}
