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
            file(paths::BALANCER, NodeConfig::of(balancer).to_json()),
            File { path: paths::INSTALL, mode: "0755", content: install_script(balancer) },
            file(paths::AGENT_UNIT, agent_unit()),
            file(paths::HAPROXY_UNIT, haproxy_unit()),
            file(paths::KEEPALIVED_UNIT, keepalived_unit()),
            file(paths::RSYSLOG, rsyslog_conf()),
            file(paths::LOGROTATE, logrotate_conf()),
            file(paths::SYSCTL, sysctl_conf()),
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
