//! A node refuses an agent with a wrong checksum and an invalid haproxy.cfg, and retries API calls that are denied.

use std::time::Duration;

use anyhow::{Result, ensure};

use lab::rig::{Rig, wait_for};

const BOOT: Duration = Duration::from_secs(90);

#[tokio::test]
async fn an_agent_with_a_wrong_checksum_is_not_run_and_the_console_shows_it() -> Result<()> {
    let rig = Rig::up()?;
    let wrong = |text: String| {
        let keep = |line: &str| !line.starts_with("sha256");
        let lines: Vec<&str> = text.lines().filter(|line| keep(line)).collect();
        lines.join("\n").replace("[agent]", &format!("[agent]\nsha256 = \"{}\"", "0".repeat(64)))
    };
    let file = rig.balancer_by_url(wrong)?;
    let output = rig.launcher(["create".as_ref(), file.as_os_str(), "--timeout".as_ref(), "20s".as_ref()])?;
    ensure!(output.status.code() == Some(1), "create exited with {}", output.status);

    let node = rig.status()?.instances.into_iter().find(|i| i.balancer.as_deref() == Some("web"));
    let node = node.ok_or_else(|| anyhow::anyhow!("create left no node"))?.id;
    wait_for("the checksum on the console", BOOT, || {
        let console =
            rig.aws(["ec2", "get-console-output", "--latest", "--instance-id", &node, "--query", "Output"])?;
        let said = console.as_str().unwrap_or_default().to_lowercase();
        ensure!(said.contains("wrong checksum: the agent from"), "the console says: {said}");
        Ok(())
    })?;
    rig.inside(&node, &["sh", "-c", "! test -e /opt/elbow/agent && ! systemctl is-active elbow-agent"])?;
    rig.destroy("web").map(drop)
}

#[tokio::test]
async fn calls_that_are_denied_at_boot_are_retried_and_logged() -> Result<()> {
    let rig = Rig::up()?;
    // Only nodes make these calls.
    rig.lab(["fail", "ModifyInstanceAttribute", "UnauthorizedOperation", "4"])?;
    rig.lab(["fail", "CreateRoute", "RequestLimitExceeded", "6"])?;
    rig.create(&rig.balancer(|text| text)?)?;
    let prober = rig.prober(50)?;
    prober.answered(20, Duration::from_secs(10)).await?;
    drop(prober);
    let nodes = rig.serving_nodes(2, BOOT)?;
    let logs: Result<Vec<String>> =
        nodes.iter().map(|n| rig.inside(&n.id, &["journalctl", "-u", "elbow-agent", "--no-pager"])).collect();
    ensure!(logs?.iter().any(|log| log.contains("UnauthorizedOperation")), "no agent logged the denied call");
    rig.destroy("web").map(drop)
}

#[tokio::test]
async fn a_configuration_that_haproxy_refuses_is_not_installed_but_reported() -> Result<()> {
    let rig = Rig::up()?;
    rig.create(&rig.balancer(|text| text)?)?;
    let node = rig.active()?;
    // Without the user that it names, HAProxy refuses the configuration. The installed file differs by a line, so that
    // the agent tries to write it again.
    rig.inside(&node, &["sed", "-i", "s/^haproxy:/gone:/", "/etc/passwd"])?;
    rig.inside(&node, &["sh", "-c", "echo '# as it was' >> /etc/haproxy/haproxy.cfg"])?;
    let prober = rig.prober(50)?;
    rig.inside(&node, &["systemctl", "restart", "elbow-agent"])?;
    wait_for("the refusal in the node's message", BOOT, || {
        let nodes = rig.status()?.instances;
        let message = nodes.into_iter().find(|i| i.id == node).and_then(|i| i.message).unwrap_or_default();
        ensure!(message.contains("haproxy.cfg stays as it is"), "the node's message: {message:?}");
        Ok(())
    })?;
    let installed = rig.inside(&node, &["tail", "-n", "1", "/etc/haproxy/haproxy.cfg"])?;
    ensure!(installed.trim() == "# as it was", "the agent installed it: it ends with {installed:?}");
    prober.answered(20, Duration::from_secs(10)).await?;
    ensure!(rig.active()? == node, "the virtual IP has moved");
    drop(prober);
    rig.destroy("web").map(drop)
}
