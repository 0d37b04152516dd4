//! A node can't write: the journal stalls, or /run is full.

use std::time::Duration;

use anyhow::{Result, ensure};
use lab::rig::wait_for;

use crate::stage::{BOOT, Stage, play};

/// Makes the agent log much, because the socket to the journal buffers some hundred lines.
const LOUD: &str = "dir=/run/systemd/system/elbow-agent.service.d; mkdir -p $dir
    printf '[Service]\\nEnvironment=ELBOW_LOG=trace\\nLogRateLimitIntervalSec=0\\n' >$dir/loud.conf
    systemctl daemon-reload; systemctl restart elbow-agent";
const QUIET: &str =
    "rm -r /run/systemd/system/elbow-agent.service.d; systemctl daemon-reload; systemctl restart elbow-agent";

impl Stage {
    fn shell(&self, node: &str, script: &str) -> Result<String> {
        self.rig.inside(node, &["sh", "-c", script])
    }
}

#[test]
fn a_journal_that_stalls_holds_up_no_takeover() -> Result<()> {
    play(|stage| {
        let (active, standby) = stage.pair()?;
        stage.shell(&standby, LOUD)?;
        ensure!(stage.serving_nodes(BOOT)? == active, "another node is active");
        let before = stage.agent(&standby)?;
        stage.shell(&standby, "kill -STOP $(pidof systemd-journald)")?;
        let watch = stage.watch()?;
        watch.go_on(Duration::from_secs(15));
        stage.rig.lab(["kill", &active])?;
        ensure!(stage.moved(&active, BOOT)? == standby, "the route leads to neither of the pair");
        watch.served(BOOT)?;
        watch.end("power cut while the standby's journal stalls")?.at_most(Duration::from_millis(1500))?;
        ensure!(stage.agent(&standby)? == before, "the agent was restarted");

        stage.shell(&standby, "kill -CONT $(pidof systemd-journald)")?;
        stage.shell(&standby, QUIET).map(drop)
    })
}

#[test]
fn a_node_without_room_in_run_still_gives_its_virtual_ip_up_and_takes_part_again() -> Result<()> {
    play(|stage| {
        let (active, standby) = stage.pair()?;
        let full = "mount -o remount,size=16M /run && cat /dev/zero >/run/elbow/full 2>/dev/null; echo x >/run/full 2>/dev/null && test -s /run/full";
        ensure!(stage.shell(&active, full).is_err(), "/run isn't full");
        let watch = stage.watch()?;
        stage.shell(&active, "systemctl kill --signal STOP haproxy")?;
        ensure!(stage.moved(&active, BOOT)? == standby, "the route leads to neither of the pair");
        watch.served(BOOT)?;
        watch.end("HAProxy hung while /run was full")?.at_most(Duration::from_secs(3))?;
        stage.shell(
            &active,
            "systemctl kill --signal CONT haproxy; rm -f /run/elbow/full /run/full; mount -o remount,size=20% /run",
        )?;
        wait_for("keepalived to take part again", BOOT, || {
            let track = stage.shell(&active, "cat /run/elbow/haproxy.track")?;
            ensure!(track == "0\n", "/run/elbow/haproxy.track is {track:?}");
            let status = stage.shell(&active, "/opt/elbow/agent status")?;
            ensure!(status.contains("standby"), "the node isn't standby: {status}");
            Ok(())
        })
    })
}
