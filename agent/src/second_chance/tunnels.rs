//! Makes the tunnels between members: VXLAN over the interfaces' own addresses, one for each hop, so that a packet
//! shows how far it has come. Neighbours and forwarding entries are static: without ARP and flooding, the very first
//! packet arrives. Correct tunnels are left alone, so that packets under way aren't lost.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::io::ErrorKind;
use std::net::Ipv4Addr;
use std::path::Path;

use anyhow::Context;
use serde::Deserialize;
use templates::files::{AROUND, HOPS, NAMES, tunnel, tunnel_name};
use templates::paths::TUNNEL_PORT;

use crate::host::process;

/// The network identifier of hop `n` is this plus `n`.
const NETWORK: u32 = 0x00e1_b000;

/// The tunnels of this node.
#[derive(Debug)]
pub(super) struct Tunnels {
    interface: String,
    address: Ipv4Addr,
    mtu: u16,
}

/// A tunnel, as ip-link(8) shows it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Link {
    ifname: String,
    address: String,
    mtu: u32,
    linkinfo: Info,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Info {
    info_data: Data,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Data {
    id: u32,
    local: Option<Ipv4Addr>,
    port: u16,
}

/// A member's address in a tunnel, as ip-neighbour(8) shows it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Neighbour {
    dev: String,
    dst: Option<Ipv4Addr>,
}

/// A forwarding entry, as bridge(8) shows it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Entry {
    mac: String,
    ifname: String,
    dst: Option<Ipv4Addr>,
}

impl Tunnels {
    pub(super) fn on(interface: &str, address: Ipv4Addr) -> anyhow::Result<Tunnels> {
        let path = Path::new("/sys/class/net").join(interface).join("mtu");
        let text = std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
        let mtu = text.trim().parse().with_context(|| format!("{}: {text:?} is no MTU", path.display()))?;
        Ok(Tunnels { interface: interface.to_owned(), address, mtu })
    }

    /// The interface's MTU, in bytes.
    pub(super) fn mtu(&self) -> u16 {
        self.mtu
    }

    /// The ip-link(8) commands that make missing or wrong tunnels; empty if there are none.
    pub(super) async fn missing(&self) -> anyhow::Result<String> {
        let links = process::run("ip", &["-json", "-details", "link", "show", "type", "vxlan"]).await?;
        Ok(self.links(&list(&links).context("parsing the VXLAN links that ip prints")?))
    }

    /// Makes the tunnels that are `missing`, and points all tunnels at `peers` only.
    pub(super) async fn lead_to(&self, peers: &[Ipv4Addr], missing: &str) -> anyhow::Result<()> {
        process::feed("ip", &["-batch", "-"], missing).await.context("creating the tunnels between the nodes")?;
        for hop in 1..=HOPS {
            set_static(&tunnel(hop))?;
        }
        let first = tunnel(1);
        let there: Vec<Ipv4Addr> =
            neighbours().await?.into_iter().filter(|(dev, _)| *dev == first).map(|(_, name)| name).collect();
        let (names, ways) = members(&there, peers);
        process::feed("bridge", &["-batch", "-"], &ways).await.context("setting the tunnels' forwarding entries")?;
        process::feed("ip", &["-batch", "-"], &names).await.context("setting the tunnels' neighbours")?;
        Ok(())
    }

    /// Whether each tunnel has the neighbours and forwarding entries for `peers`, and no others.
    pub(super) async fn lead_only_to(&self, peers: &[Ipv4Addr]) -> anyhow::Result<bool> {
        let all = || (1..=HOPS).map(tunnel).flat_map(|tunnel| peers.iter().map(move |peer| (tunnel.clone(), *peer)));
        let is_ours = |device: &str| (1..=HOPS).any(|hop| device == tunnel(hop));
        let names: BTreeSet<_> = all().map(|(tunnel, peer)| (tunnel, tunnel_name(peer))).collect();
        let there = neighbours().await?.into_iter().filter(|(device, _)| is_ours(device));
        if there.collect::<BTreeSet<_>>() != names {
            return Ok(false);
        }
        let ways: BTreeSet<_> = all().map(|(tunnel, peer)| (tunnel, hardware(tunnel_name(peer)), peer)).collect();
        let there = process::run("bridge", &["-json", "fdb", "show"]).await?;
        let there: Vec<Entry> = list(&there).context("parsing the forwarding entries that bridge prints")?;
        let there = there.into_iter().filter(|entry| is_ours(&entry.ifname));
        Ok(there.filter_map(|entry| Some((entry.ifname, entry.mac, entry.dst?))).collect::<BTreeSet<_>>() == ways)
    }

    fn links(&self, there: &[Link]) -> String {
        let mut batch = String::new();
        for hop in 1..=HOPS {
            let (name, id) = (tunnel(hop), NETWORK + hop as u32);
            let link = there.iter().find(|link| link.ifname == name);
            let data = link.map(|link| &link.linkinfo.info_data);
            let right = data
                .is_some_and(|data| (data.id, data.local, data.port) == (id, Some(self.address), TUNNEL_PORT))
                && link.is_some_and(|link| {
                    link.address == hardware(tunnel_name(self.address)) && link.mtu == u32::from(self.mtu - AROUND)
                });
            if !right {
                self.link(&mut batch, hop, link.is_some());
            }
        }
        batch
    }

    fn link(&self, batch: &mut String, hop: usize, wrong: bool) {
        let (name, id, me) = (tunnel(hop), NETWORK + hop as u32, tunnel_name(self.address));
        let mut line = |text: String| writeln!(batch, "{text}").expect("writing to memory");
        if wrong {
            line(format!("link delete {name}"));
        }
        let (local, mtu, card) = (self.address, self.mtu - AROUND, &self.interface);
        line(format!(
            "link add {name} mtu {mtu} address {} type vxlan id {id} local {local} dev {card} dstport {TUNNEL_PORT} nolearning",
            hardware(me)
        ));
        line(format!("link set {name} up"));
        match hop {
            1 => line(format!("address add {me}/4 dev {name}")),
            _ => line(format!("route replace {NAMES} dev {name} metric {hop}")),
        }
    }
}

