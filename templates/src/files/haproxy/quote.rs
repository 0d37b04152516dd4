//! Writes an operator's text into haproxy.cfg. Nothing else does. The rules, tried on HAProxy 2.6 to 3.2:
//!
//! - Text is in single quotes, where nothing but a single quote is special (configuration manual, section 2.2).
//! - In a log-format argument, such as that of `set-header`, `%` is doubled.
//! - Text is never inside `{ }`: a quoted `'}'` ends an anonymous condition. So conditions are named `acl` lines, with the
//!   text after `--`, where a leading `-` is no flag.
//! - A line has at most 64 words, so an `acl` line is repeated.
//! - Arguments of fetches and converters can't be quoted: names of headers, cookies and parameters have plain characters.

use std::fmt;

/// A word of haproxy.cfg.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quoted(String);

impl fmt::Display for Quoted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Quoted {
    /// Text that HAProxy takes as it is. A control character becomes `?`: the checks of a balancer's file refuse them, and
    /// no line may end here, wherever the text is from.
    pub fn text(text: &str) -> Quoted {
        let text: String = text.chars().map(|c| if c.is_control() { '?' } else { c }).collect();
        Quoted(format!("'{}'", text.replace('\'', r"'\''")))
    }

    /// Text in a log-format argument.
    pub fn format(text: &str) -> Quoted {
        Quoted::text(&text.replace('%', "%%"))
    }

    /// A log-format argument of text and expressions of Elbow's own, such as `%[path]`.
    pub fn formats(parts: &[Part<'_>]) -> Quoted {
        let text = |part: &Part<'_>| match part {
            Part::Text(text) => text.replace('%', "%%"),
            Part::Expression(expression) => (*expression).to_owned(),
        };
        Quoted::text(&parts.iter().map(text).collect::<String>())
    }

    /// The name of a header, cookie or parameter; characters that can't be in one become `_`.
    pub fn name(name: &str) -> Quoted {
        let plain = |c: char| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' };
        Quoted(name.chars().map(plain).collect())
    }
}

/// A part of a log-format argument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part<'a> {
    /// An operator's.
    Text(&'a str),
    /// Elbow's.
    Expression(&'static str),
}

/// Values on a line, with room for the words before them.
const VALUES: usize = 50;

/// The lines of a named condition: `what` (a fetch and flags of Elbow's own) matches one of the values.
pub fn acl(name: &str, what: &str, values: &[&str]) -> Vec<String> {
    let line = |values: &[&str]| {
        let words: Vec<String> = values.iter().map(|value| Quoted::text(value).0).collect();
        format!("acl {name} {what} -- {}", words.join(" "))
    };
    values.chunks(VALUES).map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Splits a line as HAProxy does, for the part of its grammar that Elbow writes: single quotes, backslashes and
    /// spaces outside of them.
    fn words(line: &str) -> Vec<String> {
        let (mut words, mut word, mut quoted, mut started) = (Vec::new(), String::new(), false, false);
        let mut chars = line.chars();
        while let Some(c) = chars.next() {
            match c {
                '\'' => (quoted, started) = (!quoted, true),
                '\\' if !quoted => word.push(chars.next().unwrap()),
                '#' | '"' | '$' if !quoted => panic!("{c} is special outside of quotes: {line}"),
                ' ' if !quoted => {
                    if started || !word.is_empty() {
                        words.push(std::mem::take(&mut word));
                    }
                    started = false;
                }
                c => word.push(c),
            }
        }
        assert!(!quoted, "{line}");
        if started || !word.is_empty() {
            words.push(word);
        }
        words
    }

    const HOSTILE: [&str; 14] = [
        "",
        "plain",
        "it's",
        "'",
        "''",
        "\\",
        "\\'",
        "a b",
        "#",
        "\"$HOME\"",
        "}",
        "-i",
        "%[src]",
        "ä ' \u{2028} || { always_true }",
    ];

    #[test]
    fn quoted_text_is_one_word_and_comes_back() {
        for text in HOSTILE {
            assert_eq!(words(&format!("a {} b", Quoted::text(text))), ["a", text, "b"]);
            assert_eq!(words(&Quoted::format(text).to_string()), [text.replace('%', "%%")]);
        }
    }

    #[test]
    fn no_text_ends_a_line() {
        for text in ["a\nb", "a\rb", "a\0b", "a\u{85}b", "\u{7f}"] {
            assert!(!Quoted::text(text).0.chars().any(char::is_control), "{text:?}");
        }
        assert_eq!(Quoted::name("X Y)'").to_string(), "X_Y__");
    }

    #[test]
    fn a_condition_has_at_most_64_words_a_line_and_all_its_values() {
        let values: Vec<String> = (0..123).map(|n| format!("{n}'")).collect();
        let values: Vec<&str> = values.iter().map(String::as_str).collect();
        let lines = acl("r1_host", "var(txn.host) -i -m reg", &values);
        let split: Vec<Vec<String>> = lines.iter().map(|line| words(line)).collect();
        assert!(split.iter().all(|words| words.len() <= 64), "{lines:?}");
        let said: Vec<&str> = split
            .iter()
            .flat_map(|words| words.iter().skip_while(|word| *word != "--").skip(1))
            .map(String::as_str)
            .collect();
        assert_eq!(said, values);
    }

    #[test]
    fn only_an_operators_text_has_its_percent_signs_doubled() {
        let parts = [Part::Text("50%/"), Part::Expression("%[path,bytes(1)]")];
        assert_eq!(Quoted::formats(&parts).to_string(), "'50%%/%[path,bytes(1)]'");
    }
}
