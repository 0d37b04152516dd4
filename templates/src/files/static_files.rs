//! Files that are the same, or nearly the same, for every balancer.

use askama::Template;

use super::render;
use crate::balancer::{Balancer, Millis, Receiver};
use crate::{handover, paths};

/// The lowest local port of a connection to a target, as sysctl.conf sets it.
const FIRST_LOCAL_PORT: u16 = 10_240;

#[derive(Template)]
#[template(path = "elbow-agent.service", escape = "none")]
struct AgentUnit {
    agent: &'static str,
    balancer: &'static str,
    drain_timeout: Millis,
    stop_timeout: Millis,
    memory_max: usize,
}

#[derive(Template)]
#[template(path = "haproxy-unit.conf", escape = "none")]
struct HaproxyUnit {
    metadata: &'static str,
    server_state: &'static str,
}

#[derive(Template)]
#[template(path = "keepalived-unit.conf", escape = "none")]
struct KeepalivedUnit;

#[derive(Template)]
#[template(path = "rsyslog.conf", escape = "none")]
struct Rsyslog<'a> {
    receiver: Option<&'a Receiver>,
}

#[derive(Template)]
#[template(path = "logrotate.conf", escape = "none")]
struct Logrotate;

#[derive(Template)]
#[template(path = "sysctl.conf", escape = "none")]
struct Sysctl {
    first: u16,
    reserved: String,
}

/// The agent's systemd unit.
pub fn agent_unit(balancer: &Balancer) -> String {
    let drain_timeout = balancer.failover.drain_timeout();
    render(&AgentUnit {
        agent: paths::AGENT,
        balancer: paths::BALANCER,
        drain_timeout,
        stop_timeout: Millis(drain_timeout.0 + handover::LIMIT.0),
        memory_max: memory_max(balancer.groups().iter().map(|group| group.targets.len()).sum()),
    })
}

/// MiB for the agent and the programs that it runs. Measured: 20 for the agent, 15 for `haproxy -c`, and 9 KiB for each
/// target on 64 vCPUs.
fn memory_max(targets: usize) -> usize {
    128 + (targets * 20).div_ceil(1024)
}

/// What Elbow adds to the distribution's haproxy.service.
pub fn haproxy_unit() -> String {
    render(&HaproxyUnit { metadata: paths::METADATA, server_state: paths::SERVER_STATE })
}

/// What Elbow adds to the distribution's keepalived.service.
pub fn keepalived_unit() -> String {
    render(&KeepalivedUnit)
}

/// rsyslog's configuration for HAProxy's log.
pub fn rsyslog_conf(balancer: &Balancer) -> String {
    render(&Rsyslog { receiver: balancer.logs.as_ref().map(|logs| &logs.syslog) })
}

/// logrotate's configuration for HAProxy's log.
pub fn logrotate_conf() -> String {
    render(&Logrotate)
}

/// Kernel settings, applied before HAProxy's first start.
pub fn sysctl_conf(balancer: &Balancer) -> String {
    // The kernel shows neighbours as one range, as `bound` does.
    let ports = balancer.bound().into_iter().filter(|range| range.last >= FIRST_LOCAL_PORT);
    let reserved = ports.map(|range| range.to_string()).collect::<Vec<_>>().join(",");
    render(&Sysctl { first: FIRST_LOCAL_PORT, reserved })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn systemd_waits_longer_for_the_agent_than_the_agent_for_connections() {
        let mut balancer = Balancer::parse(include_str!("../../goldens/small/balancer.toml")).unwrap();
        assert!(agent_unit(&balancer).contains("\nTimeoutStopSec=120s\n"));
        balancer.failover.drain_timeout = Some(Millis(1500));
        assert!(agent_unit(&balancer).contains("\nTimeoutStopSec=61500ms\n"));
    }

    #[test]
    fn memory_grows_with_the_targets() {
        assert_eq!([0, 1, 20_000].map(memory_max), [128, 129, 519]);
        let balancer = Balancer::parse(include_str!("../../goldens/big/balancer.toml")).unwrap();
        assert!(agent_unit(&balancer).contains("\nMemoryMax=129M\n"));
    }

    #[test]
    fn a_listeners_port_is_not_given_to_a_connection() {
        let mut balancer = Balancer::parse(include_str!("../../goldens/big/balancer.toml")).unwrap();
        assert!(!sysctl_conf(&balancer).contains("reserved"));
        for (listener, port) in balancer.listeners.iter_mut().zip([27_017, 443, 11_211]) {
            listener.port = Some(port);
        }
        assert!(sysctl_conf(&balancer).contains("\nnet.ipv4.ip_local_reserved_ports = 11211,27017\n"));
        balancer.listeners[1].port = Some(27_018);
        assert!(sysctl_conf(&balancer).contains("\nnet.ipv4.ip_local_reserved_ports = 11211,27017-27018\n"));
    }
}
