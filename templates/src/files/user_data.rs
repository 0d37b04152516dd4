//! What a node boots with: cloud-init writes the files and runs the install step, and the agent does the rest.

use std::io::Write;

use askama::Template;
use flate2::{Compression, GzBuilder};

use super::{agent_unit, haproxy_unit, keepalived_unit, logrotate_conf, render, rsyslog_conf, sysctl_conf};
use crate::balancer::{Balancer, NodeConfig, Revision};
use crate::paths;

/// Bytes of user-data that EC2 takes, before base64 (EC2 User Guide, "Run commands when you launch an EC2 instance").
pub const USER_DATA_LIMIT: usize = 16 * 1024;

/// User-data that EC2 would refuse.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the user-data is {size} bytes even compressed, and EC2 takes {USER_DATA_LIMIT}: use fewer listeners or targets"
)]
pub struct TooBig {
    /// Bytes after gzip.
    pub size: usize,
}

#[derive(Template)]
#[template(path = "user-data.yaml", escape = "none")]
struct UserData<'a> {
    balancer: &'a Balancer,
    revision: Revision,
    files: Vec<File>,
    install: &'static str,
}

struct File {
    path: &'static str,
    mode: &'static str,
    content: String,
}

#[derive(Template)]
#[template(path = "install.sh", escape = "none")]
struct Install<'a> {
    balancer: &'a Balancer,
    agent: &'static str,
}

/// The user-data of a balancer's nodes, as plain `#cloud-config`.
pub fn user_data(balancer: &Balancer) -> String {
    let file = |path, content| File { path, mode: "0644", content };
    render(&UserData {
        balancer,
        revision: balancer.revision(),
        files: vec![
            // A webhook's address in it is nobody else's on the node.
            File { path: paths::BALANCER, mode: "0600", content: NodeConfig::of(balancer).to_json() },
            File { path: paths::INSTALL, mode: "0755", content: install_script(balancer) },
            file(paths::AGENT_UNIT, agent_unit(balancer)),
            file(paths::HAPROXY_UNIT, haproxy_unit()),
            file(paths::KEEPALIVED_UNIT, keepalived_unit()),
            file(paths::RSYSLOG, rsyslog_conf()),
            file(paths::LOGROTATE, logrotate_conf()),
            file(paths::SYSCTL, sysctl_conf(balancer)),
        ],
        install: paths::INSTALL,
    })
}

/// The same, compressed as it is launched: the same bytes for the same balancer, always.
pub fn user_data_gzip(balancer: &Balancer) -> Result<Vec<u8>, TooBig> {
    // No time and no operating system in the header: they would change the bytes.
    let mut gzip = GzBuilder::new().mtime(0).operating_system(255).write(Vec::new(), Compression::best());
    gzip.write_all(user_data(balancer).as_bytes()).expect("writing to memory");
    let bytes = gzip.finish().expect("writing to memory");
    if bytes.len() > USER_DATA_LIMIT { Err(TooBig { size: bytes.len() }) } else { Ok(bytes) }
}

/// The node's install step, a POSIX shell script.
pub fn install_script(balancer: &Balancer) -> String {
    render(&Install { balancer, agent: paths::AGENT })
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use flate2::read::GzDecoder;
    use sha2::{Digest, Sha256};

    use super::*;

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
    fn user_data_that_ec2_would_refuse_is_refused_here() {
        let mut big = balancer();
        // Addresses without a pattern, as gzip would find it.
        big.listeners[0].targets = (0..4000u32)
            .map(|n| {
                let hash = Sha256::digest(n.to_be_bytes());
                std::net::SocketAddrV4::new(
                    [10, hash[0], hash[1], hash[2]].into(),
                    u16::from_be_bytes([hash[3], hash[4]]),
                )
            })
            .collect();
        let refused = user_data_gzip(&big).unwrap_err();
        assert!(refused.size > USER_DATA_LIMIT);
        assert!(refused.to_string().contains("16384"), "{refused}");
    }
}
