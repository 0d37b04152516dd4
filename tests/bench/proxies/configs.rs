//! The proxies' ports and configurations. Pure. The references have the same targets, checks and log as Elbow.

use anyhow::{Context, Result, ensure};
use templates::Balancer;
use templates::files::{HaproxyNode, haproxy_cfg};
use templates::paths::STATS_PORT;

use crate::results::Proxy;

/// The target's `/etc/haproxy/haproxy.cfg`.
pub const TARGET: &str = include_str!("target.cfg");
const MINIMAL: &str = include_str!("minimal.cfg");
const SECTIONS: &str = include_str!("sections.cfg");
const NGINX: &str = include_str!("nginx.conf");
const LOG: &str = "log 127.0.0.1:514 local2";
/// A line of Elbow's haproxy.cfg with one of these sets headers of requests.
const HEADERS: [&str; 3] = ["X-Amzn-Trace-Id", "option forwardfor", "X-Forwarded-"];
const HEADERS_LINES: usize = 5;
/// The large balancer.
const RULES: usize = 200;
const GROUPS: usize = 50;
const TARGETS_OF_A_GROUP: usize = 20;
/// The first of the target's ports for it.
const FIRST_PORT: usize = 20_000;

/// The ports for HTTP and for TCP.
pub fn ports(proxy: Proxy) -> (u16, u16) {
    match proxy {
        Proxy::Elbow | Proxy::WithoutSecondChance => (80, 81),
        Proxy::Minimal => (8110, 8111),
        Proxy::Distribution => (8120, 8121),
        Proxy::Nginx => (8130, 8131),
        Proxy::Large => (8140, 8141),
        Proxy::MinimalWithHeaders => (8150, 8151),
        Proxy::Direct => (8000, 8000),
    }
}

/// The file of a small balancer, from the lab's example. `clients` is a network outside the VPC.
pub fn elbow(example: &str, target: &str, clients: &str) -> Result<String> {
    let (http, tcp) = ports(Proxy::Elbow);
    let head = format!("{}clients = [\"10.0.0.0/16\", {clients:?}]\n\n", head(example)?);
    let targets = [format!("{target}:8000"), format!("{target}:8001")];
    Ok(format!(
        r#"{head}[[listener]]
name = "http"
port = {http}
protocol = "http"
targets = {targets:?}
health_check = {{ path = "/healthz", interval = "2s" }}

[[listener]]
name = "tcp"
port = {tcp}
protocol = "tcp"
targets = {targets:?}
health_check = {{ interval = "2s" }}
"#
    ))
}

/// Elbow's haproxy.cfg for a large balancer, without the ports and sockets of the HAProxy that runs already.
pub fn large(example: &str, target: &str) -> Result<String> {
    let mut text = format!(
        "{}[[listener]]\nname = \"large\"\nport = {}\nprotocol = \"http\"\nrespond = {{ status = 404 }}\n",
        head(example)?,
        ports(Proxy::Large).0
    );
    for rule in 1..=RULES {
        let group = rule % GROUPS;
        let condition = format!("if = {{ host = [\"host-{rule}.example.com\"] }}");
        text.push_str(&format!("\n[[listener.rule]]\n{condition}\nforward = \"group-{group}\"\n"));
    }
    for group in 0..GROUPS {
        let first = FIRST_PORT + group * TARGETS_OF_A_GROUP;
        let targets: Vec<String> = (first..first + TARGETS_OF_A_GROUP).map(|port| format!("{target}:{port}")).collect();
        let check = "health_check = { path = \"/healthz\", interval = \"2s\" }";
        text.push_str(&format!(
            "\n[[target_group]]\nname = \"group-{group}\"\nprotocol = \"http\"\ntargets = {targets:?}\n{check}\n"
        ));
    }
    let balancer = Balancer::parse(&text).context("reading the large balancer")?;
    let mut cfg = haproxy_cfg(&HaproxyNode::typical(&balancer));
    let (stats, other) = (format!("127.0.0.1:{STATS_PORT}"), format!("127.0.0.1:{}", ports(Proxy::Large).1));
    for (from, to) in [("/run/haproxy/admin.sock", "/run/haproxy/bench.sock"), (stats.as_str(), other.as_str())] {
        ensure!(cfg.contains(from), "Elbow's haproxy.cfg has no {from}: what else would two of them share?");
        cfg = cfg.replace(from, to);
    }
    Ok(cfg)
}

/// The haproxy.cfg by hand.
pub fn minimal(target: &str) -> String {
    MINIMAL.to_owned() + &filled(SECTIONS, Proxy::Minimal, target)
}

