//! Reads an operator's balancer file.

use std::path::Path;

use templates::Balancer;
use templates::balancer::{Examined, Severity, examine};

use crate::model::local_agents;
use crate::output;
use crate::output::failure::Failure;
use crate::output::located::Located;

/// Reads and checks a balancer file, and adds the digests of the agents beside the launcher if the file has no `[agent]`. Its
/// warnings go to standard error.
pub fn read_balancer(path: &Path) -> Result<Balancer, Failure> {
    local_agents::resolve(read_with_warnings(path)?.0)
}

/// Like [`read_balancer`], without digests and with the warnings.
pub fn read_with_warnings(path: &Path) -> Result<(Balancer, Vec<Located>), Failure> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| Failure::bad_input(format!("{}: can't be read: {error}", path.display())))?;
    let beside = |name: &str| {
        let file = path.parent().unwrap_or(Path::new("")).join(name);
        std::fs::read_to_string(file).map_err(|error| error.to_string())
    };
    let Examined { balancer, findings } = examine(&text, &beside);
    let of = |severity: Severity| -> Vec<Located> {
        let findings = findings.iter().filter(|finding| finding.severity == severity);
        findings.map(|finding| Located::of(path, &text, finding)).collect()
    };
    let warnings = of(Severity::Warning);
    warnings.iter().for_each(output::warn_of);
    match balancer {
        Some(balancer) => Ok((balancer, warnings)),
        None => Err(Failure::BadFile(of(Severity::Error))),
    }
}
