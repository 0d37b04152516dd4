//! Runs the install step on a throw-away machine: what it installs and refuses, and that a second run changes nothing.
//! In a chroot, systemctl only enables and disables units.

use sha2::{Digest, Sha256};
use templates::balancer::{AgentSource, Balancer};
use templates::paths;

use crate::machine::{Machine, Said};

pub const AGENT: &str = "#!/bin/sh\necho the agent runs\n";

pub fn balancer(source: &str, sha256: &str) -> Balancer {
    let text = include_str!("../../templates/goldens/small/balancer.toml");
    let mut balancer = Balancer::parse(text).unwrap();
    balancer.agent = Some(AgentSource { source: source.to_owned(), sha256: sha256.to_owned() });
    balancer
}

pub fn sha256(text: &str) -> String {
    hex::encode(Sha256::digest(text))
}

fn machine(balancer: &Balancer) -> Machine {
    Machine::node().with_files_of(balancer, "").serving("agent", AGENT)
}

#[test]
fn the_agent_is_fetched_verified_and_enabled() {
    let machine = machine(&balancer("http://127.0.0.1:8000/agent", &sha256(AGENT)));
    let run = "/etc/elbow/install.sh; /opt/elbow/agent; ls /opt/elbow
        for unit in elbow-agent haproxy keepalived; do echo $unit $(systemctl is-enabled $unit); done";
    let said = machine.run(run).ok();
    for line in ["the agent runs", "elbow-agent enabled", "haproxy disabled", "keepalived disabled", "elbow: installed"]
    {
        assert!(said.text.contains(line), "no {line:?} in:\n{}", said.text);
    }
    assert!(!said.text.contains("agent."), "a scratch file was left:\n{}", said.text);
}

#[test]
fn an_agent_with_another_checksum_is_not_run_and_the_console_shows_it() {
    let wanted = sha256("another agent");
    let machine = machine(&balancer("http://127.0.0.1:8000/agent", &wanted));
    let said = machine
        .run("/etc/elbow/install.sh >/dev/null; echo code $?; ls /opt/elbow; systemctl is-enabled elbow-agent; :");
    let line = format!(
        "console: elbow: wrong checksum: the agent from http://127.0.0.1:8000/agent has SHA-256 {}, but agent.sha256 is {wanted}; correct agent.sha256 or the file",
        sha256(AGENT)
    );
    let said = said.ok().with("code 1").with("disabled").with(&line);
    assert!(!said.text.lines().any(|line| line.starts_with("agent")), "an agent was installed:\n{}", said.text);
}

#[test]
fn an_agent_for_another_architecture_is_not_installed_and_the_console_shows_it() {
    // The first bytes of programs for x86_64 (EM_X86_64, 62) and aarch64 (EM_AARCH64, 183), on machines of both kinds.
    let play = r#"
        for case in 'x86_64 076' 'aarch64 267' 'x86_64 267' 'aarch64 076'; do
            set -- $case
            printf '\177ELF\2\1\1\0\0\0\0\0\0\0\0\0\3\0'"\\$2"'\0' >/opt/image/agent
            printf '#!/bin/sh\necho %s\n' "$1" >/usr/local/sbin/uname
            chmod 755 /usr/local/sbin/uname
            sum=$(sha256sum </opt/image/agent)
            sed -i "s/^sha256=.*/sha256='${sum%% *}'/" /etc/elbow/install.sh
            /etc/elbow/install.sh >/dev/null
            echo "$case: code $?, $(ls /opt/elbow)."
            rm -rf /opt/elbow
        done"#;
    let machine =
        Machine::node().with_files_of(&balancer("/opt/image/agent", &sha256("later")), "").with("/opt/image/agent", "");
    let said = machine.run(play).ok();
    let said = said.with("x86_64 076: code 0, agent.\n").with("aarch64 267: code 0, agent.\n");
    let said = said.with("x86_64 267: code 1, .\n").with("aarch64 076: code 1, .\n");
    said.with(
        "console: elbow: the agent from /opt/image/agent is for another architecture than this machine's aarch64: ",
    );
}

