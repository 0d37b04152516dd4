//! Instances boot from their user-data, lose power, freeze, reboot and shut down, and leave nothing behind.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use lab::instance::cgroup::Cgroup;
use lab::instance::{Machine, Power};
use lab::sweep;
use tokio::runtime::Runtime;

use crate::rig::{A, ADDRESS_A, CLIENT, Rig, is_silence, question};
use crate::services::{ID, images, instance};

const HELLO: &str = "#cloud-config\nwrite_files:\n- {path: /etc/hello, content: from user-data}\nruncmd:\n- echo ran on $(hostname) > /etc/ran\n";

#[test]
fn an_instance_boots_from_its_user_data_and_nothing_else() {
    let mut rig = Rig::new();
    let begin = Instant::now();
    let (_runtime, machine) = booted(&mut rig, images().image());
    println!("up after {:?}", begin.elapsed());
    assert_eq!(machine.read("/etc/hello").unwrap(), "from user-data");
    assert_eq!(machine.read("/etc/ran").unwrap(), "ran on ip-10-0-1-10\n");
    assert!(machine.console().unwrap().contains("Cloud-init v. "), "{}", machine.console().unwrap());

    assert_eq!(said(&run(&machine, &["cat", "/sys/class/net/eth0/address"])), "02:00:00:00:00:0a");
    assert_eq!(said(&run(&machine, &["getent", "hosts", "deb.debian.org"])).split(' ').next(), Some("10.0.0.3"));
    assert_eq!(run(&machine, &["sh", "-c", "exit 42"]).status.code(), Some(42), "another exit status");
    let failed = said(&run(&machine, &["systemctl", "--failed", "--no-legend", "--plain"]));
    assert_eq!(failed, "", "failed units");
    for program in ["/usr/sbin/haproxy", "/usr/sbin/keepalived", "/usr/sbin/nft", "/usr/sbin/rsyslogd"] {
        assert!(run(&machine, &["test", "-x", program]).status.success(), "{program}");
    }
    for unit in ["haproxy", "keepalived"] {
        assert_eq!(said(&run(&machine, &["systemctl", "is-enabled", unit])), "disabled", "{unit} is enabled");
    }
    assert!(run(&machine, &["ip", "address", "add", "10.255.0.10/32", "dev", "lo"]).status.success());
    machine.delete().unwrap();
    let mut left = sweep::all(&rig.dir).unwrap();
    left.retain(|line| !line.starts_with("network namespace"));
    assert_eq!(left, Vec::<String>::new(), "left after the deletion");
}

#[test]
fn a_power_cut_is_silent_and_keeps_the_disk() {
    let mut rig = Rig::new();
    let (_runtime, machine) = booted(&mut rig, images().image());
    write(&machine, "/run/haproxy.cfg", CONFIG);
    assert!(run(&machine, &["systemd-run", "--quiet", "haproxy", "-db", "-f", "/run/haproxy.cfg"]).status.success());
    let mut open = until(|| rig.connect(CLIENT, ADDRESS_A, 80).ok());
    write(&machine, "/var/lib/kept", "on disk");

    rig.faults.darken(A);
    rig.reconcile();
    let begin = Instant::now();
    machine.power_cut().unwrap();
    println!("power cut in {:?}", begin.elapsed());
    assert_eq!(machine.power(), Power::Off);
    assert!(is_silence(&question(&mut open)), "the connection got an answer or a reset");
    assert!(is_silence(&rig.ask(CLIENT, ADDRESS_A, 80)));

    rig.network.renew(A).unwrap();
    rig.faults.light(A);
    rig.reconcile();
    let found = Machine::find(&rig.dir, ID).unwrap().expect("the machine is found by its id");
    found.start().unwrap();
    wait_for(&found, Power::Up);
    assert_eq!(found.read("/var/lib/kept").unwrap(), "on disk");
    assert!(!run(&found, &["test", "-e", "/run/haproxy.cfg"]).status.success(), "/run survived the power cut");
}

#[test]
fn a_frozen_instance_stands_still_and_goes_on() {
    let mut rig = Rig::new();
    let (_runtime, machine) = booted(&mut rig, images().image());
    let count = ["systemd-run", "--quiet", "sh", "-c", "while :; do echo x >> /run/count; sleep 0.01; done"];
    assert!(run(&machine, &count).status.success());
    let length = || machine.read("/run/count").map_or(0, |text| text.len());
    until(|| (length() > 10).then_some(()));
    machine.freeze().unwrap();
    let before = length();
    let still = Instant::now() + Duration::from_millis(200);
    while Instant::now() < still {
        assert_eq!(length(), before);
    }
    machine.thaw().unwrap();
    until(|| (length() > before).then_some(()));
}

