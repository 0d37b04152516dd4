//! Configuration files of other programs: checked by the program itself, and put in place only if it agrees.

use std::path::Path;

use anyhow::Context;

use crate::files::Draft;
use crate::process;

/// Whether a file is another one than before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Installed {
    /// It was so already.
    Unchanged,
    /// It is new.
    Changed,
}

/// Makes the file at `path` read `text`, if `check` (a program and its arguments, to which the draft's path is added)
/// agrees; otherwise what was there stays.
pub(super) async fn install(path: &str, text: &str, check: &[&str]) -> anyhow::Result<Installed> {
    if std::fs::read_to_string(path).is_ok_and(|present| present == text) {
        return Ok(Installed::Unchanged);
    }
    let draft = Draft::new(Path::new(path), text)?;
    let beside = draft.beside().to_string_lossy().into_owned();
    let (program, arguments) = check.split_first().context("no program to check with")?;
    process::run(program, &[arguments, &[beside.as_str()]].concat())
        .await
        .with_context(|| format!("{path} stays as it is, the new one isn't valid"))?;
    draft.install()?;
    Ok(Installed::Changed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_file_that_its_program_refuses_is_not_installed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.cfg");
        let path = path.to_str().unwrap();
        let check = ["grep", "-q", "good"];
        assert_eq!(install(path, "good 1\n", &check).await.unwrap(), Installed::Changed);
        assert_eq!(install(path, "good 1\n", &check).await.unwrap(), Installed::Unchanged);
        let error = install(path, "bad\n", &check).await.unwrap_err();
        assert_eq!(error.to_string(), format!("{path} stays as it is, the new one isn't valid"));
        assert_eq!(std::fs::read_to_string(path).unwrap(), "good 1\n");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
