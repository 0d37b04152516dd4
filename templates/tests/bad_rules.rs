//! The errors for rules and redirects: conditions, rewrites, and where a redirect leads.

use templates::balancer::{Severity, examine};

const HEAD: &str = "name = \"web\"\nvpc = \"vpc-0a1b2c3d\"\nsubnets = [\"subnet-0a\", \"subnet-0b\"]\nvirtual_ips = [\"10.255.0.10\"]\n\
    agent = { source = \"https://downloads.example.com/elbow/agent\", sha256 = \"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08\" }\n";

/// Line 6 is the first one after [`HEAD`].
const WEB: &str = "[[listener]]\nname = \"web\"\nport = 80\nprotocol = \"http\"\nforward = \"blue\"\n";
const BLUE: &str =
    "[[target_group]]\nname = \"blue\"\nprotocol = \"http\"\ntargets = [\"10.0.1.20:8080\", \"10.0.2.20:8080\"]\n";

fn errors(text: &str) -> Vec<String> {
    let read = |_: &str| Err(String::new());
    let findings = examine(&format!("{HEAD}{text}"), &read).findings;
    findings.iter().filter(|finding| finding.severity == Severity::Error).map(ToString::to_string).collect()
}

#[track_caller]
fn refused(text: &str, lines: &[&str]) {
    assert_eq!(errors(text), lines, "{text}");
}

#[track_caller]
fn accepted(text: &str) {
    refused(text, &[]);
}

#[test]
fn conditions_that_cannot_be() {
    let rule = |condition: &str, line: &str| {
        let text = format!("{WEB}[[listener.rule]]\nif = {{ {condition} }}\nforward = \"blue\"\n{BLUE}");
        refused(&text, &[&format!("line 12: listener.rule.if.{line}")]);
    };
    rule(
        "host = [\"a b\"]",
        "host: \"a b\" is not a host; use up to 128 of a-z, 0-9, -._ and the wildcards * and ?, without a port",
    );
    rule(
        "path = [\"a\"]",
        "path: \"a\" is not a path; write / and up to 127 characters of a URL's path, with the wildcards * and ?",
    );
    rule("path = [\"~^/(\"]", "path: \"^/(\" is not a regular expression: unclosed group");
    rule(
        "path = [\"~^/[a&&b]\"]",
        "path: \"^/[a&&b]\" is not a regular expression: &&, -- and ~~ in a class need backslashes",
    );
    rule("path = [\"~^/[a[b]]\"]", "path: \"^/[a[b]]\" is not a regular expression: [ in a class needs a backslash");
    rule("method = [\"get\"]", "method: \"get\" is not a method; write capitals, such as \"GET\"");
    rule(
        "header = { \"X Y\" = [\"a\"] }",
        "header.X Y: \"X Y\" is not the name of a header; use up to 64 of a-z, A-Z, 0-9, - and _",
    );
    rule("header = { Host = [\"a\"] }", "header.Host: write if = { host = […] }");
    rule(
        "header = { X = [\"a\\u0007\"] }",
        "header.X: \"a\\u{7}\" has a control character; write printable text in one line",
    );
    rule("query = { v = [] }", "query.v: the list is empty; write a value, such as [\"*\"] for any");
    rule("source = [\"10.0.0.1/8\"]", "source: 10.0.0.1/8 has host bits set; write 10.0.0.0/8");
}

#[test]
fn empty_conditions_and_clients_match_nothing_and_are_errors() {
    let rule = |condition: &str, line: &str| {
        let text = format!("{WEB}[[listener.rule]]\nif = {condition}\nforward = \"blue\"\n{BLUE}");
        refused(&text, &[&format!("line 12: listener.rule.if{line}")]);
    };
    rule("{}", ": has no condition; leave `if` out to match every request");
    let any = "the list is empty; write a value, such as [\"*\"] for any";
    rule("{ path = [] }", &format!(".path: {any}"));
    rule("{ host = [], path = [\"/a\"] }", &format!(".host: {any}"));
    let method = "the list is empty; write a method, such as [\"GET\"], or remove the key for any";
    rule("{ method = [] }", &format!(".method: {method}"));
    let source = "the list is empty; write a CIDR, such as [\"10.9.0.0/16\"], or remove the key for any";
    rule("{ source = [] }", &format!(".source: {source}"));
    let names = "the table is empty; write a name with its values, or remove the key";
    rule("{ header = {} }", &format!(".header: {names}"));
    rule("{ query = {}, path = [\"/a\"] }", &format!(".query: {names}"));
    rule("{ pth = [] }", ".pth: unknown key; did you mean path?");
    accepted(&format!("{WEB}[[listener.rule]]\nforward = \"blue\"\n{BLUE}"));

    let list = "the list is empty; write at least one CIDR, or remove the key";
    refused(&format!("clients = []\n{WEB}{BLUE}"), &[&format!("line 6: clients: {list} to admit the VPC's CIDRs")]);
    let key = |key: &str, line: &str| refused(&format!("{WEB}{key}\n{BLUE}"), &[&format!("line 11: listener.{line}")]);
    key("clients = []", &format!("clients: {list} to admit the balancer's clients"));
    key("proxy_protocol_from = []", &format!("proxy_protocol_from: {list} if no proxy sends a PROXY protocol header"));
    refused(
        &format!("{WEB}{BLUE}").replace("forward = \"blue\"", "forward = {}"),
        &["line 10: listener.forward: the weights sum to 0; give one group a weight"],
    );
}

