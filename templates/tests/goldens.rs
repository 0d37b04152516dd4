//! Every rendered file, compared whole with the one in goldens/. The real programs check them, too (tests/checks).
//! `ELBOW_GOLDENS=write` rewrites them.

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use templates::balancer::{Agents, Architecture, Balancer, Logs, NodeConfig, examine};
use templates::files::{self, HaproxyNode, KeepalivedNode, SecondChance};
use templates::node::Slot;

fn folder(case: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("goldens").join(case)
}

fn balancer(case: &str) -> Balancer {
    let path = folder(case).join("balancer.toml");
    let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let read = |name: &str| fs::read_to_string(folder(case).join(name)).map_err(|e| e.to_string());
    examine(&text, &read).valid().unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn same(case: &str, name: &str, rendered: &str) {
    let path = folder(case).join(name);
    if std::env::var_os("ELBOW_GOLDENS").is_some_and(|how| how == "write") {
        fs::write(&path, rendered).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    }
    let golden = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let first = golden.lines().zip(rendered.lines()).position(|(a, b)| a != b);
    assert!(
        golden == rendered,
        "{} differs from line {}; if that is right, run again with ELBOW_GOLDENS=write\n--- golden\n{golden}\n--- rendered\n{rendered}",
        path.display(),
        first.unwrap_or_else(|| golden.lines().count().min(rendered.lines().count())) + 1,
    );
}

/// For node 0 of a whole balancer.
fn haproxy(balancer: &Balancer) -> String {
    let nodes: Vec<Ipv4Addr> = (1..=balancer.subnets.len()).map(|n| format!("10.0.{n}.10").parse().unwrap()).collect();
    let node = HaproxyNode { address: nodes[0], peers: &nodes[1..], ..HaproxyNode::typical(balancer) };
    files::haproxy_cfg(&node)
}

fn keepalived(balancer: &Balancer, slot: u8, peers: &[&str]) -> String {
    let peers: Vec<_> = peers.iter().map(|p| p.parse().unwrap()).collect();
    let address = format!("10.0.{}.10", slot + 1).parse().unwrap();
    files::keepalived_conf(&KeepalivedNode { balancer, slot: Slot(slot), address, peers: &peers, interface: "ens5" })
}

/// Without the bytes of user-data.yaml, which are unreadable.
fn launch_template(balancer: &Balancer, region: &str) -> String {
    let text = files::launch_template(balancer, region, "sg-0a1b2c3d4e5f67890").unwrap();
    let (before, after) = text.split_once("\"UserData\": \"").unwrap();
    let (_, after) = after.split_once('"').unwrap();
    format!("{before}\"UserData\": \"(user-data.yaml, by gzip and base64)\"{after}")
}

fn second_chance(balancer: &Balancer, next: Option<&str>, living: usize) -> String {
    let next = next.map(|next| next.parse().unwrap());
    let (vips, address) = (balancer.virtual_ips.clone(), "10.0.1.10".parse().unwrap());
    files::second_chance_nft(&SecondChance { vips, address, greeted: files::greeted(2 << 20), mtu: 9001, next, living })
}

/// The balancer, with the agents that the launcher found if the file names none.
fn resolved(case: &str) -> Balancer {
    let mut b = balancer(case);
    if b.uses_bucket() {
        b.agents = Agents::from([(Architecture::X86_64, "a1".repeat(32)), (Architecture::Aarch64, "b2".repeat(32))]);
    }
    b
}

fn common(case: &str, region: &str) -> Balancer {
    let b = resolved(case);
    same(case, "balancer.json", &NodeConfig::of(&b).to_json());
    same(case, "user-data.yaml", &files::user_data(&b));
    same(case, "install.sh", &files::install_script(&b));
    same(case, "haproxy.cfg", &haproxy(&b));
    same(case, "trust-policy.json", &files::trust_policy());
    same(case, "permission-policy.json", &files::permission_policy(&b, region));
    same(case, "operator-policy.json", &files::operator_policy(&b, region));
    same(case, "launch-template.json", &launch_template(&b, region));
    b
}

#[test]
fn a_small_balancer_is_rendered_as_committed() {
    let b = common("small", "eu-west-1");
    same("small", "keepalived.conf", &keepalived(&b, 0, &["10.0.2.10"]));
    same("small", "keepalived-alone.conf", &keepalived(&b, 0, &[]));
    same("small", "second-chance.nft", &second_chance(&b, Some("10.0.2.10"), 2));
    same("small", "metadata.nft", &files::metadata_nft(&b, |_| false));
    same("small", "second-chance-alone.nft", &second_chance(&b, None, 1));
}

#[test]
fn a_big_balancer_is_rendered_as_committed() {
    let b = common("big", "cn-north-1");
    same("big", "keepalived.conf", &keepalived(&b, 3, &["10.0.5.10", "10.0.1.10", "10.0.3.10", "10.0.2.10"]));
    same("big", "metadata.nft", &files::metadata_nft(&b, |_| true));
    same("big", "path-watch.nft", &files::path_watch_nft("ens5", &b.virtual_ips));
    same("big", "second-chance.nft", &second_chance(&b, Some("10.0.5.10"), 5));
}

#[test]
fn a_balancer_with_its_agent_in_elbows_bucket_is_rendered_as_committed() {
    common("bucket", "eu-west-1");
}

#[test]
fn usual_systems_are_rendered_as_committed() {
    for case in ["openshift", "patroni", "galera", "rabbitmq", "blue-green", "own-sections"] {
        same(case, "haproxy.cfg", &haproxy(&balancer(case)));
    }
}

#[test]
fn a_node_names_itself_and_each_peer_once() {
    let b = balancer("blue-green");
    let (one, other) = (Ipv4Addr::new(10, 0, 2, 10), Ipv4Addr::new(10, 0, 1, 10));
    let node = HaproxyNode { address: one, peers: &[one, other, other], ..HaproxyNode::typical(&b) };
    let text = files::haproxy_cfg(&node);
    let section = "peers elbow\n    peer 10.0.1.10 10.0.1.10:9112\n    peer 10.0.2.10 10.0.2.10:9112\n\n";
    assert!(text.contains("    localpeer 10.0.2.10\n") && text.contains(section), "{text}");
}

#[test]
fn files_that_are_the_same_for_all_are_rendered_as_committed() {
    same("all", "elbow-agent.service", &files::agent_unit(&balancer("small")));
    same("all", "haproxy-unit.conf", &files::haproxy_unit());
    same("all", "keepalived-unit.conf", &files::keepalived_unit());
    same("all", "rsyslog.conf", &files::rsyslog_conf(&balancer("small")));
    let syslog = "logs.example.com:514".parse().unwrap();
    let shipping = Balancer { logs: Some(Logs { syslog }), ..balancer("small") };
    same("all", "rsyslog-receiver.conf", &files::rsyslog_conf(&shipping));
    same("all", "logrotate.conf", &files::logrotate_conf());
    same("all", "sysctl.conf", &files::sysctl_conf(&balancer("small")));
}

#[test]
fn every_rendered_file_ends_in_one_newline() {
    for case in ["small", "big", "bucket"] {
        let b = resolved(case);
        let texts = [
            files::user_data(&b),
            files::install_script(&b),
            haproxy(&b),
            keepalived(&b, 0, &[]),
            files::permission_policy(&b, "eu-west-1"),
            files::operator_policy(&b, "eu-west-1"),
            files::trust_policy(),
            files::agent_unit(&b),
            files::rsyslog_conf(&b),
            files::logrotate_conf(),
            files::sysctl_conf(&b),
            files::metadata_nft(&b, |_| true),
            files::path_watch_nft("ens5", &b.virtual_ips),
        ];
        for text in texts {
            assert!(text.ends_with('\n') && !text.ends_with("\n\n"), "{text:?}");
        }
    }
}

#[test]
fn policies_are_json() {
    for case in ["small", "big", "bucket"] {
        let b = resolved(case);
        serde_json::from_str::<serde_json::Value>(&files::operator_policy(&b, "eu-west-1")).unwrap();
        serde_json::from_str::<serde_json::Value>(&files::permission_policy(&b, "eu-west-1")).unwrap();
        serde_json::from_str::<serde_json::Value>(&files::trust_policy()).unwrap();
    }
}
