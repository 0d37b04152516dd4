//! Words in several tags: a value holds words with a space between them, and no word spans two tags.

use crate::report::LONGEST;

/// The values of the first tags of a list.
#[derive(Debug)]
pub(crate) struct TagWords {
    /// How many tags the list has.
    tags: usize,
    values: Vec<String>,
}

impl TagWords {
    pub(crate) fn new(tags: usize) -> TagWords {
        TagWords { tags, values: Vec::new() }
    }

    /// Adds a word if it fits; leaves `reserved` characters of the last tag free.
    pub(crate) fn add(&mut self, word: &str, reserved: usize) -> bool {
        let most = self.tags;
        let limit = |tag: usize| if tag == most { LONGEST - reserved } else { LONGEST };
        let tags = self.values.len();
        match self.values.last_mut() {
            Some(last) if last.len() + 1 + word.len() <= limit(tags) => {
                last.push(' ');
                last.push_str(word);
                true
            }
            _ if tags < most && word.len() <= limit(tags + 1) => {
                self.values.push(word.to_owned());
                true
            }
            _ => false,
        }
    }

    pub(crate) fn into_values(self) -> Vec<String> {
        self.values
    }
}

/// HAProxy's names of backends and servers (configuration manual, "Proxies").
pub(crate) fn is_name(word: &str) -> bool {
    !word.is_empty() && word.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.:".contains(&b))
}
