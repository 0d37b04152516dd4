//! Requests a health page on this machine, HAProxy's or the agent's own. `agent check` is started by keepalived every
//! second and must be cheap, so it uses the blocking variant.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use rustix::io::Errno;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// The time limit. The page is generated on this machine, so a program that exceeds it hangs.
pub const LIMIT: Duration = Duration::from_millis(400);

/// The length of `HTTP/1.0 200`.
const STATUS: usize = 12;

/// A health page.
#[derive(Debug, Clone, Copy)]
pub struct Page {
    /// The address and port of its server.
    pub address: SocketAddr,
    /// Its path, with a leading slash.
    pub path: &'static str,
}

impl Page {
    /// The request for it, by HTTP/1.0: the server closes the connection after its answer.
    pub fn request(&self) -> Vec<u8> {
        format!("GET {} HTTP/1.0\r\nHost: localhost\r\n\r\n", self.path).into_bytes()
    }
}

/// Requires a 200 from `page`; for the agent's own watch.
pub async fn answers(page: Page) -> io::Result<()> {
    let exchange = async {
        let mut stream = tokio::net::TcpStream::connect(page.address).await?;
        stream.write_all(&page.request()).await?;
        let mut status = [0; STATUS];
        stream.read_exact(&mut status).await?;
        judge(&status)
    };
    tokio::time::timeout(LIMIT, exchange).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

/// Requires a 200 from `page`; for keepalived's scripts.
pub fn check(page: Page) -> io::Result<()> {
    let mut stream = TcpStream::connect_timeout(&page.address, LIMIT)?;
    stream.set_read_timeout(Some(LIMIT))?;
    stream.set_write_timeout(Some(LIMIT))?;
    stream.write_all(&page.request())?;
    let mut status = [0; STATUS];
    stream.read_exact(&mut status)?;
    judge(&status)
}

/// Whether a request couldn't be sent because this node has no descriptor, memory or port left (socket(2), connect(2)).
/// Such an error is no evidence against the other side.
pub fn unasked(error: &io::Error) -> bool {
    const NOTHING_LEFT: [Errno; 6] =
        [Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::NOBUFS, Errno::ADDRNOTAVAIL, Errno::ADDRINUSE];
    NOTHING_LEFT.iter().any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

fn judge(status: &[u8; STATUS]) -> io::Result<()> {
    let line = String::from_utf8_lossy(status);
    match line.strip_prefix("HTTP/1.").and_then(|rest| rest.get(2..)) {
        Some("200") => Ok(()),
        _ => Err(io::Error::other(format!("expected status 200, got {line:?}"))),
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    /// Answers every connection with `answer`.
    fn serve(answer: &'static str) -> Page {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            while let Ok((mut stream, _)) = listener.accept() {
                let mut request = [0; 512];
                let _ = stream.read(&mut request);
                let _ = stream.write_all(answer.as_bytes());
            }
        });
        Page { address, path: "/health" }
    }

    #[tokio::test]
    async fn status_200_is_healthy() {
        let page = serve("HTTP/1.0 200 OK\r\n\r\n");
        check(page).unwrap();
        answers(page).await.unwrap();
    }

    #[tokio::test]
    async fn another_status_is_unhealthy() {
        let page = serve("HTTP/1.0 503 Service Unavailable\r\n\r\n");
        assert!(check(page).is_err());
        assert!(answers(page).await.is_err());
    }

    #[tokio::test]
    async fn a_closed_port_is_refused_and_a_silent_server_times_out() {
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let page = Page { address: silent.local_addr().unwrap(), path: "/health" };
        assert_eq!(answers(page).await.unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert!(check(page).is_err());
        drop(silent);
        assert_eq!(answers(page).await.unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
        assert!(check(page).is_err());
    }
}
