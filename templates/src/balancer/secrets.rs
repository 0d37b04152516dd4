//! Hides secrets in errors: a webhook's address, and user, password and query of other addresses.

pub(super) const WANTED: &str = "write [notify] and, below it, webhook = \"https://…\"";
/// The error for text under `[notify]` that isn't TOML.
pub(super) const UNREADABLE: &str =
    "not valid TOML; write [notify] and, below it, webhook = \"https://…\" (the value isn't shown here)";

const TABLES: [&str; 9] =
    ["agent", "failover", "haproxy", "listener", "logs", "metrics", "node", "target_group", "updates"];

/// Whether this line, from 1, of text that may be no TOML belongs to `notify`: from its header or `notify = …` to the
/// next header or known key. Other lines are ignored, as they may be inside a string.
pub(super) fn is_of_notify(text: &str, line: usize) -> bool {
    let (mut header, mut inline) = (false, false);
    for line in text.lines().take(line).map(str::trim) {
        let word = line.trim_start_matches(['[', ' ', '\t', '"', '\'']);
        let word =
            word.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '-')).next().unwrap_or_default();
        match line.starts_with('[') {
            true if word == "notify" => (header, inline) = (true, false),
            true if TABLES.contains(&word) => (header, inline) = (false, false),
            true => {}
            false if word == "notify" && !header => inline = true,
            false if super::expected::of(word).is_some() && line[word.len()..].trim_start().starts_with('=') => {
                inline = false;
            }
            false => {}
        }
    }
    header || inline
}

/// Whether `text` looks like a key rather than a secret.
pub(super) fn is_key(text: &str) -> bool {
    (1..=16).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
}

/// The text without user, password, query and fragment of the addresses in it.
pub fn addresses(text: &str) -> String {
    let mut shown = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + 3);
        shown.push_str(before);
        let end = after.find(|c: char| c.is_whitespace() || "\"'`".contains(c)).unwrap_or(after.len());
        let (address, after) = after.split_at(end);
        let host_end = address.find(['/', '?', '#']).unwrap_or(address.len());
        let (host, path) = address.split_at(host_end);
        match host.rsplit_once('@') {
            Some((_, host)) => shown.extend(["…@", host]),
            None => shown.push_str(host),
        }
        match path.find(['?', '#']) {
            Some(query) => shown.extend([&path[..=query], "…"]),
            None => shown.push_str(path),
        }
        rest = after;
    }
    shown + rest
}

/// A library's message without the values that it repeats in double quotes.
pub(super) fn unquoted(message: &str) -> String {
    match (message.find('"'), message.rfind('"')) {
        (Some(first), Some(last)) if first < last => format!("{}…{}", &message[..=first], &message[last..]),
        _ => message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_shown_without_user_and_query() {
        for (text, shown) in [
            ("\"https://h/agent?X-Amz-Signature=s3cret\" is no", "\"https://h/agent?…\" is no"),
            ("from https://user:s3cret@h:8/a#s3cret, twice", "from https://…@h:8/a#…"),
            ("https://h?a http://b@c/d none", "https://h?… http://…@c/d none"),
            ("no address", "no address"),
        ] {
            let said = addresses(text);
            assert!(said.starts_with(shown) && !said.contains("s3cret"), "{said}");
        }
    }

    #[test]
    fn values_in_quotes_are_left_out() {
        let said = unquoted(r#"invalid type: string "a\"s3cret", expected struct Notify"#);
        assert_eq!(said, r#"invalid type: string "…", expected struct Notify"#);
    }

    #[test]
    fn what_belongs_to_notify_ends_at_the_next_table_or_key() {
        let text = "a = 1\n[notify]\nwebhook = \"\"\"\n[x=\nname = 2\n[[listener]]\nport = 1\nnotify = {\nx\nvpc = 3\n";
        let of: Vec<usize> = (1..=10).filter(|line| is_of_notify(text, *line)).collect();
        assert_eq!(of, [2, 3, 4, 5, 8, 9]);
    }
}
