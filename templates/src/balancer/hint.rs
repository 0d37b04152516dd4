//! "Did you mean": the known word that is nearest to a misspelt one.

/// The candidate with the fewest edits, at most a third of the word's letters.
pub fn nearest<'a>(word: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let limit = (word.chars().count() / 3).max(1);
    candidates
        .map(|known| (strsim::osa_distance(word, known), known))
        .filter(|&(n, _)| n <= limit)
        .min()
        .map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_has_a_hint_and_another_word_has_none() {
        let known = ["name", "virtual_ips", "subnets"];
        assert_eq!(nearest("virtual_ip", known.into_iter()), Some("virtual_ips"));
        assert_eq!(nearest("naem", known.into_iter()), Some("name"), "two letters swapped are one slip");
        assert_eq!(nearest("subnet", known.into_iter()), Some("subnets"));
        assert_eq!(nearest("colour", known.into_iter()), None);
    }
}
