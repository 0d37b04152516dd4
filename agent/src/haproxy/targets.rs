//! Reads from HAProxy's stats page whether any target is up.

use std::net::{Ipv4Addr, SocketAddr};

use templates::files::OPEN;
use templates::paths::STATS_PORT;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::probe::LIMIT;
use crate::ownership::decide::Targets;

const REQUEST: &[u8] = b"GET /stats;csv HTTP/1.0\r\nHost: localhost\r\n\r\n";

/// Whether any target is up; `Down` if HAProxy doesn't answer.
pub async fn targets() -> Targets {
    let exchange = async {
        let mut stream = tokio::net::TcpStream::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, STATS_PORT))).await?;
        stream.write_all(REQUEST).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok::<String, std::io::Error>(answer)
    };
    match tokio::time::timeout(LIMIT, exchange).await {
        Ok(Ok(answer)) => judge(&answer),
        _ => Targets::Down,
    }
}

/// Judges by backends with checks only: servers of one without are never down. Reads the CSV that follows the line of
/// names (HAProxy management guide, 9.1: `pxname,svname,...,status,...`).
fn judge(answer: &str) -> Targets {
    let mut lines = answer.lines().skip_while(|line| !line.starts_with("# pxname,")).map(|line| line.split(','));
    let Some(column) = lines.next().and_then(|mut names| names.position(|name| name == "status")) else {
        return Targets::Down;
    };
    let up = |line: std::str::Split<'_, char>| {
        let fields: Vec<&str> = line.collect();
        let is_checked = fields.first().is_some_and(|backend| !backend.ends_with(OPEN));
        let is_server = is_checked && fields.get(1).is_some_and(|name| !matches!(*name, "FRONTEND" | "BACKEND"));
        is_server && fields.get(column).is_some_and(|status| status.starts_with("UP") || *status == "no check")
    };
    if lines.any(up) { Targets::Up } else { Targets::Down }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(status: &str) -> String {
        format!(
            "HTTP/1.0 200 OK\r\n\r\n# pxname,svname,qcur,status\nweb,FRONTEND,0,OPEN\nweb,t0,0,{status}\nweb,BACKEND,0,UP\n"
        )
    }

    #[test]
    fn a_backend_for_unhealthy_targets_is_no_evidence() {
        let page = page("DOWN").replace("web,BACKEND", "web--all,t0,0,no check\nweb,BACKEND");
        assert_eq!(judge(&page), Targets::Down);
    }

    #[test]
    fn a_server_that_is_up_counts_and_its_backend_does_not() {
        assert_eq!(judge(&page("UP")), Targets::Up);
        assert_eq!(judge(&page("UP 1/2")), Targets::Up);
        assert_eq!(judge(&page("no check")), Targets::Up);
        assert_eq!(judge(&page("DOWN")), Targets::Down);
        assert_eq!(judge("HTTP/1.0 503\r\n\r\n"), Targets::Down);
    }
}
