//! The balancer file that `init` prints: what was chosen, and every other key as a comment with its default. A line
//! that begins with `#` and a key becomes a setting without the `#`.

use std::net::Ipv4Addr;

use templates::balancer::{Address, Protocol, Severity, examine};

/// A new balancer.
#[derive(Debug, Clone)]
pub struct Draft {
    pub name: String,
    pub region: String,
    pub vpc: String,
    pub subnets: Vec<String>,
    pub virtual_ip: Ipv4Addr,
    pub protocol: Protocol,
    pub port: u16,
    /// If empty, HAProxy itself answers.
    pub targets: Vec<Address>,
    pub agent: Option<Agent>,
}

/// Where nodes get the agent, if not from Elbow's bucket.
#[derive(Debug, Clone)]
pub struct Agent {
    pub source: String,
    pub sha256: String,
}

/// The file's text.
pub fn render(draft: &Draft) -> String {
    [head(draft), agent(draft.agent.as_ref()), SECTIONS.to_owned(), listener(draft)].concat()
}

/// What is wrong with what the operator gave, by the checks that every command makes.
pub fn problems(draft: &Draft) -> Vec<String> {
    let examined = examine(&render(draft), &|_| Err("no other file is read".to_owned()));
    let errors = examined.findings.into_iter().filter(|finding| finding.severity == Severity::Error);
    errors.map(|finding| format!("{}: {}", finding.key, finding.message)).collect()
}

fn head(draft: &Draft) -> String {
    let Draft { name, region, vpc, subnets, virtual_ip, .. } = draft;
    let (name, vpc) = (quoted(name), quoted(vpc));
    let subnets = listed(subnets);
    format!(
        r#"#:schema ./elbow.schema.json

# A balancer in {region}, by `launcher init`. A line such as #launch shows a key's default: remove the # to change it.
# Editors check the file and explain its keys after: launcher schema > elbow.schema.json

# Unique in the Region: a-z, 0-9 and -. Can't change.
name = {name}
# The VPC of the nodes. Can't change.
vpc = {vpc}
# 2 to 5 subnets in at least two availability zones; one node in each.
subnets = {subnets}
# 1 to 16 addresses outside of the VPC's networks; clients connect to them.
virtual_ips = ["{virtual_ip}"]
# A Nitro type.
#instance_type = "t3.small"
# ami-… or resolve:ssm:/path; by default Amazon Linux 2023 for x86_64.
#image = "resolve:ssm:/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64"
# Networks that may connect; by default the VPC's.
#clients = ["10.0.0.0/8"]
# "all", or a list of the route tables that get the virtual IPs' routes.
#route_tables = "all"
# "instances", or "auto-scaling": a group replaces lost nodes. Can't change.
#launch = "instances"
"#
    )
}

const SOURCE: &str = "https://artifacts.example.com/elbow/agent";

/// The section of the agent: a comment, unless it is given.
fn agent(agent: Option<&Agent>) -> String {
    let explained = "\n# Where nodes get the agent (https, http, s3://bucket/key, or a path in the image), and its SHA-256; by \
                     default a\n# bucket that `create` makes, with the agents beside the launcher.\n";
    match agent {
        Some(Agent { source, sha256 }) => {
            format!("{explained}[agent]\nsource = {}\nsha256 = {}\n", quoted(source), quoted(sha256))
        }
        None => {
            let (source, sha256) = (quoted(SOURCE), quoted(&"0".repeat(64)));
            format!("{explained}#[agent]\n#source = {source}\n#sha256 = {sha256}\n")
        }
    }
}

const SECTIONS: &str = r#"
#[failover]
# VRRP's interval; a standby takes over after about three silent ones.
#advertisement_interval = "200ms"
# true: the preferred node takes its virtual IP back.
#preempt = false
# How long a stopping node waits for open connections, 0s to 60m.
#drain_timeout = "60s"
# With launch = "auto-scaling": how long a node is unreachable before the group replaces it, 20s to 60m.
#replace_after = "60s"
# How often the active node reads the route tables, 2s to 5m.
#route_check = "30s"

#[notify]
# Gets a POST for each event, over https; by default nothing does.
#webhook = "https://hooks.example.com/elbow"

#[metrics]
# Networks that may read the nodes' metrics on port 9110; by default only the nodes.
#clients = ["10.0.9.0/24"]

#[logs]
# Gets a copy of HAProxy's log over TCP; by default it stays on the nodes.
#syslog = "logs.example.com:514"

#[updates]
# true: running nodes change to an update. false: new nodes replace them.
#in_place = true

