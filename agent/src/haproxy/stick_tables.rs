//! Asks HAProxy which nodes it shares stick tables with, and whether it has learned their entries. A reload before that
//! loses entries: tried on HAProxy 2.6, all of them 2 s after a start, and none 4 s after it.

use std::collections::BTreeSet;
use std::io;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use templates::files::PEERS_SECTION;

use super::admin::Admin;

/// The age of a process that a reload may replace. It also bounds the number of old processes.
const AGE: Duration = Duration::from_secs(5);
/// The longest wait for what a process learns. HAProxy waits 5 s for its previous process, and then 5 s for a peer.
const LEARNING: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_millis(200);

/// What HAProxy says of the nodes that share its stick tables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sharing {
    /// The nodes, this one included.
    pub nodes: BTreeSet<Ipv4Addr>,
    /// The other nodes that it is connected to.
    pub connected: BTreeSet<Ipv4Addr>,
    /// Whether it has learned the entries of its previous process or of a peer, or has given up.
    has_learned: bool,
    /// How long ago the process started.
    age: Duration,
}

impl Sharing {
    fn may_reload(&self) -> bool {
        self.has_learned && self.age >= AGE
    }
}

/// Asks the process that answers; none if it shares no tables.
pub async fn sharing() -> io::Result<Option<Sharing>> {
    let mut admin = Admin::connect().await?;
    Ok(parse(&[admin.info().await?, admin.peers().await?].concat()))
}

/// Waits until a reload loses no entry, at most [`LEARNING`]; not at all if HAProxy shares no tables or doesn't answer.
pub async fn until_learned() {
    let since = Instant::now();
    while since.elapsed() < LEARNING && matches!(sharing().await, Ok(Some(sharing)) if !sharing.may_reload()) {
        tokio::time::sleep(LOOK).await;
    }
}

/// Reads `show info` and then `show peers` (HAProxy's management guide, 9.3). Bits 0 and 1 of a section's flags say
/// that nothing is left to learn, from the previous process and from peers (PEERS_F_RESYNC_LOCAL and
/// PEERS_F_RESYNC_REMOTE in HAProxy's peers-t.h).
fn parse(answer: &str) -> Option<Sharing> {
    let section = answer.lines().find(|line| field(line, "id=") == Some(PEERS_SECTION))?;
    let flags = u32::from_str_radix(field(section, "flags=0x")?, 16).ok()?;
    let uptime = answer.lines().find_map(|line| line.strip_prefix("Uptime_sec: ")?.trim().parse().ok());
    let mut sharing = Sharing {
        nodes: BTreeSet::new(),
        connected: BTreeSet::new(),
        has_learned: flags & 3 == 3,
        age: uptime.map_or(Duration::MAX, Duration::from_secs),
    };
    for line in answer.lines() {
        let Some((name, kind)) = field(line, "id=").and_then(|id| id.split_once('(')) else { continue };
        let Ok(address) = name.parse::<Ipv4Addr>() else { continue };
        sharing.nodes.insert(address);
        if kind.starts_with("remote") && field(line, "last_status=") == Some("ESTA") {
            sharing.connected.insert(address);
        }
    }
    Some(sharing)
}

/// The rest of the word that begins with `key`.
fn field<'a>(line: &'a str, key: &str) -> Option<&'a str> {
    line.split_whitespace().find_map(|word| word.strip_prefix(key))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A process that shares its tables among `nodes`.
    pub fn shared(nodes: &[Ipv4Addr], connected: &[Ipv4Addr]) -> Sharing {
        let [nodes, connected] = [nodes, connected].map(|list| list.iter().copied().collect());
        Sharing { nodes, connected, has_learned: true, age: AGE }
    }

    /// As HAProxy 2.6 writes it.
    fn answer(uptime: u64, flags: &str, status: &str) -> String {
        format!(
            "Name: HAProxy\nVersion: 2.6.12\nUptime: 0d 0h00m00s\nUptime_sec: {uptime}\nNode: ip-10-0-1-10\n\n\
             0x55d0c8: [30/Nov/2026:10:42:25] id=elbow disabled=0 flags={flags} resync_timeout=<PAST> task_calls=7\n  \
             0x55d1a0: id=10.0.2.10(remote,active) addr=10.0.2.10:9112 last_status={status} last_hdshk=2s\n        \
             reconnect=3s heartbeat=1s confirm=0 tx_hbt=1 rx_hbt=1 no_hbt=0 new_conn=1 proto_err=0 coll=0\n        \
             flags=0x2000000 appctx:0x55d2 st0=7 st1=0 task_calls=4 state=EST\n        \
             shared tables:\n          0x55d3 local_id=1 remote_id=1 flags=0x0 remote_data=0x1a\n              \
             table:0x55d4 id=blue-tls update=3 localupdate=3 commitupdate=3 refcnt=1\n  \
             0x55d5: id=10.0.1.10(local,inactive) addr=10.0.1.10:9112 last_status=NONE last_hdshk=<NEVER>\n\n"
        )
    }

    fn node(last: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, 0, last, 10)
    }

    #[test]
    fn a_reload_waits_for_a_young_process_and_for_one_that_learns() {
        let may_reload = |uptime, flags| parse(&answer(uptime, flags, "ESTA")).unwrap().may_reload();
        assert!(may_reload(5, "0x3") && may_reload(3600, "0x20c3"));
        assert!(!may_reload(4, "0x3"));
        assert!(!may_reload(60, "0x0") && !may_reload(60, "0x1") && !may_reload(60, "0x5"));
    }

    #[test]
    fn peers_are_the_nodes_and_connected_if_established() {
        let sharing = parse(&answer(9, "0x3", "ESTA")).unwrap();
        assert_eq!(sharing.nodes, BTreeSet::from([node(1), node(2)]));
        assert_eq!(sharing.connected, BTreeSet::from([node(2)]));
        assert_eq!(parse(&answer(9, "0x3", "CONN")).unwrap().connected, BTreeSet::new());
    }

    #[test]
    fn without_a_section_there_is_nothing_to_wait_for() {
        assert_eq!(parse("Name: HAProxy\nUptime_sec: 1\n\n\n"), None);
        assert_eq!(parse(""), None);
    }
}
