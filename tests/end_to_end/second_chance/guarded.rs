//! Limits of the second chance: closed ports behind the tunnels, few packets of unknown connections, and a full table
//! of handshakes.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lab::clients::Kind;
use lab::rig::{Rig, wait_for};
use templates::files::tunnel_name;

use super::{LIMIT, Turner};
use crate::load::{Load, judge};

/// The number of packets of unknown connections that a client sends at once, each from another port.
const STRAYS: u64 = 4000;
/// The upper limit of those that pass, with a margin for a busy machine.
const PASSED: u64 = 1200;

/// A member reaches no port of another member through a tunnel, where no security group filters.
pub(super) fn ports_are_closed(rig: &Rig, nodes: &[String]) -> Result<()> {
    let [from, to] = [&nodes[0], &nodes[1]];
    let all = rig.status()?.instances;
    let address = all.iter().find(|node| node.id == *to).and_then(|node| node.address).context("its address")?;
    let name = tunnel_name(address);
    rig.inside(to, &["sh", "-c", "setsid python3 -m http.server 2222 >/dev/null 2>&1 & sleep 1"])?;
    let way =
        format!("ip route add default via {name} dev elbow1 table 99; ip rule add ipproto 6 dport 9110 lookup 99");
    rig.inside(from, &["sh", "-c", &way])?;
    let ask = |url: String| {
        let ask = format!("curl --silent --output /dev/null --max-time 1 {url}; echo $?");
        rig.inside(from, &["sh", "-c", &ask])
    };
    let open = || {
        Ok::<_, anyhow::Error>([ask(format!("http://{name}:2222/"))?, ask(format!("http://{address}:9110/health"))?])
    };
    // curl's exit code 28: a timeout.
    let guarded = open()?;
    [from, to].iter().try_for_each(|node| rig.inside(node, &["nft", "delete", "table", "ip", "elbow"]).map(drop))?;
    let bare = open()?;
    rig.inside(from, &["sh", "-c", "ip rule delete lookup 99; ip route flush table 99"])?;
    rig.inside(to, &["sh", "-c", "pkill -f '[h]ttp.server 2222'; systemctl restart elbow-agent"])?;
    rig.inside(from, &["systemctl", "restart", "elbow-agent"])?;
    ensure!(guarded == ["28\n", "28\n"], "open through a tunnel (a program's port, the agent's): {guarded:?}");
    ensure!(bare == ["0\n", "0\n"], "closed without the rules: {bare:?}");
    super::passing(rig, nodes, nodes.len())
}

/// A client sends packets of unknown connections: few of them pass the tunnels, and its uploads there go on.
pub(super) async fn strays_are_limited(rig: &Rig, nodes: &[String]) -> Result<()> {
    let turner = Turner::of(rig, nodes)?;
    let active = turner.back()?;
    let other = nodes.iter().find(|id| **id != active).context("another node")?;
    let crowd = rig.crowd(vec![Kind::Upload { connections: 10, every: Duration::from_millis(20) }])?;
    crowd.ready(LIMIT).await?;
    turner.turn(other)?;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let sent = || -> Result<u64> {
        Ok(rig.inside(other, &["cat", "/sys/class/net/elbow1/statistics/tx_packets"])?.trim().parse()?)
    };
    // The packets of the uploads and of the pulse in this time.
    let before = sent()?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let usual = sent()? - before;
    let before = sent()?;
    rig.lab(["client", "python3", "-c", SPRAY, &STRAYS.to_string()])?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let passed = (sent()? - before).saturating_sub(usual);
    let report = crowd.finish()?;
    turner.back()?;
    rig.figure(
        "packets of unknown connections, and how many of them went through the tunnel",
        format!("{STRAYS}, {passed}"),
    )?;
    ensure!(report.lost.is_empty(), "uploads of the same client were lost: {:?}", report.lost);
    ensure!(passed < PASSED, "{passed} packets passed the tunnel, in addition to the usual {usual}");
    Ok(())
}

const SPRAY: &str = r#"
import socket, struct, sys
s = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP)
s.connect(("10.255.0.10", 0))
ends = socket.inet_aton(s.getsockname()[0]) + socket.inet_aton("10.255.0.10")
def sum16(data):
    total = sum(struct.unpack("!%dH" % (len(data) // 2), data))
    total = (total >> 16) + (total & 0xffff)
    return ~(total + (total >> 16)) & 0xffff
for n in range(int(sys.argv[1])):
    head = struct.pack("!HHIIBBHHH", 30000 + n, 80, n, 1, 5 << 4, 0x18, 1000, 0, 0) + b"data"
    check = sum16(ends + struct.pack("!BBH", 0, 6, len(head)) + head)
    s.send(head[:16] + struct.pack("!H", check) + head[18:])
"#;

/// With a full table of handshakes, new connections still work, and the node counts the handshakes without an entry.
pub(super) async fn a_full_memory_costs_nothing(rig: &Rig, nodes: &[String]) -> Result<()> {
    let shrink =
        "(echo delete table ip elbow; nft --terse list table ip elbow | sed 's/size [0-9]*$/size 4/') | nft -f -";
    nodes.iter().try_for_each(|node| rig.inside(node, &["sh", "-c", shrink]).map(drop))?;
    let active = Turner::of(rig, nodes)?.back()?;
    let crowd = Load { keep_alive: 4, pause: Duration::from_millis(50), ..Load::default() }.begin(rig, LIMIT).await?;
    tokio::time::sleep(Duration::from_secs(3)).await;
    judge(rig, crowd, "three seconds with a full table of handshakes")?;
    wait_for("elbow_handshakes_unnoted_total to grow", LIMIT, || {
        let page = "curl --silent --fail --max-time 2 http://$(hostname -I | cut -d' ' -f1):9110/metrics";
        let page = rig.inside(&active, &["sh", "-c", page])?;
        let line = page.lines().find(|line| line.starts_with("elbow_handshakes_unnoted_total"));
        let count: f64 = line.and_then(|line| line.rsplit(' ').next()?.parse().ok()).context("no such metric")?;
        ensure!(count > 100.0, "it is {count}");
        Ok(())
    })?;
    let renew = "nft delete table ip elbow; systemctl restart elbow-agent";
    nodes.iter().try_for_each(|node| rig.inside(node, &["sh", "-c", renew]).map(drop))?;
    super::passing(rig, nodes, nodes.len())
}
