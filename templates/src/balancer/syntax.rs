//! The errors of text that isn't TOML. The parser recovers after each, so a file shows several at once.

use toml::de::Error;

use super::findings::{Finding, Severity};
use super::shape::one_line;
use super::{expected, location, secrets};

/// The first error of each line, up to one that may cause those below it.
pub fn findings(text: &str, errors: &[Error]) -> Vec<Finding> {
    let line = |error: &Error| error.span().map(|span| location::line(text, span.start));
    let mut errors: Vec<(Option<usize>, &Error)> = errors.iter().map(|error| (line(error), error)).collect();
    errors.sort_by_key(|(line, _)| *line);
    errors.dedup_by_key(|(line, _)| *line);
    let last = errors.iter().position(|(line, error)| {
        let line = line.and_then(|line| text.lines().nth(line - 1)).unwrap_or_default();
        misleads(line, error.message())
    });
    errors.truncate(last.map_or(errors.len(), |last| last + 1));
    errors.into_iter().map(|(_, error)| finding(text, error)).collect()
}

/// Whether lines below may only seem wrong: a bracket or a text of several lines may be open, or a table has no header.
fn misleads(line: &str, message: &str) -> bool {
    ["array", "table", "pair"].iter().any(|word| message.contains(word))
        || line.trim_start().starts_with('[')
        || secrets::spans_lines(line)
}

fn finding(text: &str, error: &Error) -> Finding {
    let span = error.span();
    let line = error.span().map(|span| location::line(text, span.start));
    let severity = Severity::Error;
    let repeated = error.span().and_then(|span| text.get(span));
    let is_secret = line.is_some_and(|line| secrets::is_secret(text, line));
    if is_secret && !repeated.is_some_and(secrets::is_key) {
        return Finding { severity, span, line, key: "notify".to_owned(), message: secrets::UNREADABLE.to_owned() };
    }
    match repeated {
        Some(key) if error.message() == "duplicate key" => {
            let message = "is defined twice; remove one of them".to_owned();
            Finding { severity, span, line, key: key.to_owned(), message }
        }
        _ => {
            let key = line.filter(|_| !is_secret).map(|line| key_at(text, line));
            let key = key.filter(|key| !key.contains("://")).unwrap_or_default();
            let message = match expected::of(&key) {
                Some(wanted) => format!("not valid TOML; write {wanted}"),
                None => one_line(error.message()),
            };
            Finding { severity, span, line, key, message }
        }
    }
}

/// The key that this line sets, guessed, as the text is no TOML.
fn key_at(text: &str, line: usize) -> String {
    let before: Vec<&str> = text.lines().take(line).map(str::trim).collect();
    let Some((key, _)) = before.last().and_then(|line| line.split_once('=')) else { return String::new() };
    let table = before.iter().rev().find(|line| line.starts_with('['));
    let table = table.map(|line| line.trim_matches(['[', ']']).trim()).filter(|table| !table.is_empty());
    let key = key.trim();
    table.map_or_else(|| key.to_owned(), |table| format!("{table}.{key}"))
}

#[cfg(test)]
mod tests {
    use toml::de::DeTable;

    use super::*;

    fn lines(text: &str) -> Vec<Option<usize>> {
        let (_, errors) = DeTable::parse_recoverable(text);
        findings(text, &errors).into_iter().map(|finding| finding.line).collect()
    }

    #[test]
    fn errors_of_several_lines_are_found() {
        assert_eq!(lines("a = yes\nb = 1\nc = 8O\nb = 2\nd = \"x\n"), [1, 3, 4, 5].map(Some));
        assert_eq!(lines("a = 1\n"), [] as [Option<usize>; 0]);
    }

    #[test]
    fn an_open_bracket_or_text_hides_what_follows() {
        for open in ["b = [1, 2\n", "b = { c = 1\n", "[b\n", "b]\n"] {
            let text = format!("a = yes\n{open}d = 1\ne = yes\n");
            let found = lines(&text);
            assert!(found.len() == 2 && found[0] == Some(1), "{text}{found:?}");
        }
        let found = lines("a = yes\nb = \"\"\"\nd = 1\ne = yes\n");
        assert_eq!(found.len(), 2, "{found:?}");
    }
}
