//! The errors and warnings for listeners, rules and target groups: each with its line and key, and all of a file in one
//! run.

use templates::balancer::{Severity, examine};

const HEAD: &str = "name = \"web\"\nvpc = \"vpc-0a1b2c3d\"\nsubnets = [\"subnet-0a\", \"subnet-0b\"]\nvirtual_ips = [\"10.255.0.10\"]\n\
    agent = { source = \"https://downloads.example.com/elbow/agent\", sha256 = \"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08\" }\n";

/// Line 6 is the first one after [`HEAD`].
const WEB: &str = "[[listener]]\nname = \"web\"\nport = 80\nprotocol = \"http\"\nforward = \"blue\"\n";
const BLUE: &str =
    "[[target_group]]\nname = \"blue\"\nprotocol = \"http\"\ntargets = [\"10.0.1.20:8080\", \"10.0.2.20:8080\"]\n";
const TCP: &str = "[[listener]]\nname = \"db\"\nport = 5432\nprotocol = \"tcp\"\ntargets = [\"10.0.1.30:5432\"]\n";

fn said(severity: Severity, text: &str) -> Vec<String> {
    let read = |_: &str| Err(String::new());
    let findings = examine(&format!("{HEAD}{text}"), &read).findings;
    findings.iter().filter(|finding| finding.severity == severity).map(ToString::to_string).collect()
}

#[track_caller]
fn refused(text: &str, lines: &[&str]) {
    assert_eq!(said(Severity::Error, text), lines, "{text}");
}

#[track_caller]
fn accepted(text: &str) {
    refused(text, &[]);
}

#[test]
fn a_file_with_many_errors_names_them_all() {
    let text = "[[listener]]\nname = \"we b\"\nport = 70000\nprotocol = \"http\"\nforwrd = \"blue\"\nforward = \"bleu\"\n\
                [[listener]]\nname = \"b\"\nprotocol = \"htp\"\nport = 9110\nidle_timeout = 5\ntargets = [\"10.0.1.1:1\"]\n\
                [[target_group]]\nname = \"blue\"\nprotocol = \"http\"\ntargets = [\"10.0.1.1:x\", \"10.0.1.1:1\"]\n";
    refused(
        text,
        &[
            "line 7: listener.name: \"we b\" is not a valid name; use up to 32 of a-z, 0-9 and -, starting with a letter and not ending with -",
            "line 8: listener.port: 70000: not a number from 1 to 65535",
            "line 10: listener.forwrd: unknown key; did you mean forward?",
            "line 11: listener.forward: no target group has the name \"bleu\"; did you mean \"blue\"?",
            "line 14: listener.protocol: \"htp\": unknown value; write http or tcp",
            "line 15: listener.port: 9110 is the agent's own port; choose another port",
            "line 16: listener.idle_timeout: 5: wrong type; write a duration in quotes, such as \"2s\"",
            "line 21: target_group.targets: \"10.0.1.1:x\": not address:port, such as \"10.0.1.20:8080\"",
        ],
    );
}

#[test]
fn what_is_missing_and_misspelt_at_the_top_hides_nothing_below() {
    let text = format!("{HEAD}{TCP}").replace("vpc = ", "vcp = ").replace("port = 5432", "port = 22");
    let findings = examine(&text, &|_| Err(String::new())).findings;
    let lines: Vec<String> = findings.iter().map(ToString::to_string).collect();
    assert_eq!(
        lines,
        [
            "line 2: vcp: unknown key; did you mean vpc?",
            "line 8: listener.port: 22 is the port of the image's own sshd; choose another port",
        ]
    );
    assert_eq!(&text[findings[1].span.clone().unwrap()], "22");
}

