//! Configuration files of other programs: checked by the program itself, and put in place only if it agrees.

use std::path::Path;

use anyhow::Context;

use crate::host::files::{Draft, aside, discard_aside, draft_aside};
use crate::host::process;

/// Whether the file's reader has to read it again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Installed {
    /// It was so already.
    Unchanged,
    /// It is new, or was when a reload last failed.
    Changed,
}

/// Makes the file at `path` read `text`, if `check` (a program and its arguments, to which the draft's path is added)
/// agrees; otherwise what was there stays. The file at `due` stands for as long as its reader hasn't read it: the caller
/// removes it then, and a reload that failed, or that the agent didn't live to ask for, isn't forgotten.
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

/// Whether `check` agrees with `text` for the file at `path`; nothing is changed.
pub(super) async fn try_out(path: &str, text: &str, check: &[&str]) -> anyhow::Result<()> {
    discard_aside(checked(path, text, check).await?).await;
    Ok(())
}

/// A draft of the file at `path` that `check` agrees with.
async fn checked(path: &str, text: &str, check: &[&str]) -> anyhow::Result<Draft> {
    let draft = draft_aside(Path::new(path), text.to_owned()).await?;
    let beside = draft.beside().to_string_lossy().into_owned();
    let (program, arguments) = check.split_first().context("no program to check with")?;
    let outcome = process::run(program, &[arguments, &[beside.as_str()]].concat()).await;
    // What people know is the file's own name.
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
    async fn a_file_whose_reader_was_not_told_is_still_news() {
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
