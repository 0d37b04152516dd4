//! Ports that clients reuse while a node still has their previous connection in TIME_WAIT.

use std::ops::Range;

use anyhow::{Context, Result, ensure};
use lab::rig::{Rig, VIP};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{LIMIT, Turner};

/// Limits the client's ports, so that it reuses each within the minute of TIME_WAIT.
pub(super) fn few(rig: &Rig) -> Result<()> {
    rig.lab(["client", "sysctl", "--quiet", "--write", "net.ipv4.ip_local_port_range=20000 24095"]).map(drop)
}

/// A node with a connection in TIME_WAIT passes packets of a newer connection from the same port to the other node.
pub(super) async fn one_is_used_again(turner: &Turner<'_>, nodes: &[String]) -> Result<()> {
    let mut stream = used_again(turner, 9001..9005, &nodes[0], &nodes[1]).await?;
    turner.turn(&nodes[0])?;
    ask(&mut stream, "").await.context("after the route was turned to the node with the port in TIME_WAIT")
}

/// Opens a connection to the node `now`, the route's target, from a port in TIME_WAIT on the node `before`.
pub(super) async fn used_again(turner: &Turner<'_>, ports: Range<u16>, before: &str, now: &str) -> Result<TcpStream> {
    // The active node reads its route every half a minute and may turn it back meanwhile: then the next port is tried.
    for port in ports {
        turner.turn(before)?;
        let mut ended = turner.rig.client_socket(port)?.connect(VIP.parse()?).await?;
        ask(&mut ended, "Connection: close\r\n").await?;
        ensure!(ended.read(&mut [0]).await? == 0, "the node didn't close the connection");
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
    anyhow::bail!("no port has a connection in TIME_WAIT on {before} and an open one on {now}")
}

/// Sends a request on an open connection and reads the answer.
pub(super) async fn ask(stream: &mut TcpStream, header: &str) -> Result<()> {
    let asking = async {
        stream.write_all(format!("GET / HTTP/1.1\r\nHost: lab\r\n{header}\r\n").as_bytes()).await?;
        let mut answer = Vec::new();
        while !answer.ends_with(b"target-a\n") && !answer.ends_with(b"target-b\n") {
            ensure!(stream.read_buf(&mut answer).await? > 0, "the connection ended before the answer");
        }
        ensure!(answer.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&answer));
        Ok(())
    };
    tokio::time::timeout(LIMIT, asking).await.context("no answer in time")?
}