#[test]
fn rules_that_never_match_are_errors() {
    let rules = |rules: &[&str], line: &str| {
        let rules: String =
            rules.iter().map(|rule| format!("[[listener.rule]]\n{rule}\nrespond = {{ status = 404 }}\n")).collect();
        refused(&format!("{WEB}{rules}{BLUE}"), &[line]);
    };
    let never = "line 14: listener.rule: never matches:";
    rules(
        &["", "if = { path = [\"/a\"] }"],
        &format!("{never} rule 1 matches every request; move it to the end, or remove its action to the listener"),
    );
    let same = "if = { host = [\"a\"], path = [\"/x\"] }";
    let equal = format!("{never} rule 1 has the same conditions; remove one of them");
    rules(&[same, same], &equal);
    let (one, other) = ("if = { host = [\"a\", \"b\"] }", "if = { host = [\"B\", \"A\"] }");
    rules(&[one, other], &equal);
    rules(&["if = { header = { X-A = [\"1\"] } }", "if = { header = { x-a = [\"1\"] } }"], &equal);
    rules(&["", ""], &equal);
    rules(
        &["if = { path = [\"/api/*\"] }", "if = { path = [\"/api/v1\"] }"],
        &format!("{never} rule 1 matches all of its requests; move this rule before it"),
    );
    accepted(&format!(
        "{WEB}[[listener.rule]]\nif = {{ path = [\"/api/v1\"] }}\nforward = \"blue\"\n[[listener.rule]]\nif = {{ path = [\"/api/*\"] }}\nforward = \"blue\"\n{BLUE}"
    ));
}

#[test]
fn rewrites_that_cannot_be() {
    let rewrite = |rewrite: &str, line: &str| {
        refused(
            &format!(
                "{WEB}[[listener.rule]]\nif = {{ path = [\"/a\"] }}\nforward = \"blue\"\nrewrite = {rewrite}\n{BLUE}"
            ),
            &[&format!("line 14: listener.rule.rewrite{line}")],
        );
    };
    rewrite("{}", ": changes nothing; write host, path or query");
    rewrite("{ path = [\"^/(\", \"/\"] }", ".path: \"^/(\" is not a regular expression: unclosed group");
    rewrite(
        "{ path = \"/\" }",
        ".path: \"/\": wrong type; write a regular expression and what replaces its match, such as [\"^/v1/(.*)$\", '/\\1']",
    );
    let text = format!(
        "{WEB}[[listener.rule]]\nif = {{ path = [\"/a\"] }}\nrespond = {{ status = 404 }}\nrewrite = {{ query = \"a\" }}\n{BLUE}"
    );
    refused(&text, &["line 14: listener.rule.rewrite: changes a request that is forwarded; write forward"]);
}

#[test]
fn redirects_that_lead_nowhere_else() {
    let action = |new: &str, line: &str| refused(&format!("{WEB}{BLUE}").replace("forward = \"blue\"", new), &[line]);
    for same in [
        "scheme = \"http\"",
        "scheme = \"#{protocol}\"",
        "port = 80",
        "path = \"/#{path}\"",
        "host = \"#{host}\"",
        "host = \"#{host}:#{port}\"",
        "query = \"#{query}\"",
        "scheme = \"http\", host = \"#{host}\", port = 80, path = \"/#{path}\", query = \"#{query}\"",
    ] {
        let line = "line 10: listener.redirect: leads to where the client is; write scheme, host, port, path or query";
        action(&format!("redirect = {{ {same}, status = 301 }}"), line);
        let rule = format!("[[listener.rule]]\nif = {{ path = [\"/a\"] }}\nredirect = {{ {same}, status = 301 }}\n");
        let line = line.replace("line 10: listener", "line 13: listener.rule");
        refused(&format!("{WEB}{rule}{BLUE}"), &[&line]);
    }
    for other in [
        "scheme = \"https\"",
        "port = 8080",
        "path = \"//#{path}\"",
        "host = \"www.#{host}\"",
        "query = \"\"",
        "scheme = \"http\", query = \"a=#{query}\"",
    ] {
        let text =
            format!("{WEB}{BLUE}").replace("forward = \"blue\"", &format!("redirect = {{ {other}, status = 301 }}"));
        accepted(&text);
        // Another port than a scheme's or a host's.
        accepted(&text.replace("port = 80\n", "port = 81\n").replace(other, "scheme = \"http\", host = \"#{host}\""));
    }
    action(
        "redirect = { scheme = \"HTTPS\", status = 301 }",
        "line 10: listener.redirect.scheme: \"HTTPS\" is not a scheme; write \"http\" or \"https\"",
    );
    action(
        "redirect = { port = \"#{port}\", path = \"/a\", status = 301 }",
        "line 10: listener.redirect.port: \"#{port}\": write a number, or leave port out to keep it; with a scheme, it is the scheme's then",
    );
    action(
        "redirect = { host = \"\", status = 301 }",
        "line 10: listener.redirect.host: is empty; remove the key to keep the host",
    );
}
