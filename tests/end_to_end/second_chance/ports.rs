//! Ports that clients use again while a node still remembers the connection that was there before (TIME_WAIT).

use std::ops::Range;

use anyhow::{Context, Result, ensure};
use lab::rig::{Rig, VIP};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{LIMIT, Turner};

/// So few that clients use each again within the minute for which a node remembers what has ended (TIME_WAIT).
pub(super) fn few(rig: &Rig) -> Result<()> {
    rig.lab(["client", "sysctl", "--quiet", "--write", "net.ipv4.ip_local_port_range=20000 24095"]).map(drop)
}

/// A node that remembers a connection which has ended, from the same port, knows the other one's packets for strange.
pub(super) async fn one_is_used_again(turner: &Turner<'_>, nodes: &[String]) -> Result<()> {
    let mut stream = used_again(turner, 9001..9005, &nodes[0], &nodes[1]).await?;
    turner.turn(&nodes[0])?;
    ask(&mut stream, "").await.context("after the route was turned to where the port's last connection ended")
}

/// A connection at `now`, where the route leads; the last one from its port ended at `before`, which remembers it.
pub(super) async fn used_again(turner: &Turner<'_>, ports: Range<u16>, before: &str, now: &str) -> Result<TcpStream> {
    // The active node looks for its route every half a minute, and may turn it back in between.
    for port in ports {
        turner.turn(before)?;
        let mut ended = turner.rig.client_socket(port)?.connect(VIP.parse()?).await?;
        ask(&mut ended, "Connection: close\r\n").await?;
        ensure!(ended.read(&mut [0]).await? == 0, "a connection that was to be closed goes on");
        drop(ended);
        turner.turn(now)?;
        let mut stream = turner.rig.client_socket(port)?.connect(VIP.parse()?).await?;
        ask(&mut stream, "").await?;
        let has = |id: &str, state: &str| -> Result<bool> {
            let port = format!("dport = :{port}");
            Ok(!turner.rig.inside(id, &["ss", "--no-header", "-tan", "state", state, &port])?.trim().is_empty())
        };
        if has(before, "time-wait")? && has(now, "established")? {
            return Ok(stream);
        }
    }
    anyhow::bail!("no port was used at {before} first, and at {now} then")
}

/// A request on a connection that is open.
pub(super) async fn ask(stream: &mut TcpStream, header: &str) -> Result<()> {
    let asking = async {
        stream.write_all(format!("GET / HTTP/1.1\r\nHost: lab\r\n{header}\r\n").as_bytes()).await?;
        let mut answer = Vec::new();
        while !answer.ends_with(b"target-a\n") && !answer.ends_with(b"target-b\n") {
            ensure!(stream.read_buf(&mut answer).await? > 0, "the end came first");
        }
        ensure!(answer.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&answer));
        Ok(())
    };
    tokio::time::timeout(LIMIT, asking).await.context("no answer in time")?
}
