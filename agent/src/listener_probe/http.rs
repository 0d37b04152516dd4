//! Asks an HTTP listener: a GET of `/`, as a client sends it. Only the head of the response is read.

use std::io::{self, ErrorKind};
use std::net::SocketAddrV4;
use std::time::{Duration, Instant};

use templates::listener_probe::{Failure, Outcome, TARGET_HEADER, USER_AGENT};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{connect, failure};

/// The time limit. HAProxy's own 503 after three retries takes three seconds.
const LIMIT: Duration = Duration::from_secs(5);
/// The longest head, in bytes: more than HAProxy passes on.
const LONGEST: usize = 256 << 10;
/// The end of a head.
const END: &[u8] = b"\r\n\r\n";

/// The parts of a response's head that are of use.
#[derive(Debug, PartialEq, Eq)]
struct Head {
    status: u16,
    /// None if HAProxy itself answers.
    target: Option<String>,
}

pub(super) async fn ask(to: SocketAddrV4) -> Outcome {
    let began = Instant::now();
    match tokio::time::timeout(LIMIT, exchange(to)).await {
        Ok(Ok(Head { status, target })) => {
            let ms = u32::try_from(began.elapsed().as_millis()).unwrap_or(u32::MAX);
            Outcome::Http { status, target, ms }
        }
        Ok(Err(error)) => Outcome::Failed(failure(&error)),
        Err(_) => Outcome::Failed(Failure::Silent),
    }
}

async fn exchange(to: SocketAddrV4) -> io::Result<Head> {
    let mut stream = connect(to).await?;
    stream.write_all(request(to).as_bytes()).await?;
    let mut response = Vec::with_capacity(16 * 1024);
    while response.len() < LONGEST && stream.read_buf(&mut response).await? > 0 {
        if let Some(head) = head(&response) {
            return Ok(head);
        }
    }
    Err(ErrorKind::UnexpectedEof.into())
}

/// The port is in `Host` if it isn't HTTP's own (RFC 9110, section 7.2).
fn request(to: SocketAddrV4) -> String {
    let host = if to.port() == 80 { to.ip().to_string() } else { to.to_string() };
    format!("GET / HTTP/1.1\r\nHost: {host}\r\nUser-Agent: {USER_AGENT}\r\nAccept: */*\r\nConnection: close\r\n\r\n")
}

/// The head of the final response, once it is complete. Interim responses come before it (RFC 9110, section 15.2).
fn head(response: &[u8]) -> Option<Head> {
    let end = response.windows(END.len()).position(|window| window == END)?;
    let text = String::from_utf8_lossy(&response[..end]);
    let mut lines = text.lines();
    let status: u16 = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    if (100..200).contains(&status) {
        return head(&response[end + END.len()..]);
    }
    let mut headers = lines.filter_map(|line| line.split_once(':'));
    let target = headers.find(|(name, _)| name.eq_ignore_ascii_case(TARGET_HEADER));
    Some(Head { status, target: target.map(|(_, value)| value.trim().to_owned()) })
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};

    use tokio::net::TcpListener;

    use super::*;

    /// The request of a probe, and what it makes of this response.
    async fn probed(response: &'static str) -> (String, Outcome) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let SocketAddr::V4(address) = listener.local_addr().unwrap() else { panic!("it is IPv4") };
        let server = tokio::spawn(async move {
            let (mut stream, client) = listener.accept().await.unwrap();
            assert_eq!(client.ip(), Ipv4Addr::LOCALHOST);
            let mut request = Vec::with_capacity(1024);
            while !request.ends_with(END) {
                stream.read_buf(&mut request).await.unwrap();
            }
            stream.write_all(response.as_bytes()).await.unwrap();
            String::from_utf8(request).unwrap()
        });
        let outcome = ask(address).await;
        (server.await.unwrap(), outcome)
    }

    #[tokio::test]
    async fn the_status_and_the_target_are_read_and_no_body() {
        let response = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\nx-elbow-target: 10.0.1.20:8080\r\n\r\nnot a";
        let (request, outcome) = probed(response).await;
        assert!(request.starts_with("GET / HTTP/1.1\r\nHost: 127.0.0.1:"), "{request}");
        assert!(request.contains("\r\nUser-Agent: elbow-probe\r\n"), "{request}");
        let Outcome::Http { status, target, .. } = outcome else { panic!("{outcome:?}") };
        assert_eq!((status, target.as_deref()), (200, Some("10.0.1.20:8080")));
    }

    #[tokio::test]
    async fn a_connection_that_ends_before_the_response_is_closed() {
        for response in ["", "HTTP/1.1 200 OK\r\n", "SSH-2.0\r\n\r\n"] {
            assert_eq!(probed(response).await.1, Outcome::Failed(Failure::Closed), "{response:?}");
        }
    }

    #[test]
    fn a_head_is_read_once_it_is_complete() {
        let own = Head { status: 503, target: None };
        assert_eq!(head(b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 107\r\n\r\n<html>"), Some(own));
        let hinted = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 301 Moved\r\nLocation: /b\r\n\r\n";
        assert_eq!(head(hinted), Some(Head { status: 301, target: None }));
        for part in [&b""[..], b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 103 Early Hints\r\n\r\n", b"HTTP/1.1\r\n\r\n"] {
            assert_eq!(head(part), None);
        }
    }

    #[test]
    fn the_host_is_the_virtual_ip() {
        let to = |port| SocketAddrV4::new(Ipv4Addr::new(10, 255, 0, 10), port);
        assert!(request(to(80)).contains("\r\nHost: 10.255.0.10\r\n"));
        assert!(request(to(8080)).contains("\r\nHost: 10.255.0.10:8080\r\n"));
    }
}
