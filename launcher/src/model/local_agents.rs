//! The agents beside the launcher's executable: `agent-x86_64` and `agent-aarch64` of a release, or `agent` of a local build.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use sha2::{Digest, Sha256};
use templates::Balancer;
use templates::balancer::Architecture;

use crate::output::failure::Failure;

/// An agent's file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalAgent {
    pub path: PathBuf,
    pub architecture: Architecture,
    /// As hex digits.
    pub sha256: String,
    /// In bytes.
    pub size: usize,
}

/// Gives a balancer without `[agent]` the digests of the agents beside the launcher. Fails if there is none.
pub fn resolve(mut balancer: Balancer) -> Result<Balancer, Failure> {
    if balancer.uses_bucket() {
        let folder = folder().map_err(Failure::bad_input)?;
        let agents = beside_launcher().map_err(Failure::bad_input)?;
        if agents.is_empty() {
            return Err(Failure::bad_input(format!(
                "the file has no [agent], and {} has no agent-x86_64 and no agent-aarch64: put the agents of this Elbow's \
                 release there, beside the launcher, or write [agent] with a source",
                folder.display()
            )));
        }
        balancer.agents = agents.into_iter().map(|agent| (agent.architecture, agent.sha256)).collect();
    }
    Ok(balancer)
}

/// The launcher's folder.
pub fn folder() -> Result<PathBuf, String> {
    let launcher = std::env::current_exe().map_err(|error| format!("the launcher's folder isn't known: {error}"))?;
    Ok(launcher.parent().map(Path::to_owned).unwrap_or_default())
}

/// The agents in the launcher's folder. They are read once: the file's digests and the upload need them.
pub fn beside_launcher() -> Result<Vec<LocalAgent>, String> {
    static FOUND: OnceLock<Result<Vec<LocalAgent>, String>> = OnceLock::new();
    FOUND.get_or_init(|| find(&folder()?)).clone()
}

/// The agents in this folder, at most one for each architecture.
fn find(folder: &Path) -> Result<Vec<LocalAgent>, String> {
    let mut agents: Vec<LocalAgent> = Vec::new();
    let named = Architecture::ALL.map(|kind| (format!("agent-{kind}"), Some(kind)));
    for (name, named) in named.into_iter().chain([("agent".to_owned(), None)]) {
        let path = folder.join(name);
        // A checkout has a folder of this name.
        if !path.is_file() {
            continue;
        }
        let bytes = std::fs::read(&path).map_err(|error| format!("{}: can't be read: {error}", path.display()))?;
        let wrong =
            |what: String| format!("{}: {what}; replace it by the agent of this Elbow's release", path.display());
        let architecture = architecture(&bytes)
            .ok_or_else(|| wrong("isn't a program for Linux (ELF) on x86_64 or aarch64".to_owned()))?;
        if named.is_some_and(|named| named != architecture) {
            return Err(wrong(format!("is a program for {architecture}")));
        }
        if agents.iter().all(|agent| agent.architecture != architecture) {
            let sha256 = hex::encode(Sha256::digest(&bytes));
            agents.push(LocalAgent { path, architecture, sha256, size: bytes.len() });
        }
    }
    Ok(agents)
}

/// The architecture of a program: `e_machine` in the header of a little-endian 64-bit ELF file (elf(5)).
fn architecture(program: &[u8]) -> Option<Architecture> {
    let header = program.get(..20).filter(|header| header.starts_with(b"\x7fELF\x02\x01"))?;
    match u16::from_le_bytes([header[18], header[19]]) {
        62 => Some(Architecture::X86_64),
        183 => Some(Architecture::Aarch64),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program(machine: u16) -> Vec<u8> {
        [&b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x03\0"[..], &machine.to_le_bytes(), b"code"].concat()
    }

    fn found(files: &[(&str, &[u8])]) -> Result<Vec<(String, Architecture)>, String> {
        let folder = tempfile::tempdir().unwrap();
        files.iter().for_each(|(name, bytes)| std::fs::write(folder.path().join(name), bytes).unwrap());
        let agents = find(folder.path())?.into_iter();
        Ok(agents.map(|it| (it.path.file_name().unwrap().to_str().unwrap().to_owned(), it.architecture)).collect())
    }

    #[test]
    fn the_agents_of_a_release_come_before_that_of_a_local_build() {
        let (x86, arm) = (program(62), program(183));
        let of = |name: &str, kind| (name.to_owned(), kind);
        assert_eq!(found(&[]), Ok(vec![]));
        let both = found(&[("agent-aarch64", &arm[..]), ("agent-x86_64", &x86[..]), ("agent", &x86[..])]);
        assert_eq!(
            both,
            Ok(vec![of("agent-x86_64", Architecture::X86_64), of("agent-aarch64", Architecture::Aarch64)])
        );
        assert_eq!(found(&[("agent", &arm[..])]), Ok(vec![of("agent", Architecture::Aarch64)]));
    }

    #[test]
    fn the_digest_is_of_the_whole_file() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("agent"), program(62)).unwrap();
        let agents = find(folder.path()).unwrap();
        assert_eq!(agents.len(), 1);
        assert_eq!((&agents[0].sha256, agents[0].size), (&hex::encode(Sha256::digest(program(62))), 24));
    }

    #[test]
    fn a_program_for_another_machine_is_refused_by_its_path() {
        for (name, bytes, said) in [
            ("agent-aarch64", program(62), "agent-aarch64: is a program for x86_64; "),
            ("agent-x86_64", program(3), "agent-x86_64: isn't a program for Linux (ELF)"),
            ("agent", b"#!/bin/sh\n".to_vec(), "agent: isn't a program for Linux (ELF)"),
            ("agent", b"\x7fELF\x02\x01".to_vec(), "agent: isn't a program for Linux (ELF)"),
        ] {
            let error = found(&[(name, &bytes[..])]).unwrap_err();
            assert!(error.contains(said), "{error}\nnot: {said}");
        }
    }
}