#[test]
fn ports_that_cannot_be() {
    let port = |new: &str, line: &str| refused(&format!("{WEB}{BLUE}").replace("port = 80", new), &[line]);
    port("port = 8404", "line 8: listener.port: 8404 is the port of HAProxy's stats page; choose another port");
    let line = "line 8: listener.port: 9112 is the port by which nodes share stick tables; choose another port";
    port("port = 9112", line);
    port("port = 0", "line 8: listener.port: 0 is not a port; choose another port");
    let line = "line 8: listener.ports: 9000-9200 contains 9110, the agent's own port; leave it out";
    refused(&TCP.replace("port = 5432", "ports = \"9000-9200\"").replace("[\"10.0.1.30:5432\"]", "[]"), &[line]);
    port("", "line 6: listener.port: is missing");
    port(
        "port = 81\nports = \"90-80\"",
        "line 9: listener.ports: \"90-80\" is not a range of ports; write the first and the last, such as \"40000-40099\"",
    );
    let two = |a: &str, b: &str| {
        format!("{}{}", TCP.replace("port = 5432", a), TCP.replace("port = 5432", b).replace("db", "dc"))
    };
    refused(&two("port = 80", "port = 80"), &["line 13: listener.port: 80 is the port of \"db\", too"]);
    let line = "line 13: listener.ports: 70-90 overlaps 80 of \"db\"";
    refused(
        &two("port = 80", "ports = \"70-90\"").replacen("10.0.1.30:5432\"]\n", "", 0),
        &[
            line,
            "line 15: listener.targets: 10.0.1.30:5432 is behind a range of ports; leave the port out, and the target gets the client's",
        ],
    );
    refused(
        &format!("{TCP}{TCP}").replacen("5432", "5433", 1),
        &["line 12: listener.name: \"db\" is another listener's name"],
    );
    refused("", &["listener: is missing"]);
}

#[test]
fn keys_of_elb_and_of_earlier_files_have_a_hint() {
    let key = |key: &str, line: &str| refused(&format!("{WEB}{key}\n{BLUE}"), &[&format!("line 11: {line}")]);
    key("mode = \"http\"", "listener.mode: unknown key; write protocol = \"http\" or \"tcp\"");
    key(
        "sticky = { source = true }",
        "listener.sticky: unknown key; it belongs to a target group: write [[target_group]] with a name, targets and this key, and forward = \"its name\" here",
    );
    key(
        "certificates = [\"arn:aws:acm:eu-west-1:1:certificate/x\"]",
        "listener.certificates: unknown key; Elbow doesn't terminate TLS, and can't use a certificate of ACM, as AWS gives its key to no one: \
         write protocol = \"tcp\", and let the targets terminate TLS",
    );
    key(
        "certificate_arn = \"arn:aws:acm:eu-west-1:1:certificate/x\"",
        "listener.certificate_arn: unknown key; Elbow doesn't terminate TLS, and can't use a certificate of ACM, as AWS gives its key to no one: \
         write protocol = \"tcp\", and let the targets terminate TLS",
    );
    key(
        "default_action = \"blue\"",
        "listener.default_action: unknown key; write one of forward, redirect and respond",
    );
    let value = |from: &str, to: &str, line: &str| refused(&format!("{WEB}{BLUE}").replacen(from, to, 1), &[line]);
    value(
        "protocol = \"http\"",
        "protocol = \"https\"",
        "line 9: listener.protocol: \"https\": Elbow neither terminates TLS nor speaks it to targets; write \"tcp\", and let the targets terminate it",
    );
    value(
        "[\"10.0.1.20:8080\", \"10.0.2.20:8080\"]",
        "{ auto_scaling_group = \"app\", port = 8080 }",
        "line 14: target_group.targets: { auto_scaling_group = \"app\", port = 8080 }: Elbow looks no targets up by Auto Scaling group, tag or DNS name; \
         write a list, such as [\"10.0.1.20:8080\"]",
    );
}