/// The same with Elbow's own lines about the headers of requests.
pub fn minimal_with_headers(example: &str, target: &str) -> Result<String> {
    let balancer = Balancer::parse(&elbow(example, target, "100.64.7.0/28")?).context("reading the small balancer")?;
    let elbow = haproxy_cfg(&HaproxyNode::typical(&balancer));
    let is_about_headers = |line: &&str| HEADERS.iter().any(|part| line.contains(part));
    let lines: Vec<&str> = elbow.lines().filter(is_about_headers).collect();
    ensure!(lines.len() == HEADERS_LINES, "Elbow's haproxy.cfg has other lines about headers: {lines:#?}");
    let (before, after) = SECTIONS.split_once("    default_backend http\n").context("sections.cfg has no frontend")?;
    let sections = format!("{before}{}\n    default_backend http\n{after}", lines.join("\n"));
    Ok(MINIMAL.to_owned() + &filled(&sections, Proxy::MinimalWithHeaders, target))
}

/// The distribution's haproxy.cfg with frontends and backends, and with Elbow's log instead of its own.
pub fn distribution(packaged: &str, target: &str) -> Result<String> {
    let is_shared = |line: &&str| ["log /dev/log", "stats socket"].iter().any(|start| line.trim().starts_with(start));
    let (shared, kept): (Vec<&str>, Vec<&str>) = packaged.lines().partition(is_shared);
    ensure!(
        shared.len() == 3 && kept.first() == Some(&"global"),
        "the package's haproxy.cfg isn't Debian 12's: it begins with {:?} and has {shared:?}",
        kept.first()
    );
    let text = format!("global\n\t{LOG}\n{}\n", kept[1..].join("\n"));
    Ok(text + &filled(SECTIONS, Proxy::Distribution, target))
}

/// nginx.conf.
pub fn nginx(target: &str) -> String {
    filled(NGINX, Proxy::Nginx, target)
}

fn filled(template: &str, proxy: Proxy, target: &str) -> String {
    let (http, tcp) = ports(proxy);
    let text = template.replace("{target}", target).replace("{http}", &http.to_string());
    text.replace("{tcp}", &tcp.to_string())
}

/// The keys before the first table.
fn head(example: &str) -> Result<String> {
    let (head, _) = example.split_once("\n[").context("the example has no table")?;
    Ok(format!("{head}\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE: &str = include_str!("../../../templates/goldens/small/balancer.toml");
    const PACKAGED: &str = "global\n\tlog /dev/log\tlocal0\n\tlog /dev/log\tlocal1 notice\n\tchroot /var/lib/haproxy\n\
                            \tstats socket /run/haproxy/admin.sock mode 660 level admin\n\ndefaults\n\tlog\tglobal\n";

    #[test]
    fn elbow_listens_for_http_and_tcp_and_admits_the_clients() {
        let balancer = Balancer::parse(&elbow(EXAMPLE, "10.0.2.7", "100.64.7.0/28").unwrap()).unwrap();
        let listens: Vec<_> = balancer.listeners.iter().map(|listener| listener.port).collect();
        assert_eq!(listens, [Some(80), Some(81)]);
        assert_eq!(balancer.clients.len(), 2);
    }

    #[test]
    fn the_large_configuration_has_all_rules_and_targets_and_shares_nothing() {
        let text = large(EXAMPLE, "10.0.2.7").unwrap();
        let count = |start: &str| text.lines().filter(|line| line.trim_start().starts_with(start)).count();
        // Each target is in the group's backend with checks, and in the one that fails open.
        assert_eq!((count("acl r"), count("server 10.0.2.7:")), (200, 2000));
        assert!(text.contains("bind *:8140") && text.contains("server 10.0.2.7:20999 "));
        assert!(!text.contains("admin.sock") && !text.contains(":8404"), "{text}");
    }

    #[test]
    fn references_have_the_same_sections_and_log() {
        let (minimal, nginx) = (minimal("10.0.2.7"), nginx("10.0.2.7"));
        let packaged = distribution(PACKAGED, "10.0.2.7").unwrap();
        assert!(packaged.starts_with("global\n\tlog 127.0.0.1:514 local2\n\tchroot /var/lib/haproxy\n\ndefaults\n"));
        assert!(!packaged.contains("stats socket"));
        for text in [&minimal, &packaged] {
            assert!(text.contains(LOG) && text.contains("server b 10.0.2.7:8001\n"), "{text}");
        }
        let headers = minimal_with_headers(EXAMPLE, "10.0.2.7").unwrap();
        let added: Vec<&str> = headers.lines().filter(|line| !minimal.contains(line)).collect();
        assert_eq!(added.len(), 2 + HEADERS_LINES, "two ports, and Elbow's lines: {added:#?}");
        assert!(minimal.contains("bind *:8111\n") && packaged.contains("bind *:8121\n"));
        assert!(nginx.contains("listen 8130;") && nginx.contains("server 10.0.2.7:8001;"));
        for text in [&minimal, &headers, &packaged, &nginx] {
            assert!(!text.contains("{target}") && !text.contains("{http}") && !text.contains("{tcp}"), "{text}");
        }
        assert!(distribution("global\n\tdaemon\n", "10.0.2.7").is_err());
        assert!(TARGET.contains("bind *:20000-20999"));
    }
}
