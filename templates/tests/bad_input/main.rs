//! The errors for an invalid `balancer.toml`: one line that names the key. Each case is a change to the example and its
//! whole line.

mod account;
mod failover;
mod secrets;
mod syntax;

use templates::Balancer;

const GOOD: &str = include_str!("../../goldens/small/balancer.toml");

#[track_caller]
fn refused(old: &str, new: &str, line: &str) {
    assert!(GOOD.contains(old), "the example has no {old:?}");
    let text = GOOD.replacen(old, new, 1);
    let error = Balancer::parse(&text).expect_err(&text).to_string();
    assert!(!error.contains('\n'), "more than one line: {error}");
    assert_eq!(error, line);
}

#[test]
fn the_example_is_accepted() {
    Balancer::parse(GOOD).unwrap();
}

#[test]
fn keys_that_are_unknown_or_missing() {
    refused("subnets ", "subnet  ", "line 3: subnet: unknown key; did you mean subnets?");
    refused("port = 80", "prt = 80", "line 12: listener.prt: unknown key; did you mean port?");
    refused("path =", "pth =", "line 15: listener.health_check.pth: unknown key; did you mean path?");
    refused("[agent]", "[agnet]", "line 6: agnet: unknown key; did you mean agent?");
    refused("[agent]", "[agent]\ncolour = 1", "line 7: agent.colour: unknown key; known here: source, sha256");
    refused("port = 80\n", "", "line 10: listener.port: is missing");
    refused("vpc           = \"vpc-0a1b2c3d\"\n", "", "vpc: is missing");
    refused("sha256 =", "# sha256 =", "line 6: agent.sha256: is missing");
}

#[test]
fn text_that_is_no_toml() {
    let error = Balancer::parse("name = \"web\nvpc = 1\n").unwrap_err();
    assert_eq!(error.0[0].line, Some(1));
    assert!(!error.to_string().contains('\n'), "{error}");
    let error = Balancer::parse(&GOOD.replace("port = 80", "port = 80\nport = 81")).unwrap_err();
    assert_eq!(error.to_string(), "line 13: port: is defined twice; remove one of them");
}

#[test]
fn values_of_another_kind() {
    let top = |key: &str, line: &str| refused("\n[agent]", &format!("{key}\n[agent]"), &format!("line 5: {line}"));
    top("route_tables = 5", "route_tables: 5: wrong type; write \"all\" or a list of rtb-… ids");
    top(
        "clients = \"10.0.0.0/16\"",
        "clients: \"10.0.0.0/16\": wrong type; write a list of CIDRs, such as [\"10.0.0.0/16\"]",
    );
    top("launch = true", "launch: true: wrong type; write \"instances\" or \"auto-scaling\"");
    top("failover = 5", "failover: 5: wrong type; write [failover] once, with its keys below it");
    let vips = "line 4: virtual_ips: \"10.255.0.10\": wrong type; write a list of addresses, such as [\"10.255.0.10\"]";
    refused("[\"10.255.0.10\"]", "\"10.255.0.10\"", vips);
    let vpc = "line 2: vpc: 2026-01-01: wrong type; write an id in quotes, such as \"vpc-0a1b2c3d\"";
    refused("\"vpc-0a1b2c3d\"", "2026-01-01", vpc);
    let listener = "wrong type; write [[listener]] in double brackets, with its keys below it";
    refused("[[listener]]", "[listener]", &format!("line 10: listener: [listener]: {listener}"));
    let agent = "wrong type; write [agent] once, with source and sha256 below it";
    refused("[agent]", "[[agent]]", &format!("line 6: agent: [[agent]]: {agent}"));
    let of = |text: &str, line: &str| refused(text.split_once("//").unwrap().0, text.split_once("//").unwrap().1, line);
    of("80//\"80\"", "line 12: listener.port: \"80\": wrong type; write a number from 1 to 65535, without quotes");
    let targets = "[\"10.0.1.20:8080\", \"10.0.2.20:8080\"]//\"10.0.1.20:8080\"";
    of(
        targets,
        "line 14: listener.targets: \"10.0.1.20:8080\": wrong type; write a list, such as [\"10.0.1.20:8080\"]",
    );
    let health = "{ path = \"/healthz\", interval = \"2s\" }";
    let line = format!("line 15: listener.health_check: \"/healthz\": wrong type; write {health}");
    refused(health, "\"/healthz\"", &line);
}