#[test]
fn keys_and_values_of_elb_at_their_places_have_a_hint() {
    let top = |key: &str, line: &str| refused(&format!("{key} = 1\n{WEB}{BLUE}"), &[&format!("line 6: {key}: {line}")]);
    top("internal", "unknown key; remove it: every balancer is internal");
    top("access_logs", "unknown key; write [logs] with syslog below it");
    top("max_connections", "unknown key; write it below [haproxy]");
    top("replace_after", "unknown key; write it below [failover]");
    let group =
        |key: &str, line: &str| refused(&format!("{WEB}{BLUE}{key}\n"), &[&format!("line 15: target_group.{line}")]);
    group("target_type = \"ip\"", "target_type: unknown key; remove it: targets are addresses");
    group(
        "health_check = { healthy_threshold = 3 }",
        "health_check.healthy_threshold: unknown key; write health_check = { healthy = 2, unhealthy = 3 }",
    );
    refused(
        &format!("{WEB}[[listener.rule]]\nif = {{ path_pattern = [\"/a\"] }}\nforward = \"blue\"\n{BLUE}"),
        &["line 12: listener.rule.if.path_pattern: unknown key; write if = { path = [\"/api/*\"] }"],
    );
    let value = |from: &str, to: &str, line: &str| refused(&format!("{WEB}{BLUE}").replacen(from, to, 1), &[line]);
    let line = "line 9: listener.protocol: \"HTTP\": write it in small letters, such as \"http\"";
    value("protocol = \"http\"", "protocol = \"HTTP\"", line);
    let line = "line 14: target_group.targets: \"i-0a1b\": Elbow looks no instances up; list addresses, such as [\"10.0.1.20:8080\"]";
    value("\"10.0.2.20:8080\"", "\"i-0a1b\"", line);
    let line = "line 11: listener.clients: \"sg-0a1b\": clients are CIDRs, such as [\"10.0.0.0/16\"]; a security group can't be named here";
    value("\"blue\"\n", "\"blue\"\nclients = [\"sg-0a1b\"]\n", line);
}

#[test]
fn values_of_a_wrong_type_say_what_to_write() {
    let web = |key: &str, line: &str| refused(&format!("{WEB}{key}\n{BLUE}"), &[&format!("line 11: listener.{line}")]);
    web(
        "forwarded_for = false",
        "forwarded_for: false: wrong type; write \"append\", \"append-with-port\", \"preserve\" or \"remove\"",
    );
    let duration =
        "is not a duration; write one whole number and one unit (ms, s, m, h) without a space, such as \"90m\"";
    web("idle_timeout = \"1h30m\"", &format!("idle_timeout: \"1h30m\" {duration}"));
    web("idle_timeout = \"9999h\"", "idle_timeout: \"9999h\" is too long; write at most \"1193h\"");
    let group =
        |key: &str, line: &str| refused(&format!("{WEB}{BLUE}{key}\n"), &[&format!("line 15: target_group.{line}")]);
    group(
        "health_check = { healthy = \"3\" }",
        "health_check.healthy: \"3\": wrong type; write a number from 1 to 10, without quotes",
    );
    group("health_check = { healthy = 300 }", "health_check.healthy: 300: not a number from 1 to 10");
    let target = |weight: &str, line: &str| {
        let target = format!("{{ address = \"10.0.2.20:8080\", weight = {weight} }}");
        refused(
            &format!("{WEB}{BLUE}").replace("\"10.0.2.20:8080\"", &target),
            &[&format!("line 14: target_group.targets.weight: {weight}: {line}")],
        );
    };
    target("\"5\"", "wrong type; write a number from 0 to 256, without quotes");
    target("-1", "not a number from 0 to 256");
    let rule = |key: &str, line: &str| {
        let text = format!("{WEB}[[listener.rule]]\nforward = \"blue\"\n{key}\n{BLUE}");
        refused(&text, &[&format!("line 13: listener.rule.{line}")]);
    };
    rule("if = { query = \"x\" }", "if.query: \"x\": wrong type; write { version = [\"2\"] }");
    rule("if = { header = [\"a\"] }", "if.header: [\"a\"]: wrong type; write { X-Canary = [\"yes\"] }");
    rule("rewrite = { query = [1] }", "rewrite.query: [1]: wrong type; write text in quotes, such as \"v=1\"");
    rule(
        "rewrite = { path = [\"(\"] }",
        "rewrite.path: [\"(\"]: wrong type; write a regular expression and what replaces its match, such as [\"^/v1/(.*)$\", '/\\1']",
    );
    refused(
        &format!("{WEB}{BLUE}").replace("forward = \"blue\"", "redirect = { path = \"/a\", status = \"HTTP_301\" }"),
        &[
            "line 10: listener.redirect.status: \"HTTP_301\": wrong type; write 301, 302, 303, 307 or 308, without quotes",
        ],
    );
    refused(
        &format!("{WEB}{BLUE}[haproxy]\nmax_connections = \"10k\"\n"),
        &["line 16: haproxy.max_connections: \"10k\": wrong type; write a number from 100 to 250000, without quotes"],
    );
}

