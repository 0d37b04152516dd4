//! Installs configuration files of other programs, if the program itself accepts them.

use std::path::Path;

use anyhow::Context;

use crate::host::files::{Draft, aside, discard_aside, draft_aside};
use crate::host::process;

/// Whether the program has to read its file again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Installed {
    /// The file was the same already.
    Unchanged,
    /// The file is new, or its last reload failed.
    Changed,
}

/// Writes `text` to the file at `path`, if `check` accepts it (a program and its arguments; the draft's path is added).
/// Otherwise the old file stays. The marker at `due` exists until the program has read the file, and the caller removes
/// it. So a reload that failed, or that an agent didn't live to request, is repeated.
pub(super) async fn install(path: &str, text: &str, check: &[&str], due: &Path) -> anyhow::Result<Installed> {
    let file = path.to_owned();
    let present = aside(move || Ok(std::fs::read_to_string(file).ok())).await?;
    if present.is_some_and(|present| present == text) {
        return Ok(if due.exists() { Installed::Changed } else { Installed::Unchanged });
    }
    let draft = checked(path, text, check).await?;
    std::fs::write(due, "").with_context(|| format!("writing {}", due.display()))?;
    aside(|| draft.install()).await?;
    Ok(Installed::Changed)
}

/// Checks `text` for the file at `path` with `check`; changes nothing.
pub(super) async fn try_out(path: &str, text: &str, check: &[&str]) -> anyhow::Result<()> {
    discard_aside(checked(path, text, check).await?).await;
    Ok(())
}

/// A draft of the file at `path` that `check` accepts.
async fn checked(path: &str, text: &str, check: &[&str]) -> anyhow::Result<Draft> {
    let draft = draft_aside(Path::new(path), text.to_owned()).await?;
    let beside = draft.beside().to_string_lossy().into_owned();
    let (program, arguments) = check.split_first().context("no program to check with")?;
    let outcome = process::run(program, &[arguments, &[beside.as_str()]].concat()).await;
    // The error names the file, not its draft.
    let outcome = outcome.map_err(|error| anyhow::anyhow!(format!("{error:#}").replace(&beside, path)));
    match outcome.with_context(|| format!("{path} stays as it is, the new one isn't valid")) {
        Ok(_) => Ok(draft),
        Err(error) => {
            discard_aside(draft).await;
            Err(error)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_file_that_its_program_refuses_is_not_installed() {
        let (folder, run) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (path, due) = (folder.path().join("x.cfg"), run.path().join("due"));
        let path = path.to_str().unwrap();
        let check = ["grep", "-q", "good"];
        assert_eq!(install(path, "good 1\n", &check, &due).await.unwrap(), Installed::Changed);
        std::fs::remove_file(&due).unwrap();
        assert_eq!(install(path, "good 1\n", &check, &due).await.unwrap(), Installed::Unchanged);
        let error = install(path, "bad\n", &check, &due).await.unwrap_err();
        assert!(!due.exists());
        assert_eq!(error.to_string(), format!("{path} stays as it is, the new one isn't valid"));
        assert_eq!(std::fs::read_to_string(path).unwrap(), "good 1\n");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[tokio::test]
    async fn a_file_that_was_not_reloaded_counts_as_changed() {
        let folder = tempfile::tempdir().unwrap();
        let (path, due) = (folder.path().join("x.cfg"), folder.path().join("due"));
        let path = path.to_str().unwrap();
        for _ in 0..2 {
            assert_eq!(install(path, "good\n", &["true"], &due).await.unwrap(), Installed::Changed);
        }
        std::fs::remove_file(&due).unwrap();
        assert_eq!(install(path, "good\n", &["true"], &due).await.unwrap(), Installed::Unchanged);
    }
}