#[test]
fn values_that_are_no_toml_are_named_by_their_keys() {
    refused(
        "[agent]",
        "[failover]\npreempt = yes\n[agent]",
        "line 7: failover.preempt: not valid TOML; write true or false",
    );
    refused(
        "port = 80",
        "port = 8O",
        "line 12: listener.port: not valid TOML; write a number from 1 to 65535, without quotes",
    );
}

#[test]
fn names_that_aws_would_not_take() {
    let rule = "is not a valid name; use up to 32 of a-z, 0-9 and -, starting with a letter and not ending with -";
    for bad in ["", "Web", "1web", "web-", "we_b", "a name", "a-name-that-is-longer-than-32-chars"] {
        refused("\"web\"", &format!("{bad:?}"), &format!("line 1: name: {bad:?} {rule}"));
    }
    refused("\"http\"\nport", "\"a b\"\nport", &format!("line 11: listener.name: \"a b\" {rule}"));
}

#[test]
fn ids_of_another_shape() {
    refused("vpc-0a1b2c3d", "vpc0a1b", "line 2: vpc: \"vpc0a1b\" is not an id; write vpc- and hex digits");
    refused("subnet-0b", "vpc-0b", "line 3: subnets: \"vpc-0b\" is not an id; write subnet- and hex digits");
    refused(
        "\n[agent]",
        "route_tables = [\"rtb-0a\", \"x\"]\n[agent]",
        "line 5: route_tables: \"x\" is not an id; write rtb- and hex digits",
    );
    refused(
        "\n[agent]",
        "route_tables = []\n[agent]",
        "line 5: route_tables: the list is empty; write \"all\" or at least one id",
    );
    refused(
        "\n[agent]",
        "route_tables = \"some\"\n[agent]",
        "line 5: route_tables: \"some\": unknown value; write \"all\" or a list of rtb-… ids",
    );
    refused(
        "\n[agent]",
        "image = \"debian\"\n[agent]",
        "line 5: image: \"debian\" is not an image; write ami-… or resolve:ssm:/path",
    );
    refused(
        "\n[agent]",
        "instance_type = \"big\"\n[agent]",
        "line 5: instance_type: \"big\" is not an instance type, such as \"t3.small\"",
    );
}

#[test]
fn too_few_and_too_many_nodes() {
    let few = "at least two are needed, in two availability zones: one node in each";
    refused(", \"subnet-0b\"]", "]", &format!("line 3: subnets: {few}"));
    refused("\"subnet-0b\"]", "\"subnet-0a\"]", "line 3: subnets: subnet-0a is listed twice");
    let six = "\"subnet-1\", \"subnet-2\", \"subnet-3\", \"subnet-4\", \"subnet-5\"]";
    refused("\"subnet-0b\"]", six, "line 3: subnets: 6 are too many; write at most five");
}

#[test]
fn virtual_ips_that_cannot_be() {
    let vips = |list: &str, line: &str| refused("[\"10.255.0.10\"]", list, line);
    vips("[]", "line 4: virtual_ips: at least one is needed");
    vips("[\"10.255.0.10\", \"10.255.0.10\"]", "line 4: virtual_ips: 10.255.0.10 is listed twice");
    vips("[\"10.255.0.300\"]", "line 4: virtual_ips: \"10.255.0.300\": not an IPv4 address, such as \"10.255.0.10\"");
    vips(
        "[\"10.255.0.10/32\"]",
        "line 4: virtual_ips: \"10.255.0.10/32\": not an IPv4 address, such as \"10.255.0.10\"",
    );
    for (vip, what) in [
        ("127.0.0.1", "a loopback address"),
        ("224.0.0.18", "a multicast address"),
        ("169.254.1.1", "a link-local address"),
        ("0.0.0.0", "not the address of a host"),
        ("255.255.255.255", "the broadcast address"),
        ("240.0.0.1", "a reserved address"),
    ] {
        let line = format!("line 4: virtual_ips: {vip} is {what}; choose an address outside the VPC");
        vips(&format!("[{vip:?}]"), &line);
    }
    let many: Vec<String> = (1..=17).map(|n| format!("\"10.255.0.{n}\"")).collect();
    vips(&format!("[{}]", many.join(",")), "line 4: virtual_ips: 17 are too many; write at most 16");
}

