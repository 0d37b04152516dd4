//! How many connections still stand through the virtual IPs of this node: the kernel knows, whichever HAProxy process
//! they belong to.

use std::net::Ipv4Addr;

use anyhow::Context;

/// proc(5): every IPv4 connection of this network namespace, a line each.
const TABLE: &str = "/proc/net/tcp";

/// ESTABLISHED; FIN_WAIT1, closed here with bytes still to be delivered; CLOSE_WAIT, closed by the client, who may wait
/// for an answer (include/net/tcp_states.h).
const OPEN: [&str; 3] = ["01", "04", "08"];

/// How many are open now. Reading many takes a while, so it is done beside everything else.
pub async fn open(vips: Vec<Ipv4Addr>) -> anyhow::Result<usize> {
    let read = tokio::task::spawn_blocking(|| std::fs::read_to_string(TABLE));
    let table = read.await.context("counting connections")?.with_context(|| format!("reading {TABLE}"))?;
    Ok(count(&table, &vips))
}

/// Lines are like `0: 0A00FF0A:0050 0B03000A:C350 01 …`: an address is its bytes as a number of this machine's.
fn count(table: &str, vips: &[Ipv4Addr]) -> usize {
    let open = |line: &&str| {
        let mut fields = line.split_whitespace().skip(1);
        let local = fields.next().and_then(|field| field.split(':').next());
        let address =
            local.and_then(|hex| u32::from_str_radix(hex, 16).ok()).map(|raw| Ipv4Addr::from(raw.to_ne_bytes()));
        let state = fields.nth(1).unwrap_or_default();
        address.is_some_and(|address| vips.contains(&address)) && OPEN.contains(&state)
    };
    table.lines().skip(1).filter(open).count()
}

#[cfg(test)]
mod tests {
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
             4: {own}:9110 0B03000A:C353 01 00000000:00000000 02:00000000 00000000     0        0 4 2\n"
        );
        assert_eq!(count(&table, &[Ipv4Addr::new(10, 255, 0, 10)]), 2);
    }

    #[tokio::test]
    async fn the_kernels_own_table_is_read() {
        let listener = std::net::TcpListener::bind("127.0.0.77:0").unwrap();
        let before = open(vec![Ipv4Addr::new(127, 0, 0, 77)]).await.unwrap();
        let _client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        assert_eq!(open(vec![Ipv4Addr::new(127, 0, 0, 77)]).await.unwrap(), before + 1);
    }
}
