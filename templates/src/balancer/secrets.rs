//! Hides secrets in errors: a webhook's address, and user, password and query of other addresses.

pub(super) const WANTED: &str = "write [notify] and, below it, webhook = \"https://…\"";
/// The error for text under `[notify]` that isn't TOML.
pub(super) const UNREADABLE: &str =
    "not valid TOML; write [notify] and, below it, webhook = \"https://…\" (the value isn't shown here)";

/// The key of a webhook's address. Its value is hidden at any place, as an operator may write it in a wrong table.
pub(super) const WEBHOOK: &str = "webhook";

const TABLES: [&str; 9] =
    ["agent", "failover", "haproxy", "listener", "logs", "metrics", "node", "target_group", "updates"];

/// Whether this line, from 1, of text that may be no TOML belongs to `notify`: from its header or `notify = …` to the
/// next header or known key. Other lines are ignored, as they may be inside a string.
fn is_of_notify(text: &str, line: usize) -> bool {
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

/// Whether this line, from 1, may have a webhook's address: it belongs to `notify`, or to a key `webhook` at another place.
pub(super) fn is_secret(text: &str, line: usize) -> bool {
    is_of_notify(text, line) || is_of_webhook(text, line)
}

/// Whether this line names `webhook`, or belongs to a value of several lines that starts on such a line.
fn is_of_webhook(text: &str, line: usize) -> bool {
    let (mut is_open, mut is_hidden) = (false, false);
    for line in text.lines().take(line).map(str::trim) {
        let names = names_webhook(line);
        let header = line.strip_prefix('[').map(|rest| rest.trim_matches(['[', ']', ' ', '\t']));
        is_open = if names { spans_lines(line) } else { is_open && !header.is_some_and(|word| TABLES.contains(&word)) };
        is_hidden = names || is_open;
    }
    is_hidden
}

/// Whether `webhook` is a key in this text: an equals sign or a dot follows, or nothing but quotes and brackets precedes.
pub(super) fn names_webhook(text: &str) -> bool {
    let is_quote = |c: char| c.is_whitespace() || "\"'[".contains(c);
    text.match_indices(WEBHOOK).any(|(at, word)| {
        let (before, after) = (&text[..at], text[at + word.len()..].trim_start_matches(is_quote));
        let is_whole = !before.ends_with(|c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-');
        before.chars().all(is_quote) || (is_whole && after.starts_with(['=', '.']))
    })
}

/// Whether a value may go on after this line: a bracket or a text of several lines may be open.
pub(super) fn spans_lines(line: &str) -> bool {
    let number = |c: char| line.matches(c).count();
    number('[') != number(']')
        || number('{') != number('}')
        || ["\"\"\"", "'''"].iter().any(|quotes| line.contains(quotes))
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
    fn a_webhook_is_hidden_in_any_table_with_all_lines_of_its_value() {
        let text = "a = 1\n[x]\nwebhook = \"\"\"\n[x]\nname = 2\n[[listener]]\nlogs = { webhook = 1 }\nport = 1\n";
        let of: Vec<usize> = (1..=8).filter(|line| is_secret(text, *line)).collect();
        assert_eq!(of, [3, 4, 5, 7]);
        for (text, is_key) in [
            ("'webhook' = 1", true),
            ("webhook \"s3cret", true),
            ("{ a = 1, \"webhook\"=1 }", true),
            ("notify.webhook = 1", true),
            ("forward = \"webhook\"", false),
            ("my_webhook = 1", false),
        ] {
            assert_eq!(names_webhook(text), is_key, "{text}");
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