#[node]
# "restricted": HAProxy can't read the instance's metadata. "root": only root can.
#metadata = "restricted"
# Existing security groups of the nodes, beside Elbow's; by default none.
#security_groups = ["sg-0a1b2c3d"]

#[volume]
# The name of the image's root device.
#device = "/dev/xvda"
# In GiB; by default as large as the image's.
#size = 20
# The KMS key that encrypts it; by default the account's setting counts.
#kms_key = "arn:aws:kms:eu-west-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"

# Elbow creates a role and an instance profile, or takes existing ones: role = "NAME", or instance_profile = "NAME".
#[iam]
# The path of what Elbow creates.
#path = "/"
# The permissions boundary of Elbow's role; by default none.
#permissions_boundary = "arn:aws:iam::123456789012:policy/Boundary"

#[tags]
# Any keys, on everything that Elbow creates; by default none.
#team = "web"

#[haproxy]
# The longest request line and headers, up to 64KB.
#max_request_headers = "15KB"
# Of all listeners together; by default by the nodes' memory.
#max_connections = 20000
"#;

fn listener(draft: &Draft) -> String {
    let Draft { protocol, port, targets, .. } = draft;
    let action = match &targets[..] {
        [] => concat!(
            "# HAProxy itself answers. Write targets = [\"address:port\"] instead, where requests are to go.\n",
            "respond = { status = 200, content_type = \"text/plain\", body = \"Elbow answers.\" }\n",
        )
        .to_owned(),
        targets => {
            let targets: Vec<String> = targets.iter().map(Address::to_string).collect();
            format!(
                "# Up to 1000; their security groups must admit elbow-{} on these ports.\ntargets = {}\n",
                draft.name,
                listed(&targets)
            )
        }
    };
    let check = match (protocol, targets.is_empty()) {
        (_, true) => "",
        (Protocol::Http, false) => {
            "# A target is healthy after 2 answers with a status of 200 to 399, and unhealthy after 3 others.\n\
             health_check = { path = \"/\", interval = \"2s\", timeout = \"5s\", status = \"200-399\" }\n"
        }
        (Protocol::Tcp, false) => {
            "# A target is healthy after 2 accepted connections, and unhealthy after 3 failed ones.\n\
             health_check = { interval = \"2s\", timeout = \"5s\" }\n"
        }
    };
    let idle = match protocol {
        Protocol::Http => "60s",
        Protocol::Tcp => "350s",
    };
    let http = match protocol {
        Protocol::Http => HTTP,
        Protocol::Tcp => "",
    };
    format!(
        r#"
# A port of each virtual IP. More ports are more [[listener]] sections; docs/configuration.md has rules and target groups.
[[listener]]
name = "{protocol}"
# "http", or "tcp" for a stream of bytes.
protocol = "{protocol}"
# Or a range: ports = "40000-40099".
port = {port}
{action}{check}# Networks that may connect to this listener; by default the balancer's clients.
#clients = ["10.0.0.0/8"]
# How long a connection may be silent, 1s to 24h.
#idle_timeout = "{idle}"
# Proxies that send a PROXY protocol header; by default none.
#proxy_protocol_from = ["10.0.9.0/24"]
{http}"#
    )
}

const HTTP: &str = r#"# How long a connection waits for its next request; by default idle_timeout.
#keep_alive = "60s"
# What becomes of X-Forwarded-For: "append", "append-with-port", "preserve" or "remove".
#forwarded_for = "append"
# Set in every response; an empty value removes the header. By default none.
#response_headers = { Server = "" }
# The most requests of one client address; by default any number.
#rate_limit = { requests = 100, per = "10s" }
"#;

/// TOML text. JSON's escapes are TOML's, too.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn listed(texts: &[String]) -> String {
    let texts: Vec<String> = texts.iter().map(|text| quoted(text)).collect();
    format!("[{}]", texts.join(", "))
}

#[cfg(test)]
mod tests {
    use templates::balancer::Volume;

    use super::*;
    use crate::commands::schema::tests::refusal;

    fn draft(protocol: Protocol, port: u16, targets: &[&str]) -> Draft {
        Draft {
            name: "web".to_owned(),
            region: "eu-west-1".to_owned(),
            vpc: "vpc-0a1b".to_owned(),
            subnets: vec!["subnet-0a".to_owned(), "subnet-0b".to_owned()],
            virtual_ip: Ipv4Addr::new(10, 255, 0, 10),
            protocol,
            port,
            targets: targets.iter().map(|target| target.parse().unwrap()).collect(),
            agent: Some(Agent { source: SOURCE.to_owned(), sha256: "ab".repeat(32) }),
        }
    }

