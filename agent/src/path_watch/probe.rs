//! One probe: asks for the health page of a virtual IP through the VPC. The answer names the node that the packets reach.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use serde::Deserialize;
use templates::paths::HEALTH_PORT;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;

use crate::aws::ids::InstanceId;
use crate::host::probe;

/// The time limit of a probe, connection included.
const LIMIT: Duration = Duration::from_millis(400);
/// The longest answer, in bytes.
const LONGEST: u64 = 64 << 10;

/// A probe of one virtual IP.
#[derive(Debug)]
pub(super) struct Probe<'a> {
    /// This node's own address.
    pub from: Ipv4Addr,
    /// The interface in the VPC: the packets must leave through it, although this node has the virtual IP itself.
    pub interface: &'a str,
    /// The stand-in address of the virtual IP.
    pub to: Ipv4Addr,
}

/// Its result.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// This node answered.
    From(InstanceId),
    /// No node did.
    None,
    /// This node had no descriptor, memory or port for the probe.
    Unsent,
}

/// The part of the health page that the watch needs.
#[derive(Deserialize)]
struct Page {
    instance: InstanceId,
}

impl Probe<'_> {
    /// Who answers, on a new connection.
    pub(super) async fn instance(&self) -> Answer {
        match tokio::time::timeout(LIMIT, self.ask()).await {
            Ok(Ok(page)) => body(&page).map_or(Answer::None, Answer::From),
            Ok(Err(error)) if probe::unasked(&error) => Answer::Unsent,
            _ => Answer::None,
        }
    }

    async fn ask(&self) -> io::Result<Vec<u8>> {
        let socket = TcpSocket::new_v4()?;
        socket.bind_device(Some(self.interface.as_bytes()))?;
        socket.bind(SocketAddr::from((self.from, 0)))?;
        let mut stream = socket.connect(SocketAddr::from((self.to, HEALTH_PORT))).await?;
        stream.write_all(b"GET /health HTTP/1.0\r\nHost: elbow\r\n\r\n").await?;
        let mut page = Vec::new();
        stream.take(LONGEST).read_to_end(&mut page).await?;
        Ok(page)
    }
}

/// The instance in an HTTP response.
fn body(response: &[u8]) -> Option<InstanceId> {
    let end = response.windows(4).position(|four| four == b"\r\n\r\n")?;
    serde_json::from_slice::<Page>(&response[end + 4..]).ok().map(|page| page.instance)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answering_instance_is_read_from_the_body() {
        let response = b"HTTP/1.0 200 OK\r\ncontent-type: application/json\r\n\r\n{\"instance\":\"i-b\",\"slot\":1}";
        assert_eq!(body(response), Some("i-b".into()));
        for other in [&b"HTTP/1.0 200 OK\r\n\r\n"[..], b"HTTP/1.0 200 OK\r\n\r\n<html>", b"", b"SSH-2.0\r\n"] {
            assert_eq!(body(other), None);
        }
    }
}
