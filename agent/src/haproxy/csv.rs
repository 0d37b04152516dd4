//! Reads CSV as HAProxy writes it (RFC 4180): a field in quotes may hold commas, doubled quotes and line breaks.

use std::borrow::Cow;

/// The records of a text.
pub(super) struct Records<'a>(pub &'a str);

impl<'a> Iterator for Records<'a> {
    type Item = Vec<Cow<'a, str>>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let mut fields = Vec::new();
        loop {
            let (value, rest) = field(self.0);
            fields.push(value);
            match rest.strip_prefix(',') {
                Some(next) => self.0 = next,
                None => {
                    self.0 = rest.strip_prefix('\n').unwrap_or(rest);
                    return Some(fields);
                }
            }
        }
    }
}

/// The first field, and the text from the comma or line break behind it.
fn field(text: &str) -> (Cow<'_, str>, &str) {
    let end = |text: &str| text.find([',', '\n']).unwrap_or(text.len());
    let Some(mut rest) = text.strip_prefix('"') else {
        let (value, rest) = text.split_at(end(text));
        return (value.trim_end_matches('\r').into(), rest);
    };
    let mut value = String::new();
    while let Some((before, after)) = rest.split_once('"') {
        value.push_str(before);
        let Some(more) = after.strip_prefix('"') else {
            return (value.into(), &after[end(after)..]);
        };
        value.push('"');
        rest = more;
    }
    value.push_str(rest);
    (value.into(), "")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records(text: &str) -> Vec<Vec<String>> {
        Records(text).map(|fields| fields.into_iter().map(Cow::into_owned).collect()).collect()
    }

    #[test]
    fn fields_may_be_empty_and_quoted() {
        assert_eq!(records("a,,b,\r\n,\n"), [vec!["a", "", "b", ""], vec!["", ""]]);
        assert_eq!(records("\"a,\"\"b\"\"\nc\",d\ne"), [vec!["a,\"b\"\nc", "d"], vec!["e"]]);
        assert_eq!(records(""), [] as [Vec<String>; 0]);
    }

    #[test]
    fn broken_text_ends() {
        for text in ["\"", "\"a", "\"\"\"", "a\"b,c", "\"a\"b,c", ",", "\n\n", "\"a\"\"", "ä,\"ü"] {
            let fields: usize = records(text).iter().map(Vec::len).sum();
            assert!((1..=3).contains(&fields), "{text:?}: {fields}");
        }
    }
}
