//! "Did you mean": the known word that is nearest to a misspelt one.

/// The candidate that takes the fewest edits, if that is few enough to be what was meant.
pub fn nearest<'a>(word: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let limit = (word.chars().count() / 3).max(1);
    candidates.map(|known| (edits(word, known), known)).filter(|&(n, _)| n <= limit).min().map(|(_, known)| known)
}

/// Levenshtein's distance: insertions, deletions and replacements from one word to the other.
fn edits(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, &b) in to.iter().enumerate() {
            let replaced = diagonal + usize::from(a != b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_are_counted() {
        assert_eq!(edits("port", "port"), 0);
        assert_eq!(edits("prot", "port"), 2);
        assert_eq!(edits("", "port"), 4);
        assert_eq!(edits("listeners", "listener"), 1);
    }

    #[test]
    fn a_slip_has_a_hint_and_another_word_has_none() {
        let known = ["name", "virtual_ips", "subnets"];
        assert_eq!(nearest("virtual_ip", known.into_iter()), Some("virtual_ips"));
        assert_eq!(nearest("subnet", known.into_iter()), Some("subnets"));
        assert_eq!(nearest("colour", known.into_iter()), None);
    }
}