/// The static neighbours of each interface.
async fn neighbours() -> anyhow::Result<Vec<(String, Ipv4Addr)>> {
    let there = process::run("ip", &["-json", "-4", "neighbour", "show", "nud", "permanent"]).await?;
    let there: Vec<Neighbour> = list(&there).context("parsing the neighbours that ip prints")?;
    Ok(there.into_iter().filter_map(|neighbour| Some((neighbour.dev, neighbour.dst?))).collect())
}

/// The commands for ip-neighbour(8) and bridge(8) that add `peers` and remove former peers.
fn members(there: &[Ipv4Addr], peers: &[Ipv4Addr]) -> (String, String) {
    let (mut names, mut ways) = (String::new(), String::new());
    for tunnel in (1..=HOPS).map(tunnel) {
        for peer in peers {
            let (name, card) = (tunnel_name(*peer), hardware(tunnel_name(*peer)));
            writeln!(names, "neighbour replace {name} lladdr {card} dev {tunnel} nud permanent").expect("to memory");
            writeln!(ways, "fdb replace {card} dev {tunnel} dst {peer} self permanent").expect("to memory");
        }
        for name in there.iter().filter(|name| !peers.iter().any(|peer| tunnel_name(*peer) == **name)) {
            writeln!(names, "neighbour delete {name} dev {tunnel}").expect("to memory");
            writeln!(ways, "fdb delete {} dev {tunnel} self", hardware(*name)).expect("to memory");
        }
    }
    (names, ways)
}

/// The hardware address of a tunnel address: locally administered, and unique.
fn hardware(name: Ipv4Addr) -> String {
    let [a, b, c, d] = name.octets();
    format!("02:eb:{a:02x}:{b:02x}:{c:02x}:{d:02x}")
}

/// Turns off reverse path filtering, as clients' packets in a tunnel have another way back, and IPv6, which tunnels
/// don't use.
fn set_static(tunnel: &str) -> anyhow::Result<()> {
    for (setting, value) in [("ipv4/conf/{}/rp_filter", "0"), ("ipv6/conf/{}/disable_ipv6", "1")] {
        let path = Path::new("/proc/sys/net").join(setting.replace("{}", tunnel));
        match std::fs::write(&path, value) {
            // A kernel without IPv6.
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            other => other.with_context(|| format!("setting {}", path.display()))?,
        }
    }
    Ok(())
}

/// A list that iproute2 prints. Some versions print nothing for an empty one.
fn list<'a, T: Deserialize<'a>>(json: &'a str) -> serde_json::Result<Vec<T>> {
    if json.trim().is_empty() { Ok(Vec::new()) } else { serde_json::from_str(json) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ME: Ipv4Addr = Ipv4Addr::new(10, 0, 1, 4);
    const PEER: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 4);

    fn tunnels() -> Tunnels {
        Tunnels { interface: "ens5".into(), address: ME, mtu: 9001 }
    }

    /// As iproute2 prints it.
    fn shown(hop: usize, local: &str) -> String {
        let id = NETWORK + hop as u32;
        format!(
            r#"{{"ifindex":3,"ifname":"elbow{hop}","flags":["UP"],"mtu":8951,"link_type":"ether","address":"02:eb:fa:00:01:04",
            "linkinfo":{{"info_kind":"vxlan","info_data":{{"id":{id},"local":"{local}","link":"ens5","port":4789}}}}}}"#
        )
    }

    #[test]
    fn tunnels_that_are_right_are_left_alone() {
        let all = (1..=HOPS).map(|hop| shown(hop, "10.0.1.4")).collect::<Vec<_>>().join(",");
        assert_eq!(tunnels().links(&list(&format!("[{all}]")).unwrap()), "");
    }

    #[test]
    fn a_tunnel_from_another_address_is_made_anew() {
        let all = (1..=HOPS).map(|hop| shown(hop, if hop == 2 { "10.0.1.9" } else { "10.0.1.4" }));
        let all = all.collect::<Vec<_>>().join(",");
        let expected = format!(
            "link delete elbow2\n\
             link add elbow2 mtu 8951 address 02:eb:fa:00:01:04 type vxlan id {} local 10.0.1.4 dev ens5 dstport 4789 nolearning\n\
             link set elbow2 up\nroute replace 240.0.0.0/4 dev elbow2 metric 2\n",
            NETWORK + 2
        );
        assert_eq!(tunnels().links(&list(&format!("[{{}},{all}]")).unwrap()), expected);
    }

    #[test]
    fn former_peers_are_removed() {
        let gone = Ipv4Addr::new(250, 0, 3, 4);
        let (names, ways) = members(&[gone, tunnel_name(PEER)], &[PEER]);
        assert!(names.starts_with(
            "neighbour replace 250.0.2.4 lladdr 02:eb:fa:00:02:04 dev elbow1 nud permanent\n\
             neighbour delete 250.0.3.4 dev elbow1\n"
        ));
        assert!(ways.starts_with(
            "fdb replace 02:eb:fa:00:02:04 dev elbow1 dst 10.0.2.4 self permanent\n\
             fdb delete 02:eb:fa:00:03:04 dev elbow1 self\n"
        ));
    }

    #[test]
    fn no_links_are_an_empty_list_in_every_version() {
        assert!(list::<Link>("").unwrap().is_empty());
        assert!(list::<Link>("[]\n").unwrap().is_empty());
    }
}
