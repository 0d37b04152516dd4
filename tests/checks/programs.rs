//! Runs each program with its rendered files, for a small and a big balancer. The files equal the goldens, which the
//! tests of `templates` check; only haproxy.cfg of the big one names no peers.

use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;

use templates::balancer::{Balancer, Logs, examine};
use templates::files::{self, HaproxyNode, KeepalivedNode};
use templates::node::Slot;
use templates::paths;

use crate::machine::{Machine, Said};

fn balancer(case: &str) -> Balancer {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../templates/goldens").join(case);
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).map_err(|error| error.to_string());
    examine(&read("balancer.toml").unwrap(), &read).valid().unwrap()
}

fn keepalived(balancer: &Balancer, peers: &[&str]) -> String {
    let peers: Vec<_> = peers.iter().map(|p| p.parse().unwrap()).collect();
    let address = "10.0.1.10".parse().unwrap();
    files::keepalived_conf(&KeepalivedNode { balancer, slot: Slot(0), address, peers: &peers, interface: "ens5" })
}

/// Machines with all files of the small balancer (a node without peers) and of the big one (a node with four peers).
fn machines() -> [Machine; 2] {
    let agent = "#!/bin/sh\nexit 0\n";
    [("small", &[][..]), ("big", &["10.0.2.10", "10.0.3.10", "10.0.4.10", "10.0.5.10"])].map(|(case, peers)| {
        let b = balancer(case);
        Machine::node().with_files_of(&b, &keepalived(&b, peers)).with(paths::AGENT, agent)
    })
}

#[test]
fn haproxy_accepts_its_configuration() {
    for machine in machines() {
        machine
            .run("mkdir -p /run/haproxy; haproxy -c -f /etc/haproxy/haproxy.cfg")
            .ok()
            .without(&["warning", "alert"]);
    }
}

#[test]
fn haproxy_accepts_the_configurations_of_usual_systems() {
    for case in ["openshift", "patroni", "galera", "rabbitmq", "blue-green", "own-sections"] {
        let balancer = balancer(case);
        let [address, peer] = [1, 2].map(|n| Ipv4Addr::new(10, 0, n, 10));
        let node = HaproxyNode { address, peers: &[peer], ..HaproxyNode::typical(&balancer) };
        let config = files::haproxy_cfg(&node);
        let machine = Machine::node().with(paths::HAPROXY, &config);
        let run = "mkdir -p /run/haproxy; haproxy -c -f /etc/haproxy/haproxy.cfg";
        machine.run(run).ok().without(&["warning", "alert"]);
    }
}

