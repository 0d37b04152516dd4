//! Puts the virtual IPs on `lo`. Every node carries all of them all the time, so that HAProxy answers all packets
//! routed here. Their label identifies those of an earlier configuration, which are removed. keepalived puts a token
//! address on `lo` for each virtual IP that this node is MASTER of.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use anyhow::Context;
use serde::Deserialize;
use templates::files::token;

use crate::host::process;

/// The label of the agent's addresses on `lo`. ip-address(8): a label begins with the device's name.
const LABEL: &str = "lo:elbow";

/// An address on `lo`, and whether the agent put it there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    ip: Ipv4Addr,
    ours: bool,
}

#[derive(Debug, PartialEq, Eq)]
enum Change {
    Add(Ipv4Addr),
    Remove(Ipv4Addr),
}

/// Puts the virtual IPs on `lo`, and removes stale ones. Returns whether it changed anything.
pub async fn ensure(vips: &[Ipv4Addr]) -> anyhow::Result<bool> {
    let changes = plan(&addresses().await?, vips);
    let changed = !changes.is_empty();
    for change in changes {
        let (verb, ip) = match change {
            Change::Add(ip) => ("add", ip),
            Change::Remove(ip) => ("delete", ip),
        };
        let mut arguments = vec!["address", verb];
        let ip = format!("{ip}/32");
        arguments.extend([ip.as_str(), "dev", "lo"]);
        if verb == "add" {
            arguments.extend(["label", LABEL]);
        }
        process::run("ip", &arguments).await?;
        tracing::info!(%ip, "{}", if verb == "add" { "added virtual IP to lo" } else { "removed stale virtual IP" });
    }
    Ok(changed)
}

/// The virtual IPs, by number, of which this node is MASTER according to keepalived's token addresses.
pub async fn mastered(vips: usize) -> anyhow::Result<BTreeSet<usize>> {
    let present = addresses().await?;
    Ok((0..vips).filter(|vip| present.iter().any(|address| address.ip == token(*vip))).collect())
}

async fn addresses() -> anyhow::Result<Vec<Address>> {
    parse(&process::run("ip", &["-json", "-4", "address", "show", "dev", "lo"]).await?)
}

fn parse(json: &str) -> anyhow::Result<Vec<Address>> {
    #[derive(Deserialize)]
    struct Link {
        #[serde(default)]
        addr_info: Vec<Info>,
    }
    #[derive(Deserialize)]
    struct Info {
        local: Option<Ipv4Addr>,
        label: Option<String>,
    }
    let links: Vec<Link> = serde_json::from_str(json).context("parsing the output of ip address show dev lo")?;
    let infos = links.into_iter().flat_map(|link| link.addr_info);
    Ok(infos.filter_map(|info| Some(Address { ip: info.local?, ours: info.label.as_deref() == Some(LABEL) })).collect())
}

fn plan(present: &[Address], vips: &[Ipv4Addr]) -> Vec<Change> {
    let missing = vips.iter().copied().filter(|vip| !present.iter().any(|address| address.ip == *vip));
    let add = missing.map(Change::Add);
    let stale = present.iter().filter(|address| address.ours && !vips.contains(&address.ip));
    add.chain(stale.map(|address| Change::Remove(address.ip))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Ipv4Addr = Ipv4Addr::new(10, 255, 0, 10);
    const B: Ipv4Addr = Ipv4Addr::new(10, 255, 0, 11);

    #[test]
    fn addresses_are_read_as_ip_prints_them() {
        let json = r#"[{"ifindex":1,"ifname":"lo","flags":["LOOPBACK","UP"],"addr_info":[
            {"family":"inet","local":"127.0.0.1","prefixlen":8,"scope":"host","label":"lo"},
            {"family":"inet","local":"10.255.0.10","prefixlen":32,"scope":"global","label":"lo:elbow"}]}]"#;
        let localhost = Address { ip: Ipv4Addr::LOCALHOST, ours: false };
        assert_eq!(parse(json).unwrap(), [localhost, Address { ip: A, ours: true }]);
    }

    #[test]
    fn missing_addresses_are_added_and_stale_ones_removed() {
        let present = [Address { ip: A, ours: true }, Address { ip: Ipv4Addr::LOCALHOST, ours: false }];
        assert_eq!(plan(&present, &[A]), []);
        assert_eq!(plan(&present, &[B]), [Change::Add(B), Change::Remove(A)]);
    }

    #[test]
    fn an_address_of_another_program_is_never_removed() {
        assert_eq!(plan(&[Address { ip: B, ours: false }], &[]), []);
    }
}
