//! A node's user-data: cloud-init writes its files and runs the install step, which starts the agent.

use std::io::{Read, Write};

use askama::Template;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flate2::read::GzDecoder;
use flate2::{Compression, GzBuilder};

use super::{
    agent_unit, haproxy_unit, install_script, keepalived_unit, logrotate_conf, render, rsyslog_conf, sysctl_conf,
};
use crate::balancer::{BadNodeConfig, Balancer, NodeConfig, Revision};
use crate::paths;

/// Bytes of user-data that EC2 takes, before base64 (EC2 User Guide, "Run commands when you launch an EC2 instance").
pub const USER_DATA_LIMIT: usize = 16 * 1024;

/// Precedes the version of the Elbow that made it.
const MAKER: &str = "# Made by Elbow ";
/// Marks the line before the node's configuration, which is one line of JSON. [`read_back`] looks for this mark.
const MARK: &str = " # elbow:node-config";

/// User-data that EC2 would refuse.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the compressed user-data has {size} bytes, and EC2 accepts {USER_DATA_LIMIT}; use fewer rules or targets ({parts})"
)]
pub struct TooBig {
    /// Bytes after gzip.
    pub size: usize,
    /// What takes how many of them, alone.
    pub parts: String,
}

/// User-data that holds no node's configuration.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// Not base64 of gzip of text.
    #[error("the user-data is not base64 of gzip of cloud-config, as Elbow writes it")]
    Packing,
    /// Cloud-config without the file, or without the mark before it.
    #[error("the user-data has no {}", paths::BALANCER)]
    Absent,
    /// The file isn't valid.
    #[error(transparent)]
    Config(#[from] BadNodeConfig),
}

#[derive(Template)]
#[template(path = "user-data.yaml", escape = "none")]
struct UserData<'a> {
    balancer: &'a Balancer,
    revision: Revision,
    maker: &'static str,
    version: &'static str,
    files: Vec<File>,
    install: &'static str,
}

struct File {
    path: &'static str,
    mode: &'static str,
    mark: &'static str,
    content: String,
}

/// The user-data of a balancer's nodes, as plain `#cloud-config`.
pub fn user_data(balancer: &Balancer) -> String {
    let file = |path, content| File { path, mode: "0644", mark: "", content };
    render(&UserData {
        balancer,
        revision: balancer.revision(),
        maker: MAKER,
        version: env!("CARGO_PKG_VERSION"),
        files: vec![
            // Only root may read it, as it may contain a webhook's address.
            File { mode: "0600", mark: MARK, ..file(paths::BALANCER, NodeConfig::of(balancer).to_json()) },
            File { mode: "0755", ..file(paths::INSTALL, install_script(balancer)) },
            file(paths::AGENT_UNIT, agent_unit(balancer)),
            file(paths::HAPROXY_UNIT, haproxy_unit()),
            file(paths::KEEPALIVED_UNIT, keepalived_unit()),
            file(paths::RSYSLOG, rsyslog_conf(balancer)),
            file(paths::LOGROTATE, logrotate_conf()),
            file(paths::SYSCTL, sysctl_conf(balancer)),
        ],
        install: paths::INSTALL,
    })
}

/// The user-data, compressed for a launch: the same bytes for the same balancer, always.
pub fn user_data_gzip(balancer: &Balancer) -> Result<Vec<u8>, TooBig> {
    let bytes = gzip(&user_data(balancer));
    match bytes.len() {
        0..=USER_DATA_LIMIT => Ok(bytes),
        size => Err(TooBig { size, parts: parts(balancer) }),
    }
}

fn gzip(text: &str) -> Vec<u8> {
    // No time and no operating system in the header: they would change the bytes.
    let mut gzip = GzBuilder::new().mtime(0).operating_system(255).write(Vec::new(), Compression::best());
    gzip.write_all(text.as_bytes()).expect("writing to memory");
    gzip.finish().expect("writing to memory")
}

