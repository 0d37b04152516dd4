//! Reads the revision of the HAProxy process that answers: after a reload, the new one only if it could start.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use templates::paths::STATS_PORT;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::probe::LIMIT;

const REQUEST: &[u8] = b"GET /revision HTTP/1.0\r\nHost: localhost\r\n\r\n";
/// The most bytes read: twelve characters and a header are fewer.
const LONGEST: u64 = 4096;

/// Asks HAProxy on loopback for its revision.
pub async fn revision() -> io::Result<String> {
    revision_at(SocketAddr::from((Ipv4Addr::LOCALHOST, STATS_PORT))).await
}

async fn revision_at(address: SocketAddr) -> io::Result<String> {
    let exchange = async {
        let mut stream = tokio::net::TcpStream::connect(address).await?;
        stream.write_all(REQUEST).await?;
        let mut answer = String::new();
        stream.take(LONGEST).read_to_string(&mut answer).await?;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        match head.split(' ').nth(1) {
            Some("200") => Ok(body.trim().to_owned()),
            _ => Err(io::Error::other(format!("HAProxy answered {:?}", head.lines().next().unwrap_or_default()))),
        }
    };
    tokio::time::timeout(LIMIT, exchange).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    async fn answer(text: &'static str) -> io::Result<String> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.read_exact(&mut [0; REQUEST.len()]).await.unwrap();
            stream.write_all(text.as_bytes()).await.unwrap();
        });
        revision_at(address).await
    }

    #[tokio::test]
    async fn the_page_is_the_revision_and_an_older_haproxy_has_none() {
        assert_eq!(answer("HTTP/1.1 200 OK\r\ncontent-length: 12\r\n\r\n0123456789ab").await.unwrap(), "0123456789ab");
        let error = answer("HTTP/1.1 503 Service Unavailable\r\n\r\nno").await.unwrap_err();
        assert_eq!(error.to_string(), "HAProxy answered \"HTTP/1.1 503 Service Unavailable\"");
    }
}
