//! `validate`: checks a balancer file without AWS, and asks this machine's HAProxy for advice.

use std::io::ErrorKind;
use std::net::Ipv4Addr;
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
    haproxy: &'static str,
    warnings: Vec<String>,
}

/// What this machine's HAProxy says to the nodes' haproxy.cfg.
enum Advice {
    Accepted,
    /// With its errors.
    Refused(String),
    /// With the reason.
    NotChecked(String),
}

pub async fn run(cli: &Cli, args: &Validate) -> Result<(), Failure> {
    let (balancer, found) = read_with_warnings(&args.file)?;
    let balancer = local_agents::resolve(balancer)?;
    files::user_data_gzip(&balancer).map_err(|big| super::render::too_big(&args.file, &big))?;
    let mut warnings: Vec<String> = found.into_iter().map(|warning| warning.line).collect();
    let file = args.file.display();
    let revision = balancer.revision();
    let mut text = format!("{file}: valid, revision {revision}");
    let haproxy = match advice(&balancer).await {
        Advice::Accepted => "accepted",
        Advice::Refused(refusal) => {
            let members = if balancer.shares_tables() { " --members IP,IP" } else { "" };
            let refused = format!("launcher render haproxy {file}{members}");
            let warning = format!("{file}: this machine's HAProxy refuses what `{refused}` prints: {refusal}");
            output::warn(&warning);
            warnings.push(warning);
            "refused"
        }
        Advice::NotChecked(why) => {
            text.push_str(&format!("; not checked by HAProxy: {why}"));
            "not-checked"
        }
    };
    let document = Valid { outcome: "valid", balancer: &balancer.name, revision: &revision.0, haproxy, warnings };
    output::result(cli.output, &document, &text)
}

async fn advice(balancer: &Balancer) -> Advice {
    // As many peers as nodes, so that HAProxy's errors have the lines of the rendered file.
    let peers: Vec<Ipv4Addr> =
        (1..=u8::MAX).map(|n| Ipv4Addr::new(127, 0, 0, n)).take(balancer.subnets.len()).collect();
    let config = files::haproxy_cfg(&HaproxyNode { peers: &peers, ..HaproxyNode::typical(balancer) });
    // This machine may have no such user. Empty lines keep the line numbers.
    let config = config.replacen("    user haproxy\n    group haproxy\n", "\n\n", 1);
    match tokio::time::timeout(PATIENCE, ask(config)).await {
        Ok(Ok(advice)) => advice,
        Ok(Err(error)) if error.kind() == ErrorKind::NotFound => Advice::NotChecked("it isn't in the PATH".to_owned()),
        Ok(Err(error)) => Advice::NotChecked(format!("it can't be run: {error}")),
        Err(_) => Advice::NotChecked(format!("it didn't end within {} s", PATIENCE.as_secs())),
    }
}

async fn ask(config: String) -> std::io::Result<Advice> {
    let mut child = Command::new("haproxy")
        .args(["-c", "-f", "/dev/stdin"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let stdin = child.stdin.take();
    let feed = async move {
        if let Some(mut stdin) = stdin {
            // A program that ends early has said why.
            drop(stdin.write_all(config.as_bytes()).await);
        }
    };
    let output = tokio::join!(feed, child.wait_with_output()).1?;
    let said = errors(&String::from_utf8_lossy(&output.stderr));
    Ok(match (output.status.success(), said.is_empty()) {
        (true, _) => Advice::Accepted,
        (false, true) => Advice::Refused(output.status.to_string()),
        (false, false) => Advice::Refused(said.join("; ")),
    })
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