#[test]
fn agents_that_cannot_be_fetched() {
    let source = |new: &str, line: &str| refused("https://downloads.example.com/elbow/agent", new, line);
    let place = "is neither a URL (https://, http:// or s3://) nor an absolute path";
    source("ftp://host/agent", &format!("line 7: agent.source: \"ftp://host/agent\" {place}"));
    source("agent", &format!("line 7: agent.source: \"agent\" {place}"));
    source("https:///agent", "line 7: agent.source: \"https:///agent\" has no host; write https://host/path");
    let object = "is not an object in S3; write s3://bucket/key, with a-z, 0-9 and - in the bucket, and a-z, A-Z, 0-9 and /_.- in \
                  the key";
    for bad in ["s3://bucket", "s3://bucket/", "s3://Bucket/agent", "s3://dotted.bucket/agent", "s3://bucket/'x"] {
        source(bad, &format!("line 7: agent.source: {bad:?} {object}"));
    }
    source("s3://b/agent?s3cret", &format!("line 7: agent.source: \"s3://b/agent?…\" {object}"));
    let path = "is not a file's path; use a-z, A-Z, 0-9 and /_.-";
    for bad in ["/", "/opt/", "/opt/an agent", "/opt/$(reboot)"] {
        source(bad, &format!("line 7: agent.source: {bad:?} {path}"));
    }
    let secret = "has a user or a password, which user-data, install.sh and dry runs would show; remove them (the URL \
                  isn't shown here)";
    source("https://user:s3cret@host/agent", &format!("line 7: agent.source: {secret}"));
    source("https://s3cret@host", &format!("line 7: agent.source: {secret}"));
    let rule = "is not a URL; use at most 2000 of the characters of RFC 3986, without quotes";
    source("https://x/'; reboot", &format!("line 7: agent.source: \"https://x/'; reboot\" {rule}"));
    refused(
        "9f86",
        "",
        "line 8: agent.sha256: \"d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08\" is not a SHA-256; write 64 hex digits, as sha256sum prints",
    );
}

#[test]
fn agents_in_s3_and_in_the_image_and_none_are_accepted() {
    for good in ["s3://artifacts-1/elbow/agent-1.0_x86", "/opt/image/agent-1.0_x86"] {
        Balancer::parse(&GOOD.replace("https://downloads.example.com/elbow/agent", good)).unwrap();
    }
    let (head, rest) = GOOD.split_once("[agent]").unwrap();
    let listener = rest.find("[[listener]]").unwrap();
    assert!(Balancer::parse(&format!("{head}{}", &rest[listener..])).unwrap().uses_bucket());
}

#[test]
fn what_only_the_launcher_writes_is_no_key_of_a_file() {
    let digest = "1".repeat(64);
    refused(
        "\n[agent]",
        &format!("agents = {{ x86_64 = \"{digest}\" }}\n[agent]"),
        "line 5: agents: unknown key; did you mean agent?",
    );
}

#[test]
fn failover_clients_and_launch_that_cannot_be() {
    let interval = |value: &str, said: &str| {
        let line = format!(
            "line 7: failover.advertisement_interval: {said} is out of range; write 10ms to 40950ms, in steps of 10ms"
        );
        refused("[agent]", &format!("[failover]\nadvertisement_interval = \"{value}\"\n[agent]"), &line);
    };
    interval("5ms", "5ms");
    interval("105ms", "105ms");
    interval("1m", "60s");
    let top = |key: &str, line: &str| refused("\n[agent]", &format!("{key}\n[agent]"), &format!("line 5: {line}"));
    top("clients = [\"10.0.0.1/16\"]", "clients: 10.0.0.1/16 has host bits set; write 10.0.0.0/16");
    top("clients = [\"10.0.0.0\"]", "clients: \"10.0.0.0\": not a CIDR, such as \"10.0.0.0/16\"");
    top("launch = \"lambda\"", "launch: \"lambda\": unknown value; write \"instances\" or \"auto-scaling\"");
}

