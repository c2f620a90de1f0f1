//! Text in columns, as people's commands print it.

/// A heading and rows of as many cells, two spaces apart. Columns of numbers are aligned at the right, others at the left.
pub fn render(heading: &[&str], rows: &[Vec<String>]) -> String {
    let columns: Vec<Column> = (0..heading.len()).map(|at| Column::of(heading, rows, at)).collect();
    let heading: Vec<String> = heading.iter().map(|&cell| cell.to_owned()).collect();
    let mut text = String::new();
    for row in std::iter::once(&heading).chain(rows) {
        let cells: Vec<String> = row
            .iter()
            .zip(&columns)
            .map(|(cell, column)| column.pad(cell))
            .collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    text
}

struct Column {
    width: usize,
    of_numbers: bool,
}

impl Column {
    fn of(heading: &[&str], rows: &[Vec<String>], at: usize) -> Column {
        let cells = || rows.iter().filter_map(|row| row.get(at));
        let widths = cells().map(|cell| cell.chars().count());
        let is_number = |cell: &String| !cell.is_empty() && cell.bytes().all(|byte| byte.is_ascii_digit());
        Column {
            width: widths.chain([heading[at].chars().count()]).max().unwrap_or(0),
            // `-` is what is not known, or not said.
            of_numbers: cells().any(is_number) && cells().all(|cell| is_number(cell) || cell == "-"),
        }
    }

    fn pad(&self, cell: &str) -> String {
        let width = self.width;
        match self.of_numbers {
            true => format!("{cell:>width$}"),
            false => format!("{cell:width$}"),
        }
    }
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

    #[test]
    fn numbers_end_below_each_other() {
        let row = |id: &str, weight: &str, port: &str| vec![id.to_owned(), weight.to_owned(), port.to_owned()];
        assert_eq!(
            render(
                &["ID", "WEIGHT", "PORT"],
                &[row("a", "1", "80"), row("b", "1000", "http"), row("c", "-", "8080")]
            ),
            "ID  WEIGHT  PORT\na        1  80\nb     1000  http\nc        -  8080\n"
        );
        assert_eq!(render(&["N"], &[]), "N\n");
    }
}