/// The compressed sizes of a balancer's parts.
fn parts(balancer: &Balancer) -> String {
    let config = NodeConfig::of(balancer).to_json();
    let json = |value: &serde_json::Value| gzip(&value.to_string()).len();
    let of = |value: Result<serde_json::Value, serde_json::Error>| value.as_ref().map_or(0, json);
    let others = user_data(balancer).replace(config.trim_end(), "");
    let extra = balancer.haproxy.extra.as_ref().map_or(0, |extra| gzip(&extra.text).len());
    [
        ("install.sh and units", gzip(&others).len()),
        ("listeners and rules", of(serde_json::to_value(&balancer.listeners))),
        ("target groups", of(serde_json::to_value(&balancer.target_groups))),
        ("[haproxy] extra", extra),
    ]
    .map(|(part, size)| format!("{part}: {size}"))
    .join(", ")
}

/// Reads the node's configuration out of user-data, in base64 as EC2 returns it.
///
/// # Errors
/// If it contains none, or an invalid one.
pub fn read_back(user_data: &str) -> Result<NodeConfig, Unreadable> {
    let text = unpacked(user_data)?;
    let config = text.lines().skip_while(|line| !line.ends_with(MARK)).nth(1).ok_or(Unreadable::Absent)?;
    Ok(NodeConfig::parse(config)?)
}

/// The version of the Elbow that made it, if it names one.
pub fn maker(user_data: &str) -> Option<String> {
    let text = unpacked(user_data).ok()?;
    text.lines().take_while(|line| line.starts_with('#')).find_map(|line| line.strip_prefix(MAKER)).map(str::to_owned)
}

