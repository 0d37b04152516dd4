//! A real request to HAProxy's health page on loopback. Two ways to send it: `agent check` is started by keepalived
//! every second or so and has to be cheap, so it does without an async runtime.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use templates::paths::STATS_PORT;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Loopback and a page that is made on the spot: what takes this long is stuck.
pub(super) const LIMIT: Duration = Duration::from_millis(400);

const REQUEST: &[u8] = b"GET /healthz HTTP/1.0\r\nHost: localhost\r\n\r\n";
/// `HTTP/1.0 200`: as much of the answer as matters.
const STATUS: usize = 12;

fn page() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, STATS_PORT))
}

/// Whether HAProxy answers its health page, for the agent's own watch.
pub async fn answers() -> io::Result<()> {
    answers_at(page()).await
}

async fn answers_at(address: SocketAddr) -> io::Result<()> {
    let exchange = async {
        let mut stream = tokio::net::TcpStream::connect(address).await?;
        stream.write_all(REQUEST).await?;
        let mut status = [0; STATUS];
        stream.read_exact(&mut status).await?;
        judge(&status)
    };
    tokio::time::timeout(LIMIT, exchange).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

/// Whether HAProxy answers its health page, for keepalived's script.
pub fn check() -> io::Result<()> {
    check_at(page())
}

fn check_at(address: SocketAddr) -> io::Result<()> {
    let mut stream = TcpStream::connect_timeout(&address, LIMIT)?;
    stream.set_read_timeout(Some(LIMIT))?;
    stream.set_write_timeout(Some(LIMIT))?;
    stream.write_all(REQUEST)?;
    let mut status = [0; STATUS];
    stream.read_exact(&mut status)?;
    judge(&status)
}

fn judge(status: &[u8; STATUS]) -> io::Result<()> {
    let line = String::from_utf8_lossy(status);
    match line.strip_prefix("HTTP/1.").and_then(|rest| rest.get(2..)) {
        Some("200") => Ok(()),
        _ => Err(io::Error::other(format!("HAProxy answered {line:?}"))),
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    /// Answers every connection with `answer`.
    fn serve(answer: &'static str) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            while let Ok((mut stream, _)) = listener.accept() {
                let mut request = [0; 512];
                let _ = stream.read(&mut request);
                let _ = stream.write_all(answer.as_bytes());
            }
        });
        address
    }

    #[tokio::test]
    async fn two_hundred_is_well() {
        let address = serve("HTTP/1.0 200 OK\r\n\r\n");
        check_at(address).unwrap();
        answers_at(address).await.unwrap();
    }

    #[tokio::test]
    async fn another_status_is_not() {
        let address = serve("HTTP/1.0 503 Service Unavailable\r\n\r\n");
        assert!(check_at(address).is_err());
        assert!(answers_at(address).await.is_err());
    }

    #[tokio::test]
    async fn nobody_there_is_refused_and_silence_times_out() {
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = silent.local_addr().unwrap();
        assert_eq!(answers_at(address).await.unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert!(check_at(address).is_err());
        drop(silent);
        assert_eq!(answers_at(address).await.unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
        assert!(check_at(address).is_err());
    }
}