#[test]
fn actions_that_cannot_be() {
    let action = |new: &str, line: &str| refused(&format!("{WEB}{BLUE}").replace("forward = \"blue\"", new), &[line]);
    action("", "line 6: listener: no action; write one of targets, forward, redirect and respond");
    action(
        "forward = \"blue\"\nrespond = { status = 404 }",
        "line 11: listener.respond: write one action, not both forward and respond",
    );
    action("forward = { blue = 0 }", "line 10: listener.forward: the weights sum to 0; give one group a weight");
    action(
        "forward = \"blue\"\nforward_sticky = \"1h\"",
        "line 11: listener.forward_sticky: chooses among groups; write forward = { blue = 80, green = 20 }, or sticky in the [[target_group]]",
    );
    action(
        "forward = { blue = 1000 }",
        "line 10: listener.forward.blue: the weight 1000 is out of range; write 0 to 999",
    );
    action(
        "forward = { blue = 1, red = 1 }",
        "line 10: listener.forward.red: no target group has the name \"red\"; write [[target_group]] with this name",
    );
    action(
        "redirect = { status = 301 }",
        "line 10: listener.redirect: leads to where the client is; write scheme, host, port, path or query",
    );
    action(
        "redirect = { scheme = \"https\", status = 200 }",
        "line 10: listener.redirect.status: 200 is not a redirect; write 301, 302, 303, 307 or 308",
    );
    action(
        "redirect = { path = \"/#{pth}\", status = 301 }",
        "line 10: listener.redirect.path: \"/#{pth}\" has an unknown #{…}; known: #{protocol}, #{host}, #{port}, #{path}, #{query}",
    );
    action(
        "redirect = { path = \"/a b\", status = 301 }",
        "line 10: listener.redirect.path: \"/a b\" is not a part of a URL; use the characters of RFC 3986 without spaces and quotes",
    );
    action("respond = { status = 99 }", "line 10: listener.respond.status: 99 is out of range; write 200 to 599");
    action(
        "respond = { status = 200, body = \"a\\nb\" }",
        "line 10: listener.respond.body: \"a\\nb\" has a control character; write printable text in one line",
    );
    action(
        "respond = { status = 200, content_type = \"text\" }",
        "line 10: listener.respond.content_type: \"text\" is not a media type, such as \"text/plain\"",
    );
    refused(
        &format!("{TCP}respond = {{ status = 404 }}\n"),
        &[
            "line 11: listener.respond: needs protocol = \"http\"",
            "line 11: listener.respond: write one action, not both targets and respond",
        ],
    );
    refused(
        &format!("{}{BLUE}", TCP.replace("targets = [\"10.0.1.30:5432\"]", "forward = \"blue\"")),
        &["line 10: listener.forward: \"blue\" has protocol \"http\", and the listener \"tcp\""],
    );
    refused(
        &format!("{WEB}health_check = {{ path = \"/\" }}\n{BLUE}"),
        &["line 11: listener.health_check: belongs to a list of targets; write it in the [[target_group]]"],
    );
    refused(
        &format!("{}{}", TCP.replace("db", "blue"), BLUE.replace("http", "tcp")),
        &["line 12: target_group.name: \"blue\" is the group of the listener's targets; choose another name"],
    );
}

