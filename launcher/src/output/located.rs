//! Problems of a file: a line that names the place, and the place itself with a caret.

use std::ops::Range;
use std::path::Path;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use templates::balancer::Finding;

/// A problem of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Located {
    /// `web.toml: line 4: virtual_ips: 10.255.0.10 is listed twice`.
    pub line: String,
    /// The file's text there with carets below it; empty if the text has no such place, or may have a secret there.
    pub place: Vec<String>,
}

impl Located {
    /// A problem in `text`, which is that of the file at `path`.
    pub fn of(path: &Path, text: &str, finding: &Finding) -> Located {
        let place = finding.span.as_ref().map_or_else(Vec::new, |span| place(text, span));
        Located { line: format!("{}: {finding}", path.display()), place }
    }
}

/// Only the first line of the span: the library has checked that this one has no secret.
fn place(text: &str, span: &Range<usize>) -> Vec<String> {
    let from = text.floor_char_boundary(span.start);
    let start = text[..from].rfind('\n').map_or(0, |newline| newline + 1);
    let line = text[start..].lines().next().unwrap_or_default();
    let from = (from - start).min(line.len());
    let to = text.ceil_char_boundary(span.end.min(text.len())).saturating_sub(start).clamp(from, line.len());
    let number = 1 + text[..start].matches('\n').count();
    let snippet = Snippet::source(line).line_start(number).annotation(AnnotationKind::Primary.span(from..to));
    let shown = Renderer::plain().render(&[Group::with_level(Level::ERROR).element(snippet)]);
    shown.lines().map(|line| format!("  {}", line.trim_end())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn carets(text: &str, at: &str) -> String {
        let start = text.find(at).unwrap();
        place(text, &(start..start + at.len())).join("\n")
    }

    #[test]
    fn a_caret_is_below_each_letter_of_the_value() {
        let text = "name = \"web\"\nport = 70000\r\n";
        assert_eq!(carets(text, "70000"), "    |\n  2 | port = 70000\n    |        ^^^^^");
        assert_eq!(carets(text, "name"), "    |\n  1 | name = \"web\"\n    | ^^^^");
    }

    #[test]
    fn of_several_lines_only_the_first_is_shown() {
        let shown = carets("a = [\n1,\n]\nb = 1\n", "[\n1,\n]");
        assert_eq!(shown, "    |\n  1 | a = [\n    |     ^");
    }

    #[test]
    fn every_span_has_a_place() {
        let text = "a = 1\r\n\u{fc}\u{1b} = \"\u{65e5}\"\n\n\tb";
        for start in 0..=text.len() + 2 {
            for end in start..=text.len() + 2 {
                let shown = place(text, &(start..end));
                assert!(shown.len() == 3 && shown[2].contains('^'), "{start}..{end}: {shown:?}");
            }
        }
        assert_eq!(place("", &(0..0)).len(), 3);
    }
}
