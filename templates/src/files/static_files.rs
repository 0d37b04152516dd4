//! Files that are the same for every balancer, but for the places that [`crate::paths`] names.

use askama::Template;

use super::render;
use crate::paths;

#[derive(Template)]
#[template(path = "elbow-agent.service", escape = "none")]
struct AgentUnit {
    agent: &'static str,
    balancer: &'static str,
}

#[derive(Template)]
#[template(path = "haproxy-unit.conf", escape = "none")]
struct HaproxyUnit;

#[derive(Template)]
#[template(path = "keepalived-unit.conf", escape = "none")]
struct KeepalivedUnit;

#[derive(Template)]
#[template(path = "rsyslog.conf", escape = "none")]
struct Rsyslog;

#[derive(Template)]
#[template(path = "logrotate.conf", escape = "none")]
struct Logrotate;

#[derive(Template)]
#[template(path = "sysctl.conf", escape = "none")]
struct Sysctl;

/// The agent's systemd unit.
pub fn agent_unit() -> String {
    render(&AgentUnit { agent: paths::AGENT, balancer: paths::BALANCER })
}

/// What Elbow adds to the distribution's haproxy.service.
pub fn haproxy_unit() -> String {
    render(&HaproxyUnit)
}

/// What Elbow adds to the distribution's keepalived.service.
pub fn keepalived_unit() -> String {
    render(&KeepalivedUnit)
}

/// rsyslog's part of HAProxy's log.
pub fn rsyslog_conf() -> String {
    render(&Rsyslog)
}

/// logrotate's part of HAProxy's log.
pub fn logrotate_conf() -> String {
    render(&Logrotate)
}

/// Kernel settings, applied before HAProxy's first start.
pub fn sysctl_conf() -> String {
    render(&Sysctl)
}
