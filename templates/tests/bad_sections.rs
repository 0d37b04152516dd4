//! The errors for `[haproxy]` and for an operator's own sections of haproxy.cfg.

use templates::Balancer;
use templates::balancer::examine;

const HEAD: &str = "name = \"web\"\nvpc = \"vpc-0a1b2c3d\"\nsubnets = [\"subnet-0a\", \"subnet-0b\"]\nvirtual_ips = [\"10.255.0.10\"]\n\
    agent = { source = \"https://downloads.example.com/elbow/agent\", sha256 = \"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08\" }\n";

const WEB: &str = "[[listener]]\nname = \"web\"\nport = 80\nprotocol = \"http\"\nforward = \"blue\"\n";
const BLUE: &str =
    "[[target_group]]\nname = \"blue\"\nprotocol = \"http\"\ntargets = [\"10.0.1.20:8080\", \"10.0.2.20:8080\"]\n";
fn said(text: &str, extra: Option<&str>) -> Vec<String> {
    let read = |_: &str| extra.map(str::to_owned).ok_or_else(|| "no such file".to_owned());
    examine(&format!("{HEAD}{text}"), &read).findings.iter().map(ToString::to_string).collect()
}

#[test]
fn limits_that_cannot_be() {
    let limit = |key: &str, line: &str| {
        let text = format!("{WEB}{BLUE}[haproxy]\n{key}\n");
        assert_eq!(said(&text, None), [format!("line 16: haproxy.{line}")]);
    };
    limit("max_connections = 99", "max_connections: 99 is out of range; write 100 to 250000");
    limit("max_request_headers = \"65KB\"", "max_request_headers: 65KB is out of range; write 15KB to 64KB");
    limit(
        "max_request_headers = \"64k\"",
        "max_request_headers: \"64k\" is not a size; write a number and KB, such as \"64KB\"",
    );
    limit("extra = [\"a\"]", "extra: [\"a\"]: wrong type; write the path of a file, such as \"extra.cfg\"");
}

#[test]
fn sections_of_the_operators_own_that_cannot_be() {
    let text = format!("{WEB}{BLUE}[haproxy]\nextra = \"extra.cfg\"\n");
    let extra = |extra: &str, lines: &[&str]| {
        let lines: Vec<String> =
            lines.iter().map(|line| format!("line 16: haproxy.extra: extra.cfg, {line}")).collect();
        assert_eq!(said(&text, Some(extra)), lines, "{extra}");
    };
    assert_eq!(said(&text, None), ["line 16: haproxy.extra: \"extra.cfg\" can't be read: no such file"]);
    let allowed = "frontend, backend, listen, resolvers, userlist, cache, mailers";
    extra("global\n", &[&format!("line 1: a section \"global\" isn't allowed here; write {allowed}")]);
    extra("  program x\n", &[&format!("line 1: a section \"program\" isn't allowed here; write {allowed}")]);
    extra("mode tcp\n", &[&format!("line 1: \"mode\" is in no section; start with one of {allowed}")]);
    extra("\"global\"\n", &["line 1: \"\\\"global\\\"\" is not a keyword; write it in a-z, 0-9 and -, without quotes"]);
    extra(
        "backend b\ngl\\obal\n.if 1\n",
        &[
            "line 2: \"gl\\\\obal\" is not a keyword; write it in a-z, 0-9 and -, without quotes",
            "line 3: \".if\" is not a keyword; write it in a-z, 0-9 and -, without quotes",
        ],
    );
    extra("backend blue\n", &["line 1: \"blue\" is a name of Elbow's own sections; choose another"]);
    extra("listen web--all\n", &["line 1: \"web--all\" is a name of Elbow's own sections; choose another"]);
    extra("frontend elbow_probe\n", &["line 1: \"elbow_probe\" is a name of Elbow's own sections; choose another"]);
    let bind = |bind: &str, line: &str| extra(&format!("frontend f\n    bind {bind}\n"), &[&format!("line 2: {line}")]);
    bind(
        "10.255.0.10:81",
        "bind 10.255.0.10 would lose connections at a takeover; write a [[listener]] that forwards to a backend of this file",
    );
    bind(
        "127.0.0.1:81,10.255.0.10:82",
        "bind 10.255.0.10 would lose connections at a takeover; write a [[listener]] that forwards to a backend of this file",
    );
    bind("*:80", "80 is the port of the listener \"web\"");
    bind("*:9112", "9112 is the port by which nodes share stick tables; choose another port");
    bind("127.0.0.1:9000-9200", "9110 is the agent's own port; choose another port");
    bind("127.0.0.1:22", "22 is the port of the image's own sshd; choose another port");
    bind("/run/x.sock level admin", "an admin socket isn't allowed here");
    bind("unix@/run/x.sock", "\"unix@/run/x.sock\" is not address:port or *:port");
    bind("\"127.0.0.1:81\"", "a bind line with quotes, escapes or variables can't be checked; write it plainly");
    extra("frontend f\n    stats admin if TRUE\n", &["line 2: stats admin lets readers change servers; remove it"]);
    let twice = |first: &str, second: &str| {
        let line = format!("line 2: {second} \"a\": another section has this name; choose another");
        extra(&format!("{first} a\n{second} a\n"), &[&line]);
    };
    twice("backend", "backend");
    twice("backend", "listen");
    twice("listen", "frontend");
    extra("frontend a\nbackend a\n", &[]);
    extra("frontend f\r \n", &["line 1: has a control character; write plain lines that end in a newline"]);
    extra(
        "# a comment\nbackend redis\n    mode tcp\n    option tcp-check\n    tcp-check send PING\\r\\n\n    server a 10.0.1.1:6379 check\n",
        &[],
    );
}