#[test]
fn a_key_that_is_not_used_changes_no_revision() {
    let balancer = Balancer::parse(GOOD).unwrap();
    assert!(!balancer.canonical().contains("drain_timeout") && !balancer.canonical().contains("replace_after"));
    let used = GOOD.replace("[agent]", "[failover]\ndrain_timeout = \"60s\"\n[agent]");
    assert_ne!(Balancer::parse(&used).unwrap().revision(), balancer.revision());
}

#[test]
fn webhooks_that_cannot_be_and_no_line_shows_one() {
    let webhook = |value: &str, line: &str| {
        refused(
            "[agent]",
            &format!("[notify]\nwebhook = {value}\n[agent]"),
            &format!("line 7: notify.webhook: {line}"),
        );
    };
    let clear = "is a secret that http:// would send unencrypted; write https:// (http:// only to 127.0.0.1)";
    webhook("\"http://hooks.example.com/s3cret\"", clear);
    webhook("\"s3cret\"", "is not a URL; write https://host/path (the value isn't shown here)");
    webhook("\"ftp://hooks.example.com/s3cret\"", "is not an https:// URL (the value isn't shown here)");
    webhook("\"mailto:s3cret\"", "has no host; write https://host/path (the value isn't shown here)");
    let shape = "is not a URL; use at most 2000 of the characters of RFC 3986 (the value isn't shown here)";
    webhook("\"https://hooks.example.com/s3 cret\"", shape);
    let text = "wrong type; write [notify] and, below it, webhook = \"https://…\"";
    webhook("[\"https://hooks.example.com/s3cret\"]", text);
    refused("\n[agent]", "notify = \"https://h/s3cret\"\n[agent]", &format!("line 5: notify: {text}"));
    refused("[agent]", "[notify]\n[agent]", "line 6: notify.webhook: is missing");
    let misspelt = "[notify]\nwebhok = \"https://h/s3cret\"\n[agent]";
    refused("[agent]", misspelt, "line 7: notify.webhok: unknown key; did you mean webhook?");
}

#[test]
fn no_error_under_notify_repeats_a_value() {
    let secret = "https://hooks.example.com/T0/S3cret?token=S3cret";
    let tables =
        ["[notify]\n", "[ notify ]\n", "[\"notify\"]\n", "[[notify]]\n", "notify.", "notify = { ", "[notify.x]\n"];
    let values = [
        "webhook = SECRET",
        "webhook = \"SECRET",
        "webhook = 'SECRET\"",
        "webhook = \"SECRET\\q\"",
        "webhook = \"SECRET\" \"SECRET\"",
        "webhook = \"SECRET\"\nwebhook = \"SECRET\"",
        "webhook = \"SECRET\" }\n[notify]\nwebhook = \"SECRET\"",
        "webhook = \"\"\"\nSECRET=\n[x]\nSECRET = 1\n",
        "webhook = '''\nSECRET = x\n",
        "webhook = { SECRET = 1 }",
        "webhook = [\"SECRET\", \"SECRET\"]",
        "webhook = [\n\"SECRET\",\nSECRET\n",
        "webhook.\"SECRET\" = 1",
        "\"SECRET\" = true",
        "\"SECRET\" = \"SECRET\"\n\"SECRET\" = 1",
        "SECRET = 1",
        "SECRET",
        "\"S3cret\" = 1",
        "\"T0KEN-S3cret\" = \"a\"",
        "webhok = \"SECRET\"",
        "webhook = \"SECRET\" }",
        "webhook = 1979-05-27T07:32:00Z # SECRET",
        "webhook",
        "webhook = \"SECRET\\u{0}\"",
        "webhook = \"SECRET\u{7}\"",
    ];
    let mut tried = 0;
    for (table, value) in tables.iter().flat_map(|table| values.map(|value| (table, value))) {
        for at_end in [false, true] {
            let more = format!("{table}{}\n", value.replace("SECRET", secret));
            let text = match at_end {
                true => format!("{GOOD}\n{more}"),
                false => GOOD.replacen("[agent]", &format!("{more}[agent]"), 1),
            };
            let Err(error) = Balancer::parse(&text) else { continue };
            tried += 1;
            // A caret's line would show it.
            for span in error.0.iter().filter_map(|finding| finding.span.clone()) {
                let start = text[..span.start].rfind('\n').map_or(0, |before| before + 1);
                let end = text[span.end..].find('\n').map_or(text.len(), |after| span.end + after);
                assert!(!text[start..end].contains("S3cret"), "{more}{}", &text[start..end]);
            }
            let error = format!("{error} {error:?}");
            assert!(!error.contains("S3cret"), "{more}{error}");
            assert!(!error.contains("hooks.example.com"), "{more}{error}");
        }
    }
    assert!(tried > 200, "{tried} of them are errors");
}

