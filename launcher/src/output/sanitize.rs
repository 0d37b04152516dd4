//! Escapes terminal control characters in all that the launcher prints. Tags, names, console output and error messages
//! come from AWS, and any principal that may tag can write some of them.

use std::fmt::Write;

/// Controls (C0, DEL, C1), and characters that hide or reorder text (Unicode Standard Annex 9, "Directional Formatting
/// Characters"; zero-width and tag characters).
fn is_obeyed(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}'
            | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

/// One line, with control characters escaped as `\u{1b}`.
pub fn line(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut shown, c| {
        match is_obeyed(c) {
            true => shown.extend(c.escape_unicode()),
            false => shown.push(c),
        }
        shown
    })
}

/// Several lines, with tabs.
pub fn lines(text: &str) -> String {
    let shown: Vec<String> =
        text.split('\n').map(|of| of.split('\t').map(line).collect::<Vec<_>>().join("\t")).collect();
    shown.join("\n")
}

/// A JSON document: the same data, with JSON's own escapes. Outside of strings JSON has none of these but white space.
pub fn json(document: &str) -> String {
    let mut shown = String::with_capacity(document.len());
    for c in document.chars() {
        match c {
            '\n' => shown.push(c),
            c if is_obeyed(c) => c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| {
                write!(shown, "\\u{unit:04x}").expect("a String takes all");
            }),
            c => shown.push(c),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    const NASTY: &str =
        "a\x1b[2J\x1b]0;title\x07\r\nb\u{9b}31m\u{7f}\u{202e}txt.exe\u{2066}\u{200b}\u{feff}\u{e0041}\tc\u{2028}d";

    #[test]
    fn a_line_escapes_control_characters() {
        assert_eq!(
            line(NASTY),
            "a\\u{1b}[2J\\u{1b}]0;title\\u{7}\\u{d}\\u{a}b\\u{9b}31m\\u{7f}\\u{202e}txt.exe\\u{2066}\\u{200b}\\u{feff}\\u{e0041}\
             \\u{9}c\\u{2028}d"
        );
        assert_eq!(line("✓ Zürich, Ωmega … 日本"), "✓ Zürich, Ωmega … 日本");
        assert_eq!(lines("a\n\tb\r\n"), "a\n\tb\\u{d}\n");
        let all: String = (0..=0x10_ffff).filter_map(char::from_u32).collect();
        assert!(!line(&all).chars().any(is_obeyed));
    }

    #[test]
    fn json_keeps_the_data_and_shows_none_of_it_raw() {
        let document = serde_json::to_string_pretty(&serde_json::json!({ NASTY: [NASTY, "\\\u{9b}"] })).unwrap();
        let shown = json(&document);
        assert!(!shown.chars().any(|c| is_obeyed(c) && c != '\n'), "{shown}");
        let data = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
        assert_eq!(data(&shown), data(&document));
    }

    /// Output from outside this folder would bypass [`line`].
    #[test]
    fn nothing_else_writes_to_the_terminal() {
        let mut files = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
        let mut read = 0;
        while let Some(path) = files.pop() {
            if path.is_dir() && !path.ends_with("output") {
                files.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            } else if path.is_file() {
                let text = std::fs::read_to_string(&path).unwrap();
                read += 1;
                for word in ["print!(", "println!(", "stdout()", "stderr()"] {
                    let found = text.lines().find(|line| line.contains(word) && !line.contains("is_terminal"));
                    assert_eq!(found, None, "{}", path.display());
                }
            }
        }
        assert!(read > 50);
    }
}
