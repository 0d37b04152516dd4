//! One probe: asks for a node's health page on a new connection, as a client connects. On the stand-in address of a virtual
//! IP, the packets take the way through the VPC, and the answer shows which node they reach.

use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use templates::paths::HEALTH_PORT;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;

use crate::host::probe::{self, Page};
use crate::peers::Health;

/// The time limit of a probe, connection included.
const LIMIT: Duration = Duration::from_millis(400);
/// The longest answer, in bytes.
const LONGEST: u64 = 64 << 10;

/// Where probes start: the interface in the VPC, which has this node's own address.
#[derive(Debug)]
pub(super) struct Source<'a>(pub &'a str);

/// A probe's result.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    From(Box<Health>),
    /// A kernel or a program refused or closed the connection.
    Refused,
    None,
    /// This node had no descriptor, memory or port for the probe.
    Unsent,
}

impl Source<'_> {
    /// Who answers at `address`.
    pub(super) async fn probe(&self, address: Ipv4Addr) -> Answer {
        match tokio::time::timeout(LIMIT, self.ask(address)).await {
            Ok(Ok(response)) => body(&response).map_or(Answer::Refused, |health| Answer::From(Box::new(health))),
            Ok(Err(error)) if probe::unasked(&error) => Answer::Unsent,
            Ok(Err(error)) if matches!(error.kind(), ErrorKind::ConnectionRefused | ErrorKind::ConnectionReset) => {
                Answer::Refused
            }
            _ => Answer::None,
        }
    }

    async fn ask(&self, address: Ipv4Addr) -> io::Result<Vec<u8>> {
        let socket = TcpSocket::new_v4()?;
        socket.bind_device(Some(self.0.as_bytes()))?;
        let page = Page { address: SocketAddr::from((address, HEALTH_PORT)), path: "/health" };
        let mut stream = socket.connect(page.address).await?;
        stream.write_all(&page.request()).await?;
        let mut response = Vec::new();
        stream.take(LONGEST).read_to_end(&mut response).await?;
        Ok(response)
    }
}

/// The health in an HTTP response.
fn body(response: &[u8]) -> Option<Health> {
    let end = response.windows(4).position(|four| four == b"\r\n\r\n")?;
    serde_json::from_slice(&response[end + 4..]).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::state::tests::state;

    #[test]
    fn the_health_is_read_from_the_body() {
        let health = Health::of(&state());
        let json = serde_json::to_string(&health).unwrap();
        let response = format!("HTTP/1.0 200 OK\r\ncontent-type: application/json\r\n\r\n{json}");
        assert_eq!(body(response.as_bytes()), Some(health));
        for other in [&b"HTTP/1.0 200 OK\r\n\r\n"[..], b"HTTP/1.0 200 OK\r\n\r\n<html>", b"", b"SSH-2.0\r\n"] {
            assert_eq!(body(other), None);
        }
    }
}