#[test]
fn a_webhook_is_not_shown_by_debug() {
    for good in ["https://hooks.example.com/s3cret", "http://127.0.0.1:9/s3cret", "http://localhost/s3cret"] {
        let text = GOOD.replacen("[agent]", &format!("[notify]\nwebhook = {good:?}\n[agent]"), 1);
        let balancer = Balancer::parse(&text).unwrap();
        assert_eq!(balancer.notify.as_ref().unwrap().webhook.reveal(), good);
        assert!(!format!("{balancer:?} {balancer:#?}").contains("s3cret"));
    }
}

#[test]
fn readers_of_metadata_that_cannot_be() {
    let node = |text: &str, line: &str| refused("[agent]", &format!("[node]\n{text}\n[agent]"), line);
    node("metadata = \"nobody\"", "line 7: node.metadata: \"nobody\": unknown value; write restricted or root");
    node("metadata = true", "line 7: node.metadata: true: wrong type; write \"restricted\" or \"root\"");
    node("metdata = \"root\"", "line 7: node.metdata: unknown key; did you mean metadata?");
    refused(
        "[agent]",
        "node = \"root\"\n[agent]",
        "line 6: node: \"root\": wrong type; write [node] once, with its keys below it",
    );
}

#[test]
fn readers_of_metrics_that_cannot_be() {
    let clients = |list: &str, line: &str| {
        let line = format!("line 7: metrics.clients: {line}");
        refused("[agent]", &format!("[metrics]\nclients = {list}\n[agent]"), &line);
    };
    clients("[]", "the list is empty; write at least one CIDR, or remove [metrics]");
    clients("[\"10.0.9.1/24\"]", "10.0.9.1/24 has host bits set; write 10.0.9.0/24");
    clients("[\"10.0.9.0/24\", \"10.0.9.0/24\"]", "10.0.9.0/24 is listed twice");
    for all in ["\"0.0.0.0/0\"", "\"0.0.0.0/1\", \"128.0.0.0/1\"", "\"64.0.0.0/2\", \"128.0.0.0/1\", \"0.0.0.0/2\""] {
        clients(&format!("[{all}]"), "0.0.0.0/0 admits every address; write the CIDRs of the readers");
    }
    clients("[\"10.0.9.9\"]", "\"10.0.9.9\": not a CIDR, such as \"10.0.0.0/16\"");
    refused("[agent]", "[metrics]\n[agent]", "line 6: metrics.clients: is missing");
}

#[test]
fn receivers_of_the_log_that_cannot_be() {
    let syslog = |value: &str, line: &str| {
        refused("[agent]", &format!("[logs]\nsyslog = {value}\n[agent]"), &format!("line 7: logs.syslog: {line}"));
    };
    let form = "write an IPv4 address or a name, and 1 to 65535, such as \"logs.example.com:514\"";
    for bad in ["logs.example.com", "logs:0", "logs:65536", "10.0.0.256:514", "[fd00::1]:514"] {
        syslog(&format!("{bad:?}"), &format!("{bad:?} is not a host and a port; {form}"));
    }
    syslog("514", "514: wrong type; write a host and a port in quotes, such as \"logs.example.com:514\"");
    let server = "write the address or the name of a syslog server";
    syslog("\"10.255.0.10:514\"", &format!("10.255.0.10 is a virtual IP of this balancer; {server}"));
    syslog("\"127.0.0.1:514\"", &format!("127.0.0.1 is a loopback address; {server}"));
    syslog("\"Localhost:514\"", &format!("Localhost is the node itself; {server}"));
    refused("[agent]", "[logs]\n[agent]", "line 6: logs.syslog: is missing");
}