#[test]
fn an_instance_shuts_down_in_order_in_time() {
    let mut rig = Rig::new();
    let (_runtime, machine) = booted(&mut rig, images().image());
    let last_words = ["systemd-run", "--quiet", "-p", "ExecStop=/bin/sh -c 'echo bye > /var/lib/bye'", "sleep", "1000"];
    assert!(run(&machine, &last_words).status.success());
    let begin = Instant::now();
    machine.stop(Duration::from_secs(20)).unwrap();
    println!("shut down in {:?}", begin.elapsed());
    assert!(begin.elapsed() < Duration::from_secs(15), "the shutdown took {:?}", begin.elapsed());
    assert_eq!(machine.power(), Power::Off);
    let kept = rig.dir.run().join("instances").join(ID).join("disk/upper/var/lib/bye");
    assert_eq!(fs::read_to_string(kept).unwrap(), "bye\n", "a service didn't run its ExecStop");
}

#[test]
fn an_instance_that_restarts_its_own_system_comes_back() {
    let mut rig = Rig::new();
    let (_runtime, machine) = booted(&mut rig, images().image());
    assert!(run(&machine, &["touch", "/run/this-life", "/var/lib/any-life"]).status.success());
    assert!(run(&machine, &["ip", "address", "add", "10.255.0.10/32", "dev", "lo"]).status.success());
    run(&machine, &["systemctl", "reboot"]);
    let end = Instant::now() + Duration::from_secs(20);
    while !machine
        .command(["test", "!", "-e", "/run/this-life"])
        .is_ok_and(|mut c| c.output().unwrap().status.success())
    {
        assert!(Instant::now() < end, "{:?}: {}", machine.power(), machine.console().unwrap());
    }
    wait_for(&machine, Power::Up);
    assert!(run(&machine, &["test", "-e", "/var/lib/any-life"]).status.success());
    let addresses = said(&run(&machine, &["ip", "-4", "-oneline", "address", "show", "dev", "lo"]));
    assert!(addresses.contains("127.0.0.1/8") && !addresses.contains("10.255.0.10"), "{addresses}");
}

#[test]
fn a_plain_instance_installs_from_the_repository_in_the_vpc() {
    let mut rig = Rig::new();
    let (_runtime, machine) = booted(&mut rig, images().plain());
    for program in ["/usr/sbin/haproxy", "/usr/sbin/keepalived", "/usr/sbin/nft", "/usr/sbin/rsyslogd"] {
        assert!(!run(&machine, &["test", "-e", program]).status.success(), "{program} is in the plain image");
    }
    let begin = Instant::now();
    let install = "apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends \
                   haproxy keepalived rsyslog logrotate nftables";
    let output = run(&machine, &["sh", "-c", install]);
    let (out, err) = (said(&output), String::from_utf8_lossy(&output.stderr).into_owned());
    assert!(output.status.success(), "{out}\n{err}");
    println!("installed in {:?}", begin.elapsed());
    assert!(
        run(&machine, &["haproxy", "-v"]).status.success() && run(&machine, &["keepalived", "-v"]).status.success()
    );
}

#[test]
fn a_sweep_removes_a_lab_that_died_and_the_next_finds_nothing() {
    let mut rig = Rig::new();
    let (_runtime, machine) = instance(&mut rig, HELLO, images().image());
    machine.start().unwrap();
    let removed = sweep::all(&rig.dir).unwrap();
    assert!(removed.iter().any(|line| line.contains(ID)), "{removed:?}");
    assert!(removed.iter().any(|line| line.contains("elbow-lab-router")), "{removed:?}");
    assert!(!rig.dir.run().join("instances").exists());
    // Only this lab's mounts: the host may run other labs in other folders.
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let left: Vec<&str> = mounts.lines().filter(|line| line.contains(rig.dir.run().to_str().unwrap())).collect();
    assert_eq!(left, Vec::<&str>::new());
    assert!(!Cgroup::of_all(&rig.dir).unwrap().path().exists());
    let processes = Command::new("pgrep").args(["--full", ID]).output().unwrap();
    assert_eq!(said(&processes), "", "processes of the instance are left");
    assert_eq!(sweep::all(&rig.dir).unwrap(), Vec::<String>::new(), "the second sweep removed something");
}

const CONFIG: &str = "defaults\n mode tcp\n timeout client 1m\n timeout server 1m\n timeout connect 1s\n\
                      frontend f\n bind *:80\n tcp-request inspect-delay 60s\n tcp-request content accept if { req.len gt 100 }\n\
                      default_backend b\nbackend b\n server s 127.0.0.1:9\n";

fn booted(rig: &mut Rig, image: PathBuf) -> (Runtime, Machine) {
    let (runtime, machine) = instance(rig, HELLO, image);
    machine.start().unwrap();
    wait_for(&machine, Power::Up);
    (runtime, machine)
}

/// Waits until an instance has this power state, as long as a boot takes on a busy host.
fn wait_for(machine: &Machine, power: Power) {
    let end = Instant::now() + Duration::from_secs(90);
    while machine.power() != power {
        assert!(Instant::now() < end, "still {:?}:\n{}", machine.power(), machine.console().unwrap());
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn until<T>(mut condition: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(Instant::now() < end, "the condition didn't become true");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn run(machine: &Machine, words: &[&str]) -> Output {
    machine.command(words.iter().copied()).unwrap().output().unwrap()
}

fn write(machine: &Machine, path: &str, text: &str) {
    assert!(run(machine, &["sh", "-c", "printf %s \"$1\" > \"$2\"; sync", "sh", text, path]).status.success());
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
}
