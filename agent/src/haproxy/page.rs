//! GETs a page of HAProxy on loopback. HAProxy sends long pages in chunks, even to a client of HTTP/1.0, and a chunk
//! may end in the middle of a line.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use templates::paths::STATS_PORT;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::host::probe::{LIMIT, Page};

/// The most bytes read: the statistics of 20,000 targets have fewer.
const LARGEST: u64 = 16 << 20;

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

/// The body of a successful answer (RFC 9112, sections 6 and 7.1).
fn body(answer: &[u8]) -> io::Result<Vec<u8>> {
    let (head, body) = split(answer, b"\r\n\r\n").ok_or(io::ErrorKind::UnexpectedEof)?;
    let head = String::from_utf8_lossy(head);
    let mut lines = head.lines();
    let status = lines.next().unwrap_or_default();
    if status.split(' ').nth(1) != Some("200") {
        return Err(io::Error::other(format!("HAProxy answered {status:?}")));
    }
    match lines.any(|line| line.replace(' ', "").eq_ignore_ascii_case("transfer-encoding:chunked")) {
        true => joined(body).ok_or_else(|| io::ErrorKind::UnexpectedEof.into()),
        false => Ok(body.to_vec()),
    }
}

/// The chunks of a body, joined; none if the last one is missing.
fn joined(mut chunks: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let (size, rest) = split(chunks, b"\r\n")?;
        let size = usize::from_str_radix(std::str::from_utf8(size).ok()?.trim(), 16).ok()?;
        if size == 0 {
            return Some(body);
        }
        body.extend_from_slice(rest.get(..size)?);
        chunks = rest[size..].strip_prefix(b"\r\n")?;
    }
}

fn split<'a>(text: &'a [u8], end: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let at = text.windows(end.len()).position(|window| window == end)?;
    Some((&text[..at], &text[at + end.len()..]))
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
    fn chunks_are_joined() {
        let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
        let chunked = |chunks: &str| body(format!("{head}{chunks}").as_bytes());
        assert_eq!(chunked("6\r\nweb,a,\r\nA\r\n0,UP\nweb,b\r\n0\r\n\r\n").unwrap(), b"web,a,0,UP\nweb,b");
        let cuts = ["", "6\r\n", "6\r\nweb,a,", "6\r\nweb,a,\r\n", "6\r\nweb,a,\r\n1"];
        for cut in cuts.into_iter().chain(["x\r\n", "FFFFFFFFFFFFFFFF\r\na", "-1\r\n"]) {
            assert_eq!(chunked(cut).unwrap_err().kind(), io::ErrorKind::UnexpectedEof, "{cut:?}");
        }
    }

    #[test]
    fn another_status_is_an_error() {
        let error = body(b"HTTP/1.1 503 Service Unavailable\r\n\r\nno").unwrap_err();
        assert_eq!(error.to_string(), "HAProxy answered \"HTTP/1.1 503 Service Unavailable\"");
        assert_eq!(body(b"HTTP/1.1 200 OK\r\n").unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}
