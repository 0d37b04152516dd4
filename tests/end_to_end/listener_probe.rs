//! `--probe`: the active node's HAProxy answers with a target, without one, and a dead agent doesn't answer.

use std::ffi::OsStr;

use anyhow::{Context, Result, ensure};
use lab::rig::{Rig, printed, wait_for};
use serde_json::{Value, json};

use crate::pair::{self, RECOVERY, on_pair};

const LISTENER: &str = r#"
[[listener]]
name = "raw"
port = 8081
protocol = "tcp"
targets = ["10.0.1.20:8080"]
"#;
/// Both targets refuse connections of this node.
const REFUSE: &str = "printf '%s' 'table inet broken { chain out { type filter hook output priority 0; \
    ip daddr { 10.0.1.20, 10.0.2.20 } tcp dport 8080 reject with tcp reset; }; }' | nft -f -";
const ADMIT: &str = "nft delete table inet broken";
/// Kills the agent for good: systemd doesn't restart it.
const KILL: &str = "mkdir -p /run/systemd/system/elbow-agent.service.d && \
    printf '[Service]\\nRestart=no\\n' > /run/systemd/system/elbow-agent.service.d/dead.conf && \
    systemctl daemon-reload && systemctl kill --signal KILL elbow-agent";
const REVIVE: &str = "rm /run/systemd/system/elbow-agent.service.d/dead.conf && systemctl daemon-reload && \
    systemctl start elbow-agent";

#[tokio::test]
async fn a_probe_shows_how_each_listener_answers() -> Result<()> {
    on_pair(async |rig| probes(rig)).await
}

fn probes(rig: &Rig) -> Result<()> {
    let plain = std::fs::read_to_string(pair::file(rig)?)?;
    let file = rig.file("probed.toml", &(plain + LISTENER))?;
    let update = ["update".as_ref(), file.as_os_str(), OsStr::new("--probe")];
    let (code, document) = asked(rig, &update)?;
    let active = rig.active()?;
    let all = &document["probe"]["listeners"];
    let is = |at: usize, key: &str, value: Value| ensure_is(&all[at][key], &value);
    ensure!(code == Some(0) && all.as_array().map(Vec::len) == Some(2), "it exits with {code:?}: {document:#}");
    for (at, listener, port) in [(0, "http", 80), (1, "raw", 8081)] {
        is(at, "listener", json!(listener))?;
        is(at, "port", json!(port))?;
        is(at, "virtual_ip", json!("10.255.0.10"))?;
        is(at, "instance", json!(active))?;
        is(at, "problem", Value::Null)?;
    }
    is(0, "status", json!(200))?;
    ensure!(["10.0.1.20:8080", "10.0.2.20:8080"].map(Value::from).contains(&all[0]["target"]), "{document:#}");
    is(1, "answer", json!("taken"))?;
    is(1, "target", json!("10.0.1.20:8080"))?;

    let create = [OsStr::new("create"), file.as_os_str(), OsStr::new("--probe")];
    let said = printed(&rig.launcher(create)?)?;
    ensure!(said.contains("10.255.0.10:8081") && said.contains("reaches it"), "create printed: {said}");
    wait_for("the request and the answer to be removed", RECOVERY, || {
        let keys = "Name=key,Values=elbow:probe,elbow:probed-1";
        let tags = rig.aws(["ec2", "describe-tags", "--filters", keys, "--query", "Tags[].Key"])?;
        ensure!(tags == json!([]), "left: {tags}");
        Ok(())
    })?;

    let status = ["status", "web", "--probe"].map(OsStr::new);
    let (code, document) = while_broken(rig, REFUSE, ADMIT, || asked(rig, &status))?;
    let all = &document["probe"]["listeners"];
    ensure!(code == Some(3) && all[0]["status"] == 503 && all[0]["target"].is_null(), "{code:?}: {document:#}");
    ensure!(all[1]["target"].is_null() && all[1]["problem"].is_string(), "the TCP listener: {document:#}");
    let said = document["probe"]["problems"].to_string();
    ensure!(said.contains("listener http on 10.255.0.10:80: 503: no target serves it"), "{said}");

    let (code, document) = while_broken(rig, KILL, REVIVE, || asked(rig, &status))?;
    let said = document["probe"]["problems"].to_string();
    let silent = format!("({active}) hasn't answered the probe within 30 s: its agent doesn't run");
    ensure!(code == Some(3) && said.contains(&silent), "{code:?}: {document:#}");

    printed(&rig.launcher([OsStr::new("update"), pair::file(rig)?.as_os_str()])?).map(drop)
}

/// The exit code and the JSON of a command.
fn asked(rig: &Rig, command: &[&OsStr]) -> Result<(Option<i32>, Value)> {
    let output = rig.launcher(command.iter().copied().chain(["--output", "json"].map(OsStr::new)))?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let document = serde_json::from_slice(&output.stdout).with_context(|| format!("{command:?} said {said}"))?;
    Ok((output.status.code(), document))
}

fn ensure_is(found: &Value, expected: &Value) -> Result<()> {
    ensure!(found == expected, "{found} instead of {expected}");
    Ok(())
}

/// Runs `look` after the script `fault` on both nodes, and `end` on both, also after a failure.
fn while_broken<T>(rig: &Rig, fault: &str, end: &str, look: impl FnOnce() -> Result<T>) -> Result<T> {
    let nodes = rig.serving_nodes(2, RECOVERY)?;
    let on = |node: &str, script: &str| rig.inside(node, &["sh", "-c", script]).map(drop);
    let on_both = |script: &str| nodes.iter().try_for_each(|node| on(&node.id, script));
    on_both(fault)?;
    let seen = look();
    on_both(end)?;
    seen
}