#[test]
fn the_query_of_a_source_reaches_the_server_but_no_message() {
    // curl takes brackets as a pattern unless globbing is off.
    let source = "http://127.0.0.1:8000/agent[1-2]?signature=s3cret";
    let machine = Machine::node().with_files_of(&balancer(source, &sha256("another")), "").serving("agent[1-2]", AGENT);
    let said = machine.run("/etc/elbow/install.sh; echo code $?").ok().with("code 1");
    let line = "wrong checksum: the agent from http://127.0.0.1:8000/agent[1-2] has SHA-256";
    assert!(!said.with(line).text.replace("GET /agent", "").contains("s3cret"));
}

#[test]
fn a_download_takes_no_local_file_and_ends_at_its_size_limit() {
    let machine = machine(&balancer("http://127.0.0.1:8000/agent", &sha256(AGENT)));
    let run = "sed -n '/^download()/,/^)/p' /etc/elbow/install.sh >/tmp/download; . /tmp/download; scratch=/tmp/got
        for source in file:///etc/hostname ftp://127.0.0.1/agent; do download; echo code $?; done
        truncate -s 268435457 /tmp/large; cd /tmp; python3 -m http.server 8001 2>/dev/null &
        for try in $(seq 100); do curl --silent --output /dev/null http://127.0.0.1:8001/ && break; sleep 0.1; done
        source=http://127.0.0.1:8001/large; download; echo code $?; [ -s /tmp/got ] || echo nothing";
    // curl(1): 1 is a protocol that isn't allowed, 63 a file that is too large.
    machine.run(run).ok().with("code 1\ncode 1\n").with("code 63\nnothing");
}

#[test]
fn installing_twice_changes_nothing_and_asks_for_nothing() {
    let machine = machine(&balancer("http://127.0.0.1:8000/agent", &sha256(AGENT)));
    let list = "find /opt /etc /usr/sbin /usr/bin -newer /tmp/mark ! -type d -print";
    let run = format!(
        "/etc/elbow/install.sh; touch /tmp/mark; mv /usr/bin/curl /usr/bin/curl.away; ln -s /bin/false /usr/bin/curl
        /etc/elbow/install.sh; echo changed:; {list} | grep -v curl; :"
    );
    let said = machine.run(&run).ok();
    let changed = said.text.split("changed:\n").nth(1).unwrap().lines().take_while(|l| l.starts_with('/')).count();
    assert_eq!(changed, 0, "{}", said.text);
}

#[test]
fn a_complete_image_gets_no_packages() {
    let machine = machine(&balancer("http://127.0.0.1:8000/agent", &sha256(AGENT)))
        .with("/usr/local/sbin/apt-get", "#!/bin/sh\necho apt-get was called\nexit 1\n");
    machine.run("/etc/elbow/install.sh").ok().without(&["apt-get was called", "installing"]);
}

#[test]
fn a_plain_image_gets_missing_packages_without_starting_their_services() {
    // A stand-in for apt-get that prints its arguments and what policy-rc.d answers; the lab's tests run the real one.
    let apt = "#!/bin/sh\necho apt-get $*\ncase \"$*\" in *install*) /usr/sbin/policy-rc.d haproxy start; echo haproxy $?; /usr/sbin/policy-rc.d rsyslog start; echo rsyslog $?;; esac\n";
    let balancer = balancer("http://127.0.0.1:8000/agent", &sha256(AGENT));
    let machine =
        Machine::plain().with_files_of(&balancer, "").serving("agent", AGENT).with("/usr/local/sbin/apt-get", apt);
    let said = machine.run("/etc/elbow/install.sh; ls /usr/sbin/policy-rc.d; :").ok();
    let said = said
        .with("elbow: installing haproxy keepalived rsyslog logrotate nftables\n")
        .with("haproxy 101")
        .with("rsyslog 0");
    said.with("cannot access '/usr/sbin/policy-rc.d'");
}

