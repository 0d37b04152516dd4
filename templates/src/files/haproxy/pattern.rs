//! ALB's wildcards as HAProxy's match methods: `*` is any text, `?` one character, and `~` starts a regular expression.

use super::quote;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Method {
    Exact,
    Start,
    End,
    Regex,
}

/// The lines of a named condition on `fetch`, which match one of the patterns. `flags` are HAProxy's, such as `-i`.
pub fn acl(name: &str, fetch: &str, flags: &str, patterns: &[String]) -> Vec<String> {
    let split: Vec<(Method, String)> = patterns.iter().map(|pattern| split(pattern)).collect();
    let mut lines = Vec::new();
    for (method, word) in [(Method::Exact, "str"), (Method::Start, "beg"), (Method::End, "end"), (Method::Regex, "reg")]
    {
        let values: Vec<&str> =
            split.iter().filter(|(other, _)| *other == method).map(|(_, text)| text.as_str()).collect();
        lines.extend(quote::acl(name, &format!("{fetch} {flags}-m {word}"), &values));
    }
    lines
}

fn split(pattern: &str) -> (Method, String) {
    if let Some(regex) = pattern.strip_prefix('~') {
        return (Method::Regex, regex.to_owned());
    }
    let is_plain = |text: &str| !text.is_empty() && !text.contains(['*', '?']);
    match (pattern.strip_suffix('*'), pattern.strip_prefix('*')) {
        (Some(start), _) if is_plain(start) => (Method::Start, start.to_owned()),
        (_, Some(end)) if is_plain(end) => (Method::End, end.to_owned()),
        _ if !pattern.contains(['*', '?']) => (Method::Exact, pattern.to_owned()),
        _ => (Method::Regex, regex(pattern)),
    }
}

fn regex(pattern: &str) -> String {
    let mut regex = String::from("^");
    for c in pattern.chars() {
        match c {
            '*' => regex.push_str(".*"),
            '?' => regex.push('.'),
            c if c.is_ascii_punctuation() => regex.extend(['\\', c]),
            c => regex.push(c),
        }
    }
    regex + "$"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_become_the_cheapest_method() {
        for (pattern, method, text) in [
            ("a.example", Method::Exact, "a.example"),
            ("*.example", Method::End, ".example"),
            ("/v1/*", Method::Start, "/v1/"),
            ("/a?c*", Method::Regex, r"^\/a.c.*$"),
            ("*", Method::Regex, "^.*$"),
            ("*a*", Method::Regex, "^.*a.*$"),
            ("~^/x(y|z)$", Method::Regex, "^/x(y|z)$"),
        ] {
            assert_eq!(split(pattern), (method, text.to_owned()), "{pattern}");
        }
    }

    #[test]
    fn patterns_of_all_methods_are_one_condition() {
        let patterns = ["a", "*.b", "c*"].map(str::to_owned);
        assert_eq!(
            acl("r1_host", "var(txn.host)", "-i ", &patterns),
            [
                "acl r1_host var(txn.host) -i -m str -- 'a'",
                "acl r1_host var(txn.host) -i -m beg -- 'c'",
                "acl r1_host var(txn.host) -i -m end -- '.b'"
            ]
        );
    }
}