#[test]
fn haproxy_answers_the_probe_and_speaks_http_to_health_checks() {
    let [machine, _] = machines();
    // A target that answers every request and logs it.
    let run = "mkdir -p /run/haproxy; ip address add 10.0.1.20/32 dev lo; ip address add 10.0.2.20/32 dev lo
        ip address add 10.255.0.10/32 dev lo
        python3 -c 'if True:
            import http.server
            class H(http.server.BaseHTTPRequestHandler):
                protocol_version = \"HTTP/1.1\"
                def do_GET(self):
                    print(self.requestline, dict(self.headers), flush=True)
                    self.send_response(200); self.send_header(\"Content-Length\", \"3\"); self.end_headers(); self.wfile.write(b\"hi\\n\")
                def log_message(*_): pass
            http.server.ThreadingHTTPServer((\"10.0.1.20\", 8080), H).serve_forever()' >/tmp/asked 2>&1 &
        until ss -ltn | grep -q 10.0.1.20:8080; do sleep 0.05; done
        haproxy -D -f /etc/haproxy/haproxy.cfg
        until grep -q /healthz /tmp/asked; do sleep 0.05; done
        curl -sSf --max-time 5 http://127.0.0.1:8404/healthz
        curl -sSf --max-time 5 -o /dev/null http://127.0.0.1:8404/stats
        curl -sSf --max-time 5 http://127.0.0.1:8404/metrics >/tmp/metrics
        grep '^haproxy_server_status{proxy=\"http\",server=\"10.0.1.20:8080\",state=\"UP\"} 1' /tmp/metrics
        curl -sSf --max-time 5 --interface 10.0.1.10 http://10.255.0.10/page
        curl -sS --max-time 5 http://10.0.1.10/page && exit 1
        cat /tmp/asked";
    let said = machine.run(run).ok();
    let asked =
        |what: &str| said.text.lines().find(|line| line.starts_with(what)).unwrap_or_else(|| panic!("{}", said.text));
    assert!(asked("GET /healthz HTTP/1.1").contains("'host': '10.0.1.20:8080'"), "{}", said.text);
    assert!(asked("GET /page HTTP/1.1").contains("'x-forwarded-for': '10.0.1.10'"), "{}", said.text);
    assert!(asked("GET /page HTTP/1.1").contains("'x-forwarded-port': '80'"), "{}", said.text);
}

#[test]
fn keepalived_accepts_its_configuration() {
    for machine in machines() {
        machine.run("keepalived -t").ok().without(&["warning", "deprecated", "multicast", "unknown"]);
    }
}

#[test]
fn a_node_without_a_peer_becomes_master_and_sends_no_multicast() {
    let [machine, _] = machines();
    // A MASTER has the token on lo; 224.0.0.18 is VRRP's multicast group.
    let run = "mkdir -p /run/elbow; echo 0 >/run/elbow/haproxy.track; rm /usr/bin/systemctl; ln -s /bin/true /usr/bin/systemctl
        keepalived --dont-fork --log-console &
        until ip -o address show dev lo | grep -q 169.254.100.1/32; do sleep 0.05; done
        ip maddress show dev ens5 | grep 224.0.0.18 && exit 1
        echo MASTER alone";
    machine.run(run).ok().with("MASTER alone").without(&["multicast"]);
}

#[test]
fn nft_accepts_the_second_chance_twice() {
    for (vips, next, living) in [(1, None, 1), (1, Some([10, 0, 2, 10]), 2), (3, Some([10, 0, 2, 10]), 5)] {
        let vips = (0..vips).map(|vip| [10, 255, 0, 10 + vip].into()).collect();
        let (address, next) = ([10, 0, 1, 10].into(), next.map(Into::into));
        let node = files::SecondChance { vips, address, greeted: 131_072, mtu: 9001, next, living };
        let path = "/tmp/second-chance.nft";
        let machine = Machine::node().with(path, &files::second_chance_nft(&node));
        // nft resolves the tunnels' names.
        let tunnels = "for hop in 1 2 3 4 5 6; do ip link add elbow$hop type vxlan id $hop dstport 4789; done";
        let run = format!("{tunnels}; nft -f {path} && nft -f {path} && nft list table ip elbow");
        machine.run(&run).ok().with("socket wildcard 1");
    }
}

#[test]
fn nft_accepts_the_path_watch_twice() {
    let path = "/tmp/path-watch.nft";
    let rules = files::path_watch_nft("ens5", &[[10, 255, 0, 10].into(), [10, 255, 0, 11].into()]);
    let machine = Machine::node().with(path, &rules);
    let run = format!("nft -f {path} && nft -f {path} && nft list table ip elbow_watch");
    machine.run(&run).ok().with("ip daddr 192.0.2.2 tcp dport 9110 ip daddr set 10.255.0.11");
}

#[test]
fn haproxys_and_the_scripts_users_cannot_ask_the_metadata_service_and_root_can() {
    let [restricted, root_only] = machines();
    // `listener` connects as the user haproxy from HAProxy's port, over a socket that root has opened.
    let run = "ip address add 169.254.169.254/32 dev lo; ip -6 address add fd00:ec2::254/128 dev lo nodad
        ip address add 169.254.169.123/32 dev lo
        echo secret >/tmp/credentials; cd /tmp
        for address in 169.254.169.254 fd00:ec2::254 169.254.169.123; do
            python3 -m http.server --bind $address 80 >/dev/null 2>&1 &
        done
        for address in 169.254.169.254 [fd00:ec2::254] 169.254.169.123; do
            until curl -s -o /dev/null http://$address/; do sleep 0.05; done
        done
        nft -f /etc/elbow/metadata.nft && nft -f /etc/elbow/metadata.nft
        for user in root haproxy nobody daemon; do
            for address in 169.254.169.254 [fd00:ec2::254] 169.254.169.123; do
                said=$(setpriv --reuid $user --clear-groups curl -sS --max-time 2 http://$address/credentials 2>&1) || said=$?
                echo $user $address $said
            done
        done
        python3 -c 'if True:
            import os, pwd, socket
            s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1); s.bind((\"\", 8404))
            os.setuid(pwd.getpwnam(\"haproxy\").pw_uid)
            print(\"listener\", s.connect_ex((\"169.254.169.254\", 80)), flush=True)'
        nft list counters table inet elbow_metadata";
    for (machine, daemon) in [(restricted, "secret"), (root_only, "7")] {
        let said = machine.run(run).ok().with("listener 111\n");
        for service in ["169.254.169.254", "[fd00:ec2::254]"] {
            // curl's exit code 7 is a refused connection, which fails at once; 28 would be a timeout.
            let of = |user: &str, answer: &str| said.text.contains(&format!("{user} {service} {answer}\n"));
            assert!(of("root", "secret") && of("haproxy", "7") && of("nobody", "7"), "{}", said.text);
            assert!(of("daemon", daemon), "{}", said.text);
        }
        let ntp = ["root", "haproxy", "nobody", "daemon"].map(|user| format!("{user} 169.254.169.123 secret\n"));
        assert!(ntp.iter().all(|line| said.text.contains(line)), "{}", said.text);
        assert!(said.text.contains(if daemon == "7" { "packets 7 " } else { "packets 5 " }), "{}", said.text);
    }
}

#[test]
fn cloud_init_accepts_the_user_data() {
    for machine in machines() {
        machine.run("cloud-init schema --config-file /tmp/user-data.yaml").ok().with("Valid cloud-config");
    }
}

#[test]
fn cloud_init_writes_what_was_rendered() {
    for (case, machine) in ["small", "big"].into_iter().zip(machines()) {
        let b = balancer(case);
        let read = "python3 -c 'if True:
            import sys, yaml
            for f in yaml.safe_load(open(\"/tmp/user-data.yaml\"))[\"write_files\"]:
                if f[\"path\"] == sys.argv[1]: sys.stdout.write(f[\"content\"])'";
        let of = |path: &str| machine.run(&format!("{read} {path}")).ok().text;
        assert_eq!(of(paths::INSTALL), files::install_script(&b));
        assert_eq!(of(paths::AGENT_UNIT), files::agent_unit(&b));
        templates::balancer::NodeConfig::parse(&of(paths::BALANCER)).unwrap();
    }
}

#[test]
fn systemd_accepts_the_units() {
    let [machine, _] = machines();
    machine
        .run("systemd-analyze verify --man=no elbow-agent.service haproxy.service keepalived.service")
        .ok()
        .without(&["unknown", "failed", "not executable", "invalid", "ignoring"]);
}

#[test]
fn the_agents_unit_is_exposed_to_4_0_at_most() {
    for machine in machines() {
        let said = machine.run("systemd-analyze security --offline=true --threshold=40 elbow-agent.service");
        let overall = said.text.lines().find(|line| line.contains("Overall exposure level")).unwrap_or_default();
        assert!(said.code == Some(0) && overall.contains("elbow-agent.service"), "{overall}\n{}", said.text);
    }
}

/// Sends 200 lines as HAProxy to a log of `size` bytes; returns the sizes of the logs.
fn flooded(size: u64, before: &str) -> Said {
    let [machine, _] = machines();
    let run = format!(
        "rm /usr/bin/systemctl; printf '#!/bin/sh\nkill -HUP $(cat /run/rsyslogd.pid)\n' >/usr/bin/systemctl; chmod 755 /usr/bin/systemctl
        {before}
        truncate --size {size} /var/log/haproxy.log; rsyslogd
        until ss -lun | grep -q 127.0.0.1:514; do sleep 0.05; done
        python3 -c 'if True:
            import socket, time
            s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            for line in range(200):
                s.sendto(b\"<150>haproxy[1]: %d \" % line + b\"x\" * 4000, (\"127.0.0.1\", 514))
                time.sleep(0.002)'
        kill $(cat /run/rsyslogd.pid); while [ -e /run/rsyslogd.pid ]; do sleep 0.05; done
        stat --format '%n %s' /var/log/haproxy.log*"
    );
    machine.run(&run).ok()
}

#[test]
fn a_log_that_is_too_large_is_rotated_at_once() {
    let said = flooded(110_000_000, "");
    let size = |name: &str| said.text.lines().find_map(|line| line.strip_prefix(name)?.parse::<u64>().ok());
    assert!(size("/var/log/haproxy.log.1 ").is_some_and(|size| size >= 110_000_000), "{}", said.text);
    assert!(size("/var/log/haproxy.log ").is_some_and(|size| (4000..1_000_000).contains(&size)), "{}", said.text);
}

#[test]
fn a_log_that_cannot_be_rotated_stops_growing() {
    let said = flooded(105_800_000, "rm /usr/sbin/logrotate; ln -s /bin/false /usr/sbin/logrotate");
    let grown = said.text.lines().find_map(|line| line.strip_prefix("/var/log/haproxy.log ")?.parse::<u64>().ok());
    assert!(grown.is_some_and(|size| (105_906_176..106_000_000).contains(&size)), "{}", said.text);
}

#[test]
fn rsyslog_accepts_its_configuration() {
    let [machine, _] = machines();
    machine.run("rsyslogd -N1").ok().without(&["error", "could not"]);
}

#[test]
fn a_receiver_gets_the_whole_log_though_it_was_down_and_the_nodes_own_log_goes_on() {
    let syslog = "10.0.1.10:6514".parse().unwrap();
    let shipping = Balancer { logs: Some(Logs { syslog }), ..balancer("small") };
    let machine = Machine::node()
        .with(paths::RSYSLOG, &files::rsyslog_conf(&shipping))
        .with("/srv/receiver.py", include_str!("receiver.py"));
    machine.run("rsyslogd -N1").ok().without(&["error", "could not"]);
    let run = "rsyslogd
        until ss -lun | grep -q 127.0.0.1:514; do sleep 0.05; done
        python3 -B /srv/receiver.py";
    machine.run(run).ok().with("the receiver has all lines");
}

#[test]
fn haproxys_log_reaches_its_file_and_no_other() {
    let [machine, _] = machines();
    let run = "mkdir -p /run/haproxy; ip address add 10.255.0.10/32 dev lo; rsyslogd
        until ss -lun | grep -q 127.0.0.1:514; do sleep 0.05; done
        haproxy -D -f /etc/haproxy/haproxy.cfg
        until curl -s -o /dev/null http://10.255.0.10/seen-once; do sleep 0.05; done
        until grep -q seen-once /var/log/haproxy.log; do sleep 0.05; done
        echo lines: $(cat /var/log/* 2>/dev/null | grep -c seen-once)";
    machine.run(run).ok().with("lines: 1\n");
}

#[test]
fn logrotate_rotates_haproxys_log_and_nothing_twice() {
    let [machine, _] = machines();
    machine.run("logrotate --debug /etc/logrotate.conf").ok().without(&["error", "duplicate"]);
    let run = "rm /usr/bin/systemctl; printf '#!/bin/sh\\necho systemctl $*\\n' >/usr/bin/systemctl; chmod 755 /usr/bin/systemctl
        echo line >/var/log/haproxy.log; logrotate --force /etc/logrotate.d/haproxy; cat /var/log/haproxy.log.1";
    machine.run(run).ok().with("systemctl kill --signal=HUP rsyslog.service").with("line");
}

#[test]
fn the_kernel_has_every_setting() {
    let [machine, _] = machines();
    // A network namespace has only its own settings of net.core; the file uses no others.
    machine.run("mount -o remount,rw /proc; /usr/lib/systemd/systemd-sysctl /etc/sysctl.d/90-elbow.conf && cat /proc/sys/net/ipv4/ip_local_port_range").ok().with("10240").without(&["couldn't", "failed"]);
}

#[test]
fn the_shell_and_shellcheck_accept_the_install_step() {
    for case in ["small", "big"] {
        let dir = tempfile::tempdir().unwrap();
        let script = dir.path().join("install.sh");
        std::fs::write(&script, files::install_script(&balancer(case))).unwrap();
        for (program, argument) in [("sh", "-n"), ("shellcheck", "--severity=style")] {
            let output = Command::new(program).arg(argument).arg(&script).output();
            Said::from(output.unwrap_or_else(|e| panic!("{program}: {e}: `make setup` first"))).ok();
        }
    }
}
