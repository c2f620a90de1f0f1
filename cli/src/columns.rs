//! Text in columns, as people's commands print it.

/// A heading and rows of as many cells, aligned at the left, two spaces apart.
pub fn render(heading: &[&str], rows: &[Vec<String>]) -> String {
    let mut widths: Vec<usize> = heading.iter().map(|cell| cell.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let heading: Vec<String> = heading.iter().map(|&cell| cell.to_owned()).collect();
    let mut text = String::new();
    for row in std::iter::once(&heading).chain(rows) {
        let cells: Vec<String> = row
            .iter()
            .zip(&widths)
            .map(|(cell, &width)| format!("{cell:width$}"))
            .collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [
            vec!["edge-1".to_owned(), "present".to_owned()],
            vec!["e".to_owned(), "detached".to_owned()],
        ];
        assert_eq!(
            render(&["PROXY", "STATE"], &rows),
            "PROXY   STATE\nedge-1  present\ne       detached\n"
        );
    }
}