/// Installs from the lab's repository. What the user-data wrote stays, and only the log and its rotation are enabled.
fn installed(machine: Machine) -> Said {
    let balancer = balancer("http://127.0.0.1:8000/agent", &sha256(AGENT));
    let machine = machine.with_files_of(&balancer, "").serving("agent", AGENT).with_repository();
    let run = format!(
        "/etc/elbow/install.sh; haproxy -v; keepalived --version; cmp {} /tmp/wanted && echo ours
        for unit in haproxy keepalived rsyslog logrotate.timer; do echo $unit $(systemctl is-enabled $unit); done
        for program in apt-get dnf; do command -v $program || echo no $program; done",
        paths::LOGROTATE
    );
    let said = machine.with("/tmp/wanted", &templates::files::logrotate_conf()).run(&run).ok();
    let said = said.with("elbow: installing haproxy keepalived rsyslog logrotate nftables\n");
    let said = said.with("HAProxy version 2.6").with("Keepalived v2.2.7").with("ours").with("elbow: installed");
    let said = said.with("haproxy disabled\nkeepalived disabled\nrsyslog enabled\nlogrotate.timer enabled\n");
    said.without(&["try 1 of 10"])
}

#[test]
fn apt_installs_what_is_missing_from_the_repository() {
    installed(Machine::plain()).with("no dnf");
}

#[test]
fn dnf_installs_what_is_missing_from_a_repository_of_rpms() {
    // dnf prints the RPMs that it installed.
    installed(Machine::dnf()).with("no apt-get").with("Installed:\n  haproxy-2.6.").with("  keepalived-2.2.7.");
}

/// Stand-ins for SELinux's programs: each prints its arguments and exits with the given status.
fn with_selinux(mode: &str, setsebool: i32, semodule: i32) -> Machine {
    let program = |name: &str, status: i32| format!("#!/bin/sh\necho {name} $*\nexit {status}\n");
    machine(&balancer("http://127.0.0.1:8000/agent", &sha256(AGENT)))
        .with("/usr/sbin/getenforce", &format!("#!/bin/sh\necho {mode}\n"))
        .with("/usr/sbin/setsebool", &program("setsebool", setsebool))
        .with("/usr/sbin/semodule", &program("semodule", semodule))
        .with("/usr/local/sbin/chcon", &program("chcon", 0))
}

const INSTALL_AND_LOOK: &str = "/etc/elbow/install.sh; echo code $?; systemctl is-enabled elbow-agent; :";

#[test]
fn where_selinux_enforces_haproxy_and_keepalived_get_their_permissions() {
    let said = with_selinux("Enforcing", 0, 0).run(INSTALL_AND_LOOK).ok();
    let said = said.with("setsebool -P haproxy_connect_any=1 keepalived_connect_any=1\n");
    said.with("semodule -i ").with("chcon -t bin_t /opt/elbow/agent\n").with("code 0\nenabled");
}

#[test]
fn where_selinux_cannot_be_changed_the_node_does_not_serve_and_the_console_shows_it() {
    for (setsebool, semodule, what) in [(1, 0, "haproxy_connect_any"), (0, 1, "keepalived_t permissive")] {
        let said = with_selinux("Enforcing", setsebool, semodule).run(INSTALL_AND_LOOK).ok();
        let said = said.with("code 1\ndisabled").with("console: elbow: SELinux enforces, and ");
        said.with(what).without(&["the install step failed with status"]);
    }
}

#[test]
fn where_selinux_does_not_enforce_nothing_is_changed() {
    for mode in ["Permissive", "Disabled"] {
        with_selinux(mode, 1, 1).run(INSTALL_AND_LOOK).ok().with("code 0").without(&["setsebool", "selinux"]);
    }
}
