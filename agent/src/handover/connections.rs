//! Counts this node's open connections to its virtual IPs in the kernel's table, which covers every HAProxy process.

use std::collections::HashSet;
use std::net::Ipv4Addr;

use anyhow::Context;

/// proc(5): every IPv4 connection of this network namespace, one line each.
const TABLE: &str = "/proc/net/tcp";

/// ESTABLISHED; FIN_WAIT1, closed here with bytes still to be delivered; CLOSE_WAIT, closed by the client, which may
/// wait for an answer (include/net/tcp_states.h).
const OPEN: [&str; 3] = ["01", "04", "08"];

/// How many connections to `vips` are open now. Reads on a blocking thread, as a long table takes a while.
pub async fn open(vips: Vec<Ipv4Addr>) -> anyhow::Result<usize> {
    Ok(listed(&table().await?, &vips).len())
}

async fn table() -> anyhow::Result<String> {
    let read = tokio::task::spawn_blocking(|| std::fs::read_to_string(TABLE));
    read.await.context("counting connections")?.with_context(|| format!("reading {TABLE}"))
}

/// Both ends of each open connection, as the table writes them: `0: 0A00FF0A:0050 0B03000A:C350 01`. An address is its
/// bytes as a native-endian number. The kernel writes the table in pieces and may list a connection twice.
fn listed<'a>(table: &'a str, vips: &[Ipv4Addr]) -> HashSet<(&'a str, &'a str)> {
    let ends = |line: &'a str| {
        let mut fields = line.split_whitespace().skip(1);
        let (local, remote, state) = (fields.next()?, fields.next()?, fields.next()?);
        let raw = u32::from_str_radix(local.split(':').next()?, 16).ok()?;
        let counts = vips.contains(&Ipv4Addr::from(raw.to_ne_bytes())) && OPEN.contains(&state);
        counts.then_some((local, remote))
    };
    table.lines().skip(1).filter_map(ends).collect()
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    #[test]
    fn only_open_connections_to_a_virtual_ip_count() {
        let address = |ip: [u8; 4]| format!("{:08X}", u32::from_ne_bytes(ip));
        let (vip, own, any) = (address([10, 255, 0, 10]), address([10, 0, 1, 10]), address([0, 0, 0, 0]));
        let table = format!(
            "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n   \
             0: {any}:0050 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1\n   \
             1: {vip}:0050 0B03000A:C350 01 00000000:00000000 02:00000000 00000000     0        0 2 2\n   \
             2: {vip}:0050 0B03000A:C351 06 00000000:00000000 03:00000000 00000000     0        0 0 3\n   \
             3: {vip}:0050 0B03000A:C352 08 00000000:00000000 02:00000000 00000000     0        0 3 2\n   \
             1: {vip}:0050 0B03000A:C350 01 00000000:00000000 02:00000000 00000000     0        0 2 2\n   \
             4: {own}:9110 0B03000A:C353 01 00000000:00000000 02:00000000 00000000     0        0 4 2\n"
        );
        assert_eq!(listed(&table, &[Ipv4Addr::new(10, 255, 0, 10)]).len(), 2, "each connection counts once");
    }

    #[tokio::test]
    async fn the_kernels_own_table_is_read() {
        let vip = Ipv4Addr::new(127, 0, 0, 77);
        let listener = std::net::TcpListener::bind((vip, 0)).unwrap();
        let client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let written = |end: std::io::Result<SocketAddr>| match end.unwrap() {
            SocketAddr::V4(end) => format!("{:08X}:{:04X}", u32::from_ne_bytes(end.ip().octets()), end.port()),
            SocketAddr::V6(end) => panic!("{end} isn't IPv4"),
        };
        let ends = (written(client.peer_addr()), written(client.local_addr()));
        let table = table().await.unwrap();
        assert!(listed(&table, &[vip]).contains(&(ends.0.as_str(), ends.1.as_str())), "{ends:?} isn't in\n{table}");
    }
}
