//! A table as text.

/// Rows of words, each column as wide as it must be. Numbers stand to the right.
pub(super) fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let widths: Vec<_> = (0..columns)
        .map(|column| {
            rows.iter()
                .filter_map(|row| row.get(column))
                .map(|w| w.chars().count())
                .max()
        })
        .map(Option::unwrap_or_default)
        .collect();
    rows.iter().map(|row| line(row, &widths)).collect()
}

fn line(row: &[String], widths: &[usize]) -> String {
    let words: Vec<_> = row
        .iter()
        .zip(widths)
        .map(|(word, &width)| {
            let is_number = word.starts_with(|first: char| first.is_ascii_digit());
            if is_number {
                format!("{word:>width$}")
            } else {
                format!("{word:<width$}")
            }
        })
        .collect();
    words.join("  ").trim_end().to_owned() + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_they_must_be() {
        let rows = [["server", "requests", ""], ["rs1", "7", "refused"]];
        let rows: Vec<Vec<String>> = rows
            .iter()
            .map(|row| row.iter().map(ToString::to_string).collect())
            .collect();
        assert_eq!(
            table(&rows),
            "server  requests\nrs1            7  refused\n"
        );
    }
}
