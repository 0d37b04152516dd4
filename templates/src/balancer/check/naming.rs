//! Checks of words and lists that several keys share.

/// Whether `word` has lower-case letters, digits and hyphens only, starts with a letter and doesn't end with a hyphen.
/// AWS, HAProxy and keepalived accept such names without quotes.
pub fn is_label(word: &str, limit: usize) -> bool {
    word.len() <= limit
        && word.starts_with(|c: char| c.is_ascii_lowercase())
        && !word.ends_with('-')
        && word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

/// Whether `id` is an AWS id: its prefix and hex digits. AWS makes 8 or 17 of them, and checks the number itself.
pub fn has_prefix(id: &str, prefix: &str) -> bool {
    id.strip_prefix(prefix).is_some_and(|hex| {
        (1..=17).contains(&hex.len()) && hex.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    })
}

/// The position of the first item that equals an earlier one.
pub fn repeated<T: PartialEq>(items: &[T]) -> Option<usize> {
    (1..items.len()).find(|&i| items[..i].contains(&items[i]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_needs_no_quotes_anywhere() {
        for good in ["a", "web", "web-2", "a--b"] {
            assert!(is_label(good, 32), "{good}");
        }
        for bad in ["", "-a", "a-", "2a", "Web", "a_b", "a b", "ä", "abcdefghijklmnopqrstuvwxyz-0123456"] {
            assert!(!is_label(bad, 32), "{bad}");
        }
    }

    #[test]
    fn an_id_is_its_prefix_and_hex_digits() {
        assert!(has_prefix("vpc-0a1b2c3d", "vpc-"));
        for bad in ["vpc-", "vpc-xyz", "subnet-0a", "0a1b", "vpc-0A", "vpc-0123456789abcdef01"] {
            assert!(!has_prefix(bad, "vpc-"), "{bad}");
        }
    }

    #[test]
    fn the_second_of_two_is_the_repeated_one() {
        assert_eq!(repeated(&[1, 2, 3, 2, 1]), Some(3));
        assert_eq!(repeated(&[1, 2, 3]), None);
        assert_eq!(repeated::<u8>(&[]), None);
    }
}
