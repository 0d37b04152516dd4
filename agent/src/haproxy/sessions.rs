//! HAProxy's open connections, as `show sess` on the admin socket lists them (HAProxy management guide, 9.3): one line
//! each, long on a busy node. So it is asked for a listener probe only.

use std::io;
use std::net::SocketAddr;

use super::admin::Admin;

/// The open connections at a moment.
#[derive(Debug)]
pub struct Sessions(String);

/// Where a client's connection goes to.
#[derive(Debug, PartialEq, Eq)]
pub enum Served {
    /// This target has the connection.
    By(String),
    /// HAProxy looks for a target, or still connects to one.
    Waiting,
}

/// HAProxy's open connections.
pub async fn sessions() -> io::Result<Sessions> {
    Ok(Sessions(Admin::connect().await?.sessions().await?))
}

impl Sessions {
    /// Where the connection of this client goes to; none if HAProxy doesn't list it.
    pub fn of(&self, client: SocketAddr) -> Option<Served> {
        let source = format!("src={client}");
        let line = self.0.lines().find(|line| line.split(' ').any(|word| word == source))?;
        let value = |key: &str| line.split(' ').find_map(|word| word.strip_prefix(key));
        // The side of the target, established: state 8 (HAProxy's stconn-t.h, `SC_ST_EST`).
        let is_established = value("scb=[").is_some_and(|side| side.starts_with("8,"));
        let target = value("srv=").filter(|target| is_established && *target != "<none>");
        Some(target.map_or(Served::Waiting, |target| Served::By(target.to_owned())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lines in the format of HAProxy 2.6.
    const LINES: &str = "\
0x55d0c0: proto=tcpv4 src=127.0.0.1:40001 fe=db be=db srv=10.0.1.30:5432 ts=00 epoch=0 age=1s calls=2 \
rq[f=848202h,i=0,an=00h,rx=5m49s,wx=,ax=] rp[f=80048202h,i=0,an=00h,rx=5m49s,wx=,ax=] scf=[8,200008h,fd=21] \
scb=[8,200118h,fd=22] exp=5m49s rc=0 c_exp=
0x55d0c1: proto=tcpv4 src=127.0.0.1:40002 fe=db be=db srv=10.0.1.30:5432 ts=00 epoch=0 age=1s calls=2 \
rq[f=848202h,i=0,an=00h,rx=5m49s,wx=,ax=] rp[f=80048202h,i=0,an=00h,rx=,wx=,ax=] scf=[8,200008h,fd=23] \
scb=[5,118h,fd=24] exp=4s rc=0 c_exp=
0x55d0c2: proto=tcpv4 src=127.0.0.1:40003 fe=db be=db srv=<none> ts=00 epoch=0 age=1s calls=2 \
rq[f=848202h,i=0,an=00h,rx=5m49s,wx=,ax=] rp[f=80048202h,i=0,an=00h,rx=,wx=,ax=] scf=[8,200008h,fd=25] \
scb=[2,118h,fd=-1] exp=4s rc=0 c_exp=
0x55d0c3: proto=unix_stream src=unix:1 fe=GLOBAL be=<NONE> srv=<none> ts=00 epoch=0 age=0s calls=1
";

    #[test]
    fn a_target_has_a_connection_once_it_is_established() {
        let sessions = Sessions(LINES.to_owned());
        let of = |client: &str| sessions.of(client.parse().unwrap());
        assert_eq!(of("127.0.0.1:40001"), Some(Served::By("10.0.1.30:5432".to_owned())));
        assert_eq!(of("127.0.0.1:40002"), Some(Served::Waiting), "it connects");
        assert_eq!(of("127.0.0.1:40003"), Some(Served::Waiting), "it is in the queue");
        assert_eq!(of("127.0.0.1:4000"), None);
        assert_eq!(of("10.0.1.30:5432"), None);
    }
}