    fn drafts() -> [Draft; 3] {
        [
            draft(Protocol::Http, 80, &["10.0.1.20:8080", "10.0.2.20:8080"]),
            draft(Protocol::Http, 8080, &[]),
            draft(Protocol::Tcp, 5432, &["10.0.1.30:5432"]),
        ]
    }

    /// The text with each commented key as a setting.
    fn uncommented(text: &str) -> String {
        let is_setting = |rest: &str| rest.starts_with(|c: char| c.is_ascii_lowercase() || c == '[');
        let lines = text.lines().map(|line| line.strip_prefix('#').filter(|rest| is_setting(rest)).unwrap_or(line));
        lines.map(|line| format!("{line}\n")).collect()
    }

    fn fits(text: &str) {
        let examined = examine(text, &|_| Err("no other file".to_owned()));
        assert!(examined.findings.is_empty() && examined.balancer.is_some(), "{:?}\n{text}", examined.findings);
        assert_eq!(refusal(text), None, "{text}");
    }

    #[test]
    fn every_text_fits_without_a_warning_also_with_every_commented_key() {
        for draft in drafts() {
            let text = render(&draft);
            fits(&text);
            assert_eq!(problems(&draft), [] as [String; 0]);
            // The group's own key is refused without a group.
            fits(&uncommented(&text).replace("launch = \"instances\"", "launch = \"auto-scaling\""));
            let without = Draft { agent: None, ..draft };
            assert_eq!(problems(&without), [] as [String; 0]);
            fits(&uncommented(&render(&without)).replace("launch = \"instances\"", "launch = \"auto-scaling\""));
        }
    }

    #[test]
    fn a_commented_key_shows_its_default() {
        let text = render(&drafts()[0]);
        let balancer = templates::Balancer::parse(&text).unwrap();
        for line in [
            format!("#instance_type = \"{}\"", balancer.instance_type),
            format!("#image = \"{}\"", balancer.image),
            format!("#launch = \"{}\"", String::from(balancer.launch)),
            format!("#advertisement_interval = \"{}\"", balancer.failover.advertisement_interval),
            format!("#drain_timeout = \"{}\"", balancer.failover.drain_timeout()),
            format!("#replace_after = \"{}\"", balancer.failover.replace_after()),
            format!("#route_check = \"{}\"", balancer.failover.route_check()),
            format!("#preempt = {}", balancer.failover.preempt),
            format!("#in_place = {}", balancer.updates.in_place),
            format!("#device = \"{}\"", Volume::default().device),
            format!("#path = \"{}\"", balancer.iam.path()),
            format!("#max_request_headers = \"{}\"", balancer.haproxy.max_request_headers()),
            format!("#idle_timeout = \"{}\"", balancer.listeners[0].idle_timeout()),
        ] {
            assert!(text.contains(&format!("\n{line}\n")), "{line} isn't in\n{text}");
        }
        let tcp = templates::Balancer::parse(&render(&drafts()[2])).unwrap();
        let line = format!("\n#idle_timeout = \"{}\"\n", tcp.listeners[0].idle_timeout());
        assert!(render(&drafts()[2]).contains(&line), "{line}");
    }

    #[test]
    fn every_key_is_explained_in_the_line_above_and_the_first_line_names_the_schema() {
        for draft in drafts() {
            let text = render(&draft);
            assert!(text.starts_with("#:schema ./elbow.schema.json\n\n"), "{text}");
            let lines: Vec<&str> = text.lines().collect();
            let keys = lines.iter().enumerate().filter(|(_, line)| line.trim_start_matches('#').contains(" = "));
            for (at, line) in keys.filter(|(_, line)| !line.starts_with("# ")) {
                // The table's own comment explains its first keys.
                let of_table = ["source", "sha256", "name = \"http\"", "name = \"tcp\""];
                let of_table = of_table.iter().any(|key| line.trim_start_matches('#').starts_with(key));
                assert!(of_table || lines[at - 1].starts_with("# "), "{line}");
            }
        }
    }

    #[test]
    fn what_the_operator_gave_wrong_is_named_by_its_key() {
        let good = drafts()[0].clone();
        for (wrong, said) in [
            (Draft { name: "We b".into(), ..good.clone() }, "name: \"We b\" is not a valid name"),
            (Draft { port: 9110, ..good.clone() }, "listener.port: "),
            (Draft { virtual_ip: Ipv4Addr::LOCALHOST, ..good.clone() }, "virtual_ips: "),
            (Draft { agent: Some(Agent { source: "ftp://a".into(), sha256: "1".into() }), ..good }, "agent.source: "),
        ] {
            let problems = problems(&wrong);
            assert!(problems.iter().any(|problem| problem.starts_with(said)), "{problems:?}\nnot: {said}");
        }
    }
}
