//! No text of an operator changes what haproxy.cfg means: a thousand hostile strings for each key that takes text go
//! through the checks of a balancer's file and, if those accept them, through HAProxy. Samples are served, and come
//! back unchanged.

use std::fmt::Write;

use templates::balancer::Balancer;
use templates::files::{self, HaproxyNode};

use crate::machine::Machine;

/// A key of the file, and lines in which it has a text.
type Key = (&'static str, fn(&str) -> String);

const STRINGS: usize = 1000;
/// Rules of a listener.
const RULES: usize = 500;

/// Parts that mean something to HAProxy's parser, its log formats, its conditions or its regular expressions.
const PARTS: [&str; 40] = [
    "'",
    "''",
    "\"",
    "\\",
    "\\'",
    "\\\\",
    "#",
    " # x",
    " ",
    "  ",
    "%",
    "%%",
    "%[src]",
    "%[env(PATH)]",
    "%{+Q}o",
    "{",
    "}",
    "||",
    "or",
    "if",
    "unless",
    "!",
    "-i",
    "-f",
    "--",
    "-m reg",
    "$HOME",
    "${HOME}",
    "\"$HOME\"",
    "[",
    "]",
    "(",
    ")",
    ",",
    ";",
    "a",
    "Z9",
    "é\u{2028}",
    "always_true",
    "\\x41",
];

/// The same strings in each run (a linear congruential generator).
struct Strings(u32);

impl Strings {
    fn next(&mut self, below: usize) -> usize {
        self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (self.0 >> 8) as usize % below
    }

    fn hostile(&mut self, parts: &[&str]) -> String {
        (0..=self.next(6)).map(|_| parts[self.next(parts.len())]).collect()
    }
}

/// A value as TOML, where a string of JSON is one, too.
fn toml(text: &str) -> String {
    serde_json::to_string(text).unwrap()
}

const HEAD: &str = "name = \"web\"\nvpc = \"vpc-0a\"\nsubnets = [\"subnet-0a\", \"subnet-0b\"]\nvirtual_ips = [\"10.255.0.10\"]\n\
    agent = { source = \"https://x/agent\", sha256 = \"0000000000000000000000000000000000000000000000000000000000000000\" }\n\
    target_group = [{ name = \"g\", protocol = \"http\", targets = [\"10.0.1.1:80\"] }]\n";

/// A balancer with these rules, in as many listeners as they need.
fn of_rules(rules: &[String]) -> String {
    let mut text = HEAD.to_owned();
    for (n, rules) in rules.chunks(RULES).enumerate() {
        let port = 8000 + n;
        let _ = write!(
            text,
            "[[listener]]\nname = \"l{n}\"\nport = {port}\nprotocol = \"http\"\nforward = \"g\"\n{}",
            rules.concat()
        );
    }
    text
}

/// A thousand strings that the checks accept in `rule`, which makes a rule of the string's TOML and its number.
fn accepted(parts: &[&str], rule: impl Fn(&str, usize) -> String) -> Vec<String> {
    let mut strings = Strings(7);
    let mut rules = Vec::new();
    for tried in 0.. {
        assert!(tried < 200 * STRINGS, "the checks accept {} strings only", rules.len());
        let made = rule(&toml(&strings.hostile(parts)), rules.len());
        if Balancer::parse(&of_rules(std::slice::from_ref(&made))).is_ok() {
            rules.push(made);
        }
        if rules.len() == STRINGS {
            break;
        }
    }
    rules
}

/// HAProxy accepts the balancer's configuration without a warning.
fn checked(what: &str, text: &str) {
    let balancer = Balancer::parse(text).unwrap_or_else(|invalid| panic!("{what}: {invalid}"));
    let config = files::haproxy_cfg(&HaproxyNode::typical(&balancer));
    let said = Machine::node()
        .with("/etc/haproxy/haproxy.cfg", &config)
        .run("mkdir -p /run/haproxy; haproxy -c -f /etc/haproxy/haproxy.cfg 2>&1 | tail -20");
    assert!(said.text.trim() == "Configuration file is valid", "{what}: {}", said.text);
}

/// A rule that answers 404, with this condition and one that makes it another rule than all others.
fn condition(condition: &str, number: usize) -> String {
    format!(
        "[[listener.rule]]\nif = {{ {condition}, source = [\"10.{}.{}.0/24\"] }}\nrespond = {{ status = 404 }}\n",
        number / 256,
        number % 256
    )
}

#[test]
fn haproxy_accepts_hostile_conditions() {
    let names: Vec<&str> = PARTS.iter().copied().chain(["x-", "_", "*", "?", ".", "/", "b"]).collect();
    let keys: [Key; 6] = [
        ("header", |text| format!("header = {{ X = [{text}] }}")),
        ("a header's name", |text| format!("header = {{ {text} = [\"a\"] }}")),
        ("query", |text| format!("query = {{ x = [{text}] }}")),
        ("host", |text| format!("host = [{text}]")),
        ("path", |text| format!("path = [{text}]")),
        ("method", |text| format!("method = [{text}]")),
    ];
    for (what, key) in keys {
        let parts: Vec<&str> = match what {
            "header" | "query" => PARTS.to_vec(),
            "path" => names.iter().copied().chain(["/"; 40]).collect(),
            // Nearly all hostile text is refused here: more plain parts, to find a thousand that are accepted.
            _ => names.iter().copied().chain(["A", "B-", "GET", "Q"].repeat(30)).collect(),
        };
        checked(what, &of_rules(&accepted(&parts, |text, number| condition(&key(text), number))));
    }
}

#[test]
fn haproxy_accepts_hostile_actions() {
    let action =
        |action: String, number: usize| format!("[[listener.rule]]\nif = {{ path = [\"/{number}\"] }}\n{action}\n");
    let url: Vec<&str> = PARTS.iter().copied().chain(["#{path}", "#{query}", "/", "a=", "&", "?"].repeat(8)).collect();
    let keys: [Key; 7] = [
        ("body", |text| format!("respond = {{ status = 200, body = {text} }}")),
        ("content_type", |text| format!("respond = {{ status = 200, content_type = {text} }}")),
        ("redirect.path", |text| format!("redirect = {{ path = {text}, status = 301 }}")),
        ("redirect.host", |text| format!("redirect = {{ host = {text}, status = 301 }}")),
        ("redirect.query", |text| format!("redirect = {{ query = {text}, status = 301 }}")),
        ("rewrite.path", |text| format!("forward = \"g\"\nrewrite = {{ path = [\"^/(.*)\", {text}] }}")),
        ("rewrite.query", |text| format!("forward = \"g\"\nrewrite = {{ query = {text} }}")),
    ];
    for (what, key) in keys {
        let parts: Vec<&str> = match what {
            "content_type" => PARTS.iter().copied().chain(["text/", "x", "=", "; "].repeat(20)).collect(),
            "redirect.path" | "redirect.query" | "redirect.host" | "rewrite.query" => url.clone(),
            _ => PARTS.to_vec(),
        };
        checked(what, &of_rules(&accepted(&parts, |text, number| action(key(text), number))));
    }
    let regex = |text: &str, number| action(format!("forward = \"g\"\nrewrite = {{ path = [{text}, \"/\"] }}"), number);
    checked("a regular expression", &of_rules(&accepted(&PARTS, regex)));
}

#[test]
fn haproxy_accepts_hostile_headers_and_cookies() {
    let mut strings = Strings(11);
    let headers: Vec<String> = (0..STRINGS).map(|n| format!("X-{n} = {}", toml(&strings.hostile(&PARTS)))).collect();
    let listener = "[[listener]]\nname = \"web\"\nport = 80\nprotocol = \"http\"\nforward = \"g\"\n";
    checked("response_headers", &format!("{HEAD}{listener}response_headers = {{ {} }}\n", headers.join(", ")));

    // Of each, the checks accept only plain text: a thousand of those would show nothing.
    let keys: [Key; 4] = [
        ("cookie", |text| format!("sticky = {{ cookie = {text} }}")),
        ("app_cookie", |text| format!("sticky = {{ app_cookie = {text} }}")),
        ("health_check.path", |text| format!("health_check = {{ path = {text} }}")),
        ("health_check.host", |text| format!("health_check = {{ host = {text} }}")),
    ];
    let head =
        HEAD.replace("target_group = [{ name = \"g\", protocol = \"http\", targets = [\"10.0.1.1:80\"] }]\n", "");
    for (what, key) in keys {
        let plain: Vec<&str> = PARTS.iter().copied().chain(["/", "a", "B-", "_", "0"].repeat(20)).collect();
        let mut groups: Vec<String> = Vec::new();
        let text = |groups: &[String]| {
            let weights: Vec<String> = (0..groups.len()).map(|n| format!("g{n} = 1")).collect();
            let listener = listener.replace("\"g\"", &format!("{{ {} }}", weights.join(", ")));
            format!("{head}{listener}{}", groups.concat())
        };
        while groups.len() < 100 {
            let value = toml(&strings.hostile(&plain));
            let group = |name: &str| {
                let head = format!("[[target_group]]\nname = \"{name}\"\nprotocol = \"http\"\n");
                format!("{head}targets = [\"10.0.1.1:80\"]\n{}\n", key(&value))
            };
            if Balancer::parse(&text(&[group("g0")])).is_ok() {
                groups.push(group(&format!("g{}", groups.len())));
            }
        }
        checked(what, &text(&groups));
    }
}

#[test]
fn hostile_text_is_served_unchanged() {
    let mut strings = Strings(13);
    let mut rules = Vec::new();
    let mut samples = Vec::new();
    while samples.len() < 200 {
        let text = strings.hostile(&PARTS);
        let number = samples.len();
        // A header's value has no spaces at its ends.
        let sent = text.trim();
        let is_ascii = sent.is_ascii() && !sent.is_empty();
        if !is_ascii {
            continue;
        }
        let rule = format!(
            "[[listener.rule]]\nif = {{ path = [\"/{number}\"], header = {{ X = [{}] }} }}\nrespond = {{ status = 200, body = {} }}\n",
            toml(sent),
            toml(&text)
        );
        if Balancer::parse(&of_rules(std::slice::from_ref(&rule))).is_err() {
            continue;
        }
        rules.push(rule);
        samples.push((number, sent.to_owned(), text));
    }
    let text = of_rules(&rules).replacen("forward = \"g\"", "respond = { status = 404 }", 1);
    let balancer = Balancer::parse(&text).unwrap();
    let python = "import http.client, json
for number, header, body in json.load(open('/tmp/samples.json')):
    for value, status in ((header, 200), (header + 'x', 404)):
        connection = http.client.HTTPConnection('10.255.0.10', 8000)
        connection.request('GET', '/%d' % number, headers={'X': value})
        answer = connection.getresponse()
        said = answer.read().decode()
        assert answer.status == status and (status == 404 or said == body), (number, value, answer.status, said, body)
print('all came back')
";
    let run = "mkdir -p /run/haproxy; ip address add 10.255.0.10/32 dev lo
        haproxy -D -f /etc/haproxy/haproxy.cfg && python3 /tmp/ask.py";
    let machine = Machine::node()
        .with("/etc/haproxy/haproxy.cfg", &files::haproxy_cfg(&HaproxyNode::typical(&balancer)))
        .with("/tmp/samples.json", &serde_json::to_string(&samples).unwrap())
        .with("/tmp/ask.py", python);
    machine.run(run).ok().with("all came back");
}