#[test]
fn targets_and_group_keys_that_cannot_be() {
    let target = |new: &str, line: &str| {
        refused(
            &format!("{WEB}{BLUE}").replace("10.0.2.20:8080", new),
            &[&format!("line 14: target_group.targets: {line}")],
        );
    };
    target("web.internal:80", "\"web.internal:80\": not address:port, such as \"10.0.1.20:8080\"");
    target("10.0.2.20", "10.0.2.20 has no port; write it, such as \"10.0.1.20:8080\"");
    target("10.0.2.20:0", "10.0.2.20:0 has port 0; write 1 to 65535");
    target("10.0.1.20:8080", "10.0.1.20:8080 is listed twice");
    target("127.0.0.1:80", "127.0.0.1:80 is a loopback address; write the address of a host");
    target("10.255.0.10:80", "10.255.0.10:80 is a virtual IP of this balancer, which can't be its own target");
    let key =
        |key: &str, line: &str| refused(&format!("{WEB}{BLUE}{key}\n"), &[&format!("line 15: target_group.{line}")]);
    key(
        "minimum_healthy = 3",
        "minimum_healthy: 3 is out of range; write 1 to 2, the number of targets that have a weight and aren't backup",
    );
    let counted = |target: &str| {
        let group = BLUE.replace("\"10.0.2.20:8080\"", &format!("{{ address = \"10.0.2.20:8080\", {target} }}"));
        let line = "line 15: target_group.minimum_healthy: 2 is out of range; write 1 to 1, the number of targets that have a weight and aren't backup";
        refused(&format!("{WEB}{group}minimum_healthy = 2\n"), &[line]);
    };
    counted("weight = 0");
    counted("backup = true");
    key(
        "sticky = { cookie = \"A B\" }",
        "sticky.cookie: \"A B\" is not the name of a cookie; use up to 64 of a-z, A-Z, 0-9, - and _",
    );
    key(
        "sticky = { for = \"1h\" }",
        "sticky: { for = \"1h\" }: write exactly one of cookie = \"NAME\", app_cookie = \"NAME\" and source = true",
    );
    key(
        "balance = \"hash\"",
        "balance: \"hash\": unknown value; write round-robin or least-connections or random or source",
    );
    key(
        "health_check = { status = \"2xx\" }",
        "health_check.status: \"2xx\" are not codes; write codes and ranges from 100 to 599, such as \"200-299,301\"",
    );
    key(
        "health_check = { protocol = \"tcp\", path = \"/\" }",
        "health_check.path: a TCP check has no requests; write protocol = \"http\", or remove this key",
    );
    key("health_check = { interval = \"1ms\" }", "health_check.interval: 1ms is out of range; write 100ms to 300s");
    for bad in ["healthz", "/a b", "/a'", "/a#b"] {
        let rule = "is not a path; write / and up to 199 of the characters of a URL's path and query";
        key(&format!("health_check = {{ path = \"{bad}\" }}"), &format!("health_check.path: \"{bad}\" {rule}"));
    }
    let range = TCP.replace("port = 5432", "ports = \"40000-40099\"").replace(":5432", "");
    refused(
        &range,
        &["line 10: listener.targets: 10.0.1.30 has no port to check; write health_check = { port = 8080 }"],
    );
    accepted(&format!("{range}health_check = {{ port = 8080 }}\n"));
}

#[test]
fn groups_without_traffic_and_without_targets_are_warnings() {
    let warned = |text: &str| said(Severity::Warning, text);
    assert_eq!(
        warned(&format!("{TCP}{BLUE}")),
        ["line 11: target_group: no listener forwards to \"blue\"; its targets get no traffic"]
    );
    let empty = TCP.replace("[\"10.0.1.30:5432\"]", "[]");
    assert_eq!(
        warned(&empty),
        ["line 10: listener.targets: the list is empty: HAProxy answers 503, or ends connections"]
    );
    accepted(&empty);
}

#[test]
fn more_rules_than_a_security_group_holds_are_an_error() {
    let listeners = |step: u16| -> String {
        (0..30).map(|n| TCP.replace("5432", &(1000 + step * n).to_string()).replace("db", &format!("l{n}"))).collect()
    };
    let clients = "clients = [\"10.0.0.0/16\", \"192.168.0.0/24\"]\n";
    let line = "line 7: listener: the security group would need 63 rules, and AWS's quota is 60: list fewer clients, or use consecutive ports";
    refused(&format!("{clients}{}", listeners(2)), &[line]);
    accepted(&format!("{clients}{}", listeners(1)));
}
