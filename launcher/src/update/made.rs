//! Which versions of a launch template Elbow made the default, as the template's tag `elbow:made` says it. A version never
//! changes: so what nodes boot is Elbow's if its number is one of these, and somebody else's if it isn't. Pure.

use std::collections::BTreeSet;
use std::fmt;

/// As many characters as a tag's value may have (EC2 User Guide, "Tag restrictions").
const ROOM: usize = 256;

/// The versions' numbers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Made(BTreeSet<i64>);

impl fmt::Display for Made {
    /// `1-3 7`; the oldest are left out where there is no room.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        for (first, last) in self.runs().iter().rev() {
            let run = if first == last { first.to_string() } else { format!("{first}-{last}") };
            if text.len() + 1 + run.len() > ROOM {
                break;
            }
            text = if text.is_empty() { run } else { format!("{run} {text}") };
        }
        f.write_str(&text)
    }
}

impl Made {
    /// What a tag's value says; what is none of Elbow's is left out.
    pub fn read(tag: &str) -> Made {
        let run = |word: &str| {
            let (first, last) = word.split_once('-').unwrap_or((word, word));
            Some((first.parse::<i64>().ok()?, last.parse::<i64>().ok()?))
        };
        // A launch template has 10 000 versions at most.
        let runs = tag.split(' ').filter_map(run).filter(|(first, last)| *first > 0 && *last <= 1_000_000);
        Made(runs.flat_map(|(first, last)| first..=last).collect())
    }

    /// These and one more.
    pub fn and(mut self, version: i64) -> Made {
        self.0.insert(version);
        self
    }

    /// Whether this one is Elbow's.
    pub fn has(&self, version: i64) -> bool {
        self.0.contains(&version)
    }

    /// The newest of those that are there still, of these numbers.
    pub fn newest(&self, there: impl Iterator<Item = i64>) -> Option<i64> {
        there.filter(|version| self.has(*version)).max()
    }

    fn runs(&self) -> Vec<(i64, i64)> {
        let mut runs: Vec<(i64, i64)> = Vec::new();
        for version in &self.0 {
            match runs.last_mut() {
                Some((_, last)) if *last + 1 == *version => *last = *version,
                _ => runs.push((*version, *version)),
            }
        }
        runs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_reads_back_as_written_and_knows_its_own() {
        let made = [1, 2, 3, 7].into_iter().fold(Made::default(), Made::and);
        assert_eq!(made.to_string(), "1-3 7");
        assert_eq!(Made::read("1-3 7"), made);
        assert!(made.has(2) && !made.has(4));
        assert_eq!(made.newest([1, 2, 8].into_iter()), Some(2));
        assert_eq!(Made::read("mine"), Made::default());
    }

    #[test]
    fn a_tag_has_room_for_the_newest() {
        let made = (1..200).map(|version| version * 2).fold(Made::default(), Made::and);
        let text = made.to_string();
        assert!(text.len() <= ROOM && text.ends_with(" 396 398"), "{text}");
        assert!(Made::read(&text).has(398) && !Made::read(&text).has(2));
    }
}