#[test]
fn a_file_of_windows_is_read_as_any_other() {
    let text = format!("{HEAD}[haproxy]\nextra = \"extra.cfg\"\n{}", WEB.replace("blue", "redis"));
    let read = |_: &str| Ok("\u{feff}backend redis\r\n    mode http\r\n".to_owned());
    let balancer: Balancer = examine(&text, &read).valid().unwrap();
    assert_eq!(balancer.haproxy.extra.unwrap().text, "backend redis\n    mode http\n");
}

#[test]
fn a_file_that_is_not_read_has_no_other_errors() {
    let text = format!("{}[haproxy]\nextra = \"extra.cfg\"\n", WEB.replace("blue", "redis"));
    assert_eq!(said(&text, None), ["line 12: haproxy.extra: \"extra.cfg\" can't be read: no such file"]);
}

#[test]
fn a_backend_of_another_mode_than_the_listeners() {
    let both = |protocol: &str, backend: &str| {
        let web = WEB.replace("blue", "redis").replace("\"http\"", &format!("{protocol:?}"));
        said(&format!("{web}[haproxy]\nextra = \"extra.cfg\"\n"), Some(backend))
    };
    let line = |mode: &str, protocol: &str| {
        format!(
            "line 10: listener.forward: the backend \"redis\" has mode {mode}, and the listener protocol {protocol}; \
             write mode {protocol} in it"
        )
    };
    assert_eq!(both("http", "backend redis\n    mode tcp\n"), [line("tcp", "http")]);
    assert_eq!(both("tcp", "backend redis\n"), [line("http", "tcp")], "Elbow's defaults have mode http");
    assert_eq!(both("tcp", "backend redis\n mode http\n"), [line("http", "tcp")]);
    assert_eq!(both("tcp", "backend redis\n mode tcp\nfrontend f\n mode http\n"), [] as [String; 0]);
    assert_eq!(both("http", "backend redis\n"), [] as [String; 0]);
}

#[test]
fn a_listener_forwards_to_a_section_of_the_operators_own() {
    let text = format!("{HEAD}[haproxy]\nextra = \"own/extra.cfg\"\n{}", WEB.replace("blue", "redis"));
    let read = |path: &str| (path == "own/extra.cfg").then(|| "backend redis\n".to_owned()).ok_or_else(String::new);
    let balancer: Balancer = examine(&text, &read).valid().unwrap();
    assert_eq!(balancer.haproxy.extra.as_ref().unwrap().text, "backend redis\n");
    balancer.check().unwrap();
    let config = templates::balancer::NodeConfig::of(&balancer);
    assert_eq!(templates::balancer::NodeConfig::parse(&config.to_json()).unwrap(), config);
}
