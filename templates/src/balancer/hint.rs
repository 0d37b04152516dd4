//! "Did you mean": the known word that is nearest to a misspelt one.

/// The candidate that takes the fewest edits, if that is few enough to be what was meant.
pub fn nearest<'a>(word: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let limit = (word.chars().count() / 3).max(1);
    candidates.map(|known| (edits(word, known), known)).filter(|&(n, _)| n <= limit).min().map(|(_, known)| known)
}

/// Insertions, deletions, replacements and swaps of neighbours from one word to the other.
fn edits(from: &str, to: &str) -> usize {
    let (from, to): (Vec<char>, Vec<char>) = (from.chars().collect(), to.chars().collect());
    let mut before = vec![0; to.len() + 1];
    let mut last: Vec<usize> = (0..=to.len()).collect();
    for i in 0..from.len() {
        let mut row = vec![i + 1];
        for j in 0..to.len() {
            let replaced = last[j] + usize::from(from[i] != to[j]);
            let mut least = replaced.min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && from[i] == to[j - 1] && from[i - 1] == to[j] {
                least = least.min(before[j - 1] + 1);
            }
            row.push(least);
        }
        (before, last) = (last, row);
    }
    last[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_are_counted() {
        assert_eq!(edits("port", "port"), 0);
        assert_eq!(edits("prot", "port"), 1);
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