fn unpacked(user_data: &str) -> Result<String, Unreadable> {
    let bytes = STANDARD.decode(user_data).map_err(|_| Unreadable::Packing)?;
    let mut text = String::new();
    // Elbow's user-data never unpacks to more, and a node has little memory.
    let limit = 64 * USER_DATA_LIMIT as u64;
    GzDecoder::new(bytes.as_slice()).take(limit).read_to_string(&mut text).map_err(|_| Unreadable::Packing)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use sha2::{Digest, Sha256};

    use super::*;
    use crate::balancer::{Address, Architecture, Target};

    fn balancer() -> Balancer {
        Balancer::parse(include_str!("../../goldens/big/balancer.toml")).unwrap()
    }

    #[test]
    fn compressed_user_data_is_the_same_bytes_each_time_and_unpacks_to_the_plain() {
        let bytes = user_data_gzip(&balancer()).unwrap();
        assert_eq!(bytes, user_data_gzip(&balancer()).unwrap());
        let mut text = String::new();
        GzDecoder::new(&bytes[..]).read_to_string(&mut text).unwrap();
        assert_eq!(text, user_data(&balancer()));
    }

    #[test]
    fn the_configuration_is_read_back_from_what_is_launched() {
        let pack = |bytes: &[u8]| STANDARD.encode(bytes);
        let bytes = user_data_gzip(&balancer()).unwrap();
        assert_eq!(read_back(&pack(&bytes)).unwrap(), NodeConfig::of(&balancer()));
        assert_eq!(maker(&pack(&bytes)).as_deref(), Some(env!("CARGO_PKG_VERSION")));
        assert!(matches!(read_back("bm90IGd6aXA="), Err(Unreadable::Packing)));
        let gzip = |text: &str| {
            let mut gzip = GzBuilder::new().write(Vec::new(), Compression::best());
            gzip.write_all(text.as_bytes()).unwrap();
            pack(&gzip.finish().unwrap())
        };
        assert!(matches!(read_back(&gzip("#cloud-config\n")), Err(Unreadable::Absent)));
        let bent = user_data(&balancer()).replace("5432", "5433");
        assert!(matches!(read_back(&gzip(&bent)), Err(Unreadable::Config(BadNodeConfig::Revision { .. }))));
    }

    #[test]
    fn user_data_that_ec2_would_refuse_is_refused_here() {
        let mut big = balancer();
        // Addresses without a pattern, as gzip would find it.
        let target = |n: u32| {
            let hash = Sha256::digest(n.to_be_bytes());
            let port = u16::from_be_bytes([hash[3], hash[4]]);
            let address = Address { ip: [10, hash[0], hash[1], hash[2]].into(), port: Some(port) };
            Target { address, weight: None, backup: false }
        };
        big.listeners[0].targets = Some((0..4000).map(target).collect());
        let refused = user_data_gzip(&big).unwrap_err();
        assert!(refused.size > USER_DATA_LIMIT);
        let said = refused.to_string();
        assert!(said.contains("16384"), "{said}");
        let size = |part: &str| -> usize {
            let (_, rest) = said.split_once(&format!("{part}: ")).unwrap_or_else(|| panic!("{part}: {said}"));
            rest.split([',', ')']).next().unwrap().parse().unwrap()
        };
        assert!(size("listeners and rules") > USER_DATA_LIMIT && size("install.sh and units") < 8 * 1024, "{said}");
        assert!(size("target groups") < 1024 && size("[haproxy] extra") < 1024, "{said}");
    }

    /// 200 host rules over 50 groups with 200 targets, and 4 KB of the operator's own sections.
    fn largest() -> Balancer {
        let head = include_str!("../../goldens/small/balancer.toml").split("[[listener]]").next().unwrap();
        let words = ["shop", "cart", "auth", "mail", "media", "search", "billing", "report", "stock", "admin"];
        let hash = |n: u32| Sha256::digest(n.to_be_bytes());
        let mut text = format!(
            "{head}[haproxy]\nextra = \"extra.cfg\"\n[[listener]]\nname = \"web\"\nport = 80\nprotocol = \"http\"\n\
             respond = {{ status = 404 }}\n"
        );
        for n in 0..200 {
            let (word, other) = (words[n as usize % 10], words[hash(n)[0] as usize % 10]);
            text += &format!(
                "[[listener.rule]]\nif = {{ host = [\"{word}-{other}{n}.example.com\"] }}\nforward = \"{word}-{}\"\n",
                n % 50
            );
        }
        for n in 0..50u32 {
            let targets: Vec<String> =
                (0..4).map(|t| hash(1000 + 4 * n + t)).map(|h| format!("\"10.0.{}.{}:8080\"", h[0], h[1])).collect();
            text += &format!(
                "[[target_group]]\nname = \"{}-{n}\"\nprotocol = \"http\"\ntargets = [{}]\nhealth_check = {{ path = \"/healthz\" }}\n",
                words[n as usize % 10],
                targets.join(", ")
            );
        }
        let mut extra = String::new();
        for n in 0.. {
            if extra.len() > 4096 {
                break;
            }
            let h = hash(5000 + n);
            extra += &format!(
                "backend own-{n}\n    mode tcp\n    tcp-check expect string role:{:x}\n    server s{n} 10.1.{}.{}:6379 check\n",
                h[2], h[0], h[1]
            );
        }
        crate::balancer::examine(&text, &|_| Ok(extra.clone())).valid().unwrap()
    }

    #[test]
    fn two_hundred_rules_fit_into_user_data() {
        let bytes = user_data_gzip(&largest()).unwrap_or_else(|too_big| panic!("{too_big}"));
        assert!(bytes.len() < USER_DATA_LIMIT * 9 / 10, "{} bytes: {}", bytes.len(), parts(&largest()));
        // Requests to S3 are signed by a program in the install step.
        let agents = Architecture::ALL.map(|kind| (kind, hex::encode(Sha256::digest(kind.to_string())))).into();
        let managed = Balancer { agent: None, agents, ..largest() };
        user_data_gzip(&managed).unwrap_or_else(|too_big| panic!("{too_big}"));
    }
}
