//! Paths and ports of a node.

use std::net::Ipv4Addr;

/// The validated balancer and its revision, written by cloud-init from the user-data.
pub const BALANCER: &str = "/etc/elbow/balancer.json";
/// The node's install step, run once by cloud-init.
pub const INSTALL: &str = "/etc/elbow/install.sh";
pub const AGENT_UNIT: &str = "/etc/systemd/system/elbow-agent.service";
/// What Elbow adds to the distribution's haproxy.service.
pub const HAPROXY_UNIT: &str = "/etc/systemd/system/haproxy.service.d/elbow.conf";
/// What Elbow adds to the distribution's keepalived.service.
pub const KEEPALIVED_UNIT: &str = "/etc/systemd/system/keepalived.service.d/elbow.conf";
/// rsyslog's configuration for HAProxy's log.
pub const RSYSLOG: &str = "/etc/rsyslog.d/40-elbow.conf";
/// logrotate's configuration for HAProxy's log. It replaces the haproxy package's file, as logrotate refuses a second
/// entry for one log.
pub const LOGROTATE: &str = "/etc/logrotate.d/haproxy";
/// Kernel settings.
pub const SYSCTL: &str = "/etc/sysctl.d/90-elbow.conf";
/// The nftables rules that guard the instance metadata service, loaded before HAProxy starts.
pub const METADATA: &str = "/etc/elbow/metadata.nft";
/// The agent's program.
pub const AGENT: &str = "/opt/elbow/agent";
/// State that doesn't outlive a boot.
pub const RUN: &str = "/run/elbow";
/// keepalived reports its states to the agent here (`vrrp_notify_fifo`, keepalived.conf(5)).
pub const FIFO: &str = "/run/elbow/keepalived.fifo";
/// keepalived's `track_file`: 0 while HAProxy serves, 1 otherwise.
pub const HAPROXY_TRACK: &str = "/run/elbow/haproxy.track";
/// keepalived's `track_file`: 1 while this node can't reach the EC2 API, 0 otherwise.
pub const API_TRACK: &str = "/run/elbow/api.track";
/// HAProxy's configuration.
pub const HAPROXY: &str = "/etc/haproxy/haproxy.cfg";
/// HAProxy's admin socket, for root.
pub const ADMIN_SOCKET: &str = "/run/haproxy/admin.sock";
/// HAProxy's `server-state-file`. It holds servers only during a reload, and otherwise nothing but its version.
pub const SERVER_STATE: &str = "/run/elbow/servers.state";
pub const KEEPALIVED: &str = "/etc/keepalived/keepalived.conf";

/// In [`RUN`], keepalived's `track_file` for a virtual IP: 1 while this node hands it over, 0 otherwise.
pub fn yield_track(vip: Ipv4Addr) -> String {
    format!("{vip}.yield")
}

/// In [`RUN`], keepalived's `track_file` for a virtual IP: this node's preference, see [`crate::handover`].
pub fn preference_track(vip: Ipv4Addr) -> String {
    format!("{vip}.preference")
}

/// The agent's health page, on the ENI's own address, for members of the balancer.
pub const HEALTH_PORT: u16 = 9110;
/// The tunnels between the members (RFC 7348), UDP.
pub const TUNNEL_PORT: u16 = 4789;
/// HAProxy's peers protocol, by which the nodes share stick tables, on the ENI's own address, for members only.
pub const PEERS_PORT: u16 = 9112;
/// HAProxy's pages for the agent, on loopback only: `/healthz`, `/revision`, `/stats` and `/metrics`.
pub const STATS_PORT: u16 = 8404;
