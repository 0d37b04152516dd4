//! `validate`: checks a balancer file without AWS, and asks this machine's HAProxy for advice.

use std::process::Stdio;
use std::time::Duration;

use serde::Serialize;
use templates::Balancer;
use templates::files::{self, HaproxyNode};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::cli::{Cli, Validate};
use crate::model::balancer_file::read_with_warnings;
use crate::model::local_agents;
use crate::output;
use crate::output::failure::Failure;

/// HAProxy reads a configuration in a fraction of a second, unless it waits for DNS.
const PATIENCE: Duration = Duration::from_secs(10);
/// More errors of HAProxy mostly follow from the first ones.
const MOST_ERRORS: usize = 5;

/// The result, for `--output json`.
#[derive(Debug, Serialize)]
struct Valid<'a> {
    outcome: &'static str,
    balancer: &'a str,
    revision: &'a str,
    warnings: Vec<String>,
}

pub async fn run(cli: &Cli, args: &Validate) -> Result<(), Failure> {
    let (balancer, found) = read_with_warnings(&args.file)?;
    let balancer = local_agents::resolve(balancer)?;
    files::user_data_gzip(&balancer).map_err(|big| super::render::too_big(&args.file, &big))?;
    let mut warnings: Vec<String> = found.into_iter().map(|warning| warning.line).collect();
    if let Some(refusal) = refusal(&balancer).await {
        let file = args.file.display();
        let refused = format!("launcher render haproxy {file}");
        let warning = format!("{file}: this machine's HAProxy refuses what `{refused}` prints: {refusal}");
        output::warn(&warning);
        warnings.push(warning);
    }
    let revision = balancer.revision();
    let document = Valid { outcome: "valid", balancer: &balancer.name, revision: &revision.0, warnings };
    output::result(cli.output, &document, &format!("{}: valid, revision {revision}", args.file.display()))
}

/// Why this machine's HAProxy refuses the nodes' haproxy.cfg. None if it accepts it, isn't installed, or is slow.
async fn refusal(balancer: &Balancer) -> Option<String> {
    let config = files::haproxy_cfg(&HaproxyNode::typical(balancer));
    // This machine may have no such user. Empty lines keep the line numbers.
    let config = config.replacen("    user haproxy\n    group haproxy\n", "\n\n", 1);
    let mut child = Command::new("haproxy")
        .args(["-c", "-f", "/dev/stdin"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .ok()?;
    let mut stdin = child.stdin.take()?;
    let feed = async move {
        // A program that ends early has said why.
        drop(stdin.write_all(config.as_bytes()).await);
    };
    let both = async { tokio::join!(feed, child.wait_with_output()).1 };
    let output = tokio::time::timeout(PATIENCE, both).await.ok()?.ok()?;
    let said = errors(&String::from_utf8_lossy(&output.stderr));
    match (output.status.success(), said.is_empty()) {
        (true, _) => None,
        (false, true) => Some(output.status.to_string()),
        (false, false) => Some(said.join("; ")),
    }
}

/// HAProxy's errors, with the lines of haproxy.cfg.
fn errors(stderr: &str) -> Vec<String> {
    let errors = stderr.lines().filter(|line| line.starts_with("[ALERT]"));
    let errors = errors.filter_map(|line| line.split_once(") : ")).map(|(_, said)| said);
    let errors = errors.map(|said| said.strip_prefix("config : ").unwrap_or(said));
    let errors = errors.filter(|said| !said.contains("found in configuration"));
    errors.map(|said| said.replace("/dev/stdin", "haproxy.cfg")).take(MOST_ERRORS).collect()
}

#[cfg(test)]
mod tests {
    /// The form of HAProxy 2.6's messages.
    #[test]
    fn haproxys_errors_are_found() {
        let stderr = "[NOTICE]   (7) : haproxy version is 2.6.12-1+deb12u1\n\
                      [WARNING]  (7) : config : parsing [/dev/stdin:9] : a keyword is deprecated\n\
                      [ALERT]    (7) : config : parsing [/dev/stdin:58] : unknown keyword 'sever'\n\
                      [ALERT]    (7) : config : Error(s) found in configuration file : /dev/stdin\n\
                      [ALERT]    (7) : config : Fatal errors found in configuration.\n";
        let error = "parsing [haproxy.cfg:58] : unknown keyword 'sever'";
        assert_eq!(super::errors(stderr), [error]);
    }
}
