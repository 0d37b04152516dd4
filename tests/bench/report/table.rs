//! Tables in Markdown.

/// A table with a head; the first column is aligned left, the others right.
pub fn markdown<R: IntoIterator<Item = String>>(head: &[&str], rows: impl IntoIterator<Item = R>) -> String {
    let rules = (0..head.len()).map(|column| if column == 0 { "---" } else { "---:" });
    let mut text = line(head.iter().map(|&cell| cell.to_owned())) + &line(rules.map(str::to_owned));
    for row in rows {
        text.push_str(&line(row));
    }
    text.push('\n');
    text
}

fn line(cells: impl IntoIterator<Item = String>) -> String {
    format!("| {} |\n", cells.into_iter().collect::<Vec<_>>().join(" | "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_has_a_head_a_rule_and_rows() {
        let rows = [["a".to_owned(), "1".to_owned()]];
        assert_eq!(markdown(&["who", "s"], rows), "| who | s |\n| --- | ---: |\n| a | 1 |\n\n");
    }
}
