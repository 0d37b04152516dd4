//! Converts an instance's console output to plain text.

/// Removes colours, cursor movements and carriage returns.
pub(super) fn plain(raw: &[u8]) -> String {
    let text = String::from_utf8_lossy(raw);
    let mut plain = String::with_capacity(text.len());
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '\x1b' => skip_sequence(&mut letters),
            '\r' => {}
            letter if letter.is_control() && letter != '\n' && letter != '\t' => {}
            letter => plain.push(letter),
        }
    }
    plain
}

/// A control sequence ends with a letter or `~`, an operating system command with a bell or a backslash (ECMA-48).
fn skip_sequence(letters: &mut impl Iterator<Item = char>) {
    match letters.next() {
        Some('[') => {
            letters.find(|letter| ('@'..='~').contains(letter));
        }
        Some(']') => {
            letters.find(|letter| matches!(letter, '\x07' | '\\'));
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_and_carriage_returns_are_removed() {
        let raw = b"[\x1b[0;32m  OK  \x1b[0m] Started \x1b[0;1;39mcron\x1b[0m.\r\n\x1b]0;title\x07login:";
        assert_eq!(plain(raw), "[  OK  ] Started cron.\nlogin:");
    }
}
