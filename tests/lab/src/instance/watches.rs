//! The machine's limit on inotify instances. systemd and the programs that it starts take some ten in each instance, as
//! the same user on this machine, and Linux gives one user 128: the thirteenth instance would stop in its boot.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use tracing::warn;

const LIMIT: &str = "/proc/sys/fs/inotify/max_user_instances";
/// Enough for some eighty instances.
const WANTED: u32 = 1024;

/// The limit, raised if it was lower; as it was before when dropped, unless somebody has set another since. What a lab
/// that was killed has raised stays.
#[derive(Debug)]
pub struct Watches {
    limit: PathBuf,
    before: u32,
}

impl Watches {
    /// Raises this machine's.
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
            warn!("{error:#}");
        }
    }
}

fn read(limit: &Path) -> Result<u32> {
    let text = fs::read_to_string(limit).with_context(|| format!("reading {}", limit.display()))?;
    text.trim().parse().with_context(|| format!("reading {}: {text:?} is no number", limit.display()))
}

fn write(limit: &Path, number: u32) -> Result<()> {
    fs::write(limit, number.to_string()).with_context(|| format!("writing {number} to {}", limit.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_low_limit_is_raised_for_a_while_and_what_somebody_else_sets_is_left_alone() {
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
