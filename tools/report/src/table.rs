//! Tables: in a terminal, in Markdown and in HTML, from the same rows.

use std::fmt::Write as _;

/// Rows of cells under a head.
#[derive(Clone, Debug, Default)]
pub struct Table {
    /// Names of the columns.
    pub head: Vec<String>,
    /// Each as long as the head.
    pub rows: Vec<Vec<String>>,
}

impl Table {
    /// A table without rows.
    #[must_use]
    pub fn new(head: &[&str]) -> Self {
        Self { head: head.iter().map(|&name| name.to_owned()).collect(), rows: Vec::new() }
    }

    /// Adds a row.
    pub fn row(&mut self, cells: impl IntoIterator<Item = impl Into<String>>) {
        self.rows.push(cells.into_iter().map(Into::into).collect());
    }

    /// Columns padded to their widest cell; the first to the left, the others to the right.
    #[must_use]
    pub fn to_text(&self) -> String {
        let widths = self.widths();
        let mut out = String::new();
        self.line(&self.head, &widths, &mut out);
        let rule: usize = widths.iter().sum::<usize>() + 2 * widths.len().saturating_sub(1);
        let _ = writeln!(out, "  {}", "─".repeat(rule));
        self.rows.iter().for_each(|row| self.line(row, &widths, &mut out));
        out
    }

    /// As a Markdown table.
    #[must_use]
    pub fn to_markdown(&self) -> String {
        let line = |cells: &[String]| format!("| {} |\n", cells.join(" | ").trim_end());
        let rule: Vec<String> =
            (0..self.head.len()).map(|column| if column == 0 { "---" } else { "---:" }.to_owned()).collect();
        let rows: String = self.rows.iter().map(|row| line(row)).collect();
        line(&self.head) + &line(&rule) + &rows
    }

    fn widths(&self) -> Vec<usize> {
        let width = |column: usize| {
            let cells = std::iter::once(&self.head).chain(&self.rows).filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        (0..self.head.len()).map(width).collect()
    }

    fn line(&self, cells: &[String], widths: &[usize], out: &mut String) {
        let mut line = String::from(" ");
        for (column, (cell, width)) in cells.iter().zip(widths).enumerate() {
            let pad = " ".repeat(width - cell.chars().count().min(*width));
            let gap = if column == 0 { " " } else { "  " };
            let _ =
                if column == 0 { write!(line, "{gap}{cell}{pad}") } else { write!(line, "{gap}{pad}{cell}") };
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_has_its_forms() {
        let mut table = Table::new(&["load", "puts/s"]);
        table.row(["1x1", "20,000"]);
        table.row(["100x10", "9"]);
        assert_eq!(
            table.to_text(),
            "  load    puts/s\n  ──────────────\n  1x1     20,000\n  100x10       9\n"
        );
        assert_eq!(
            table.to_markdown(),
            "| load | puts/s |\n| --- | ---: |\n| 1x1 | 20,000 |\n| 100x10 | 9 |\n"
        );
    }
}
