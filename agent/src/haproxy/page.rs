//! GETs a short page of HAProxy on loopback.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use templates::paths::STATS_PORT;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::host::probe::{LIMIT, Page};

/// The most bytes read.
const LARGEST: u64 = 64 << 10;
/// The end of an answer's head.
const END: &[u8] = b"\r\n\r\n";

/// HAProxy's page at `path`.
pub(super) fn at(path: &'static str) -> Page {
    Page { address: SocketAddr::from((Ipv4Addr::LOCALHOST, STATS_PORT)), path }
}

/// The body of the page, which must have the status 200.
pub(super) async fn read(page: Page) -> io::Result<Vec<u8>> {
    let exchange = async {
        let mut stream = tokio::net::TcpStream::connect(page.address).await?;
        stream.write_all(&page.request()).await?;
        let mut answer = Vec::new();
        stream.take(LARGEST).read_to_end(&mut answer).await?;
        Ok::<_, io::Error>(answer)
    };
    let answer = tokio::time::timeout(LIMIT, exchange).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))?;
    body(&answer)
}

/// The body of a successful answer (RFC 9112, section 6).
fn body(answer: &[u8]) -> io::Result<Vec<u8>> {
    let end = answer.windows(END.len()).position(|window| window == END).ok_or(io::ErrorKind::UnexpectedEof)?;
    let head = String::from_utf8_lossy(&answer[..end]);
    let status = head.lines().next().unwrap_or_default();
    if status.split(' ').nth(1) != Some("200") {
        return Err(io::Error::other(format!("HAProxy answered {status:?}")));
    }
    Ok(answer[end + END.len()..].to_vec())
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn a_page_is_read_to_its_end() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let page = Page { address, path: "/revision" };
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = vec![0; page.request().len()];
            stream.read_exact(&mut request).await.unwrap();
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 12\r\n\r\n0123456789ab").await.unwrap();
            request
        });
        assert_eq!(read(page).await.unwrap(), b"0123456789ab");
        assert_eq!(server.await.unwrap(), page.request());
    }

    #[test]
    fn another_status_is_an_error() {
        let error = body(b"HTTP/1.1 503 Service Unavailable\r\n\r\nno").unwrap_err();
        assert_eq!(error.to_string(), "HAProxy answered \"HTTP/1.1 503 Service Unavailable\"");
        assert_eq!(body(b"HTTP/1.1 200 OK\r\n").unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}
