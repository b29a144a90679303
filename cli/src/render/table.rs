//! Aligned columns.

use crate::screen::{Look, Tone};

/// Between two columns.
const GAP: usize = 2;
/// The last column is not cut shorter than this, however narrow the terminal.
const LEAST: usize = 20;

/// One cell: text, and what it means.
#[derive(Debug, Clone)]
pub struct Cell {
    text: String,
    tone: Tone,
}

impl Cell {
    /// Text with a meaning.
    pub fn new(tone: Tone, text: impl Into<String>) -> Self {
        // A line of its own would break the columns.
        let text = text.into().split_whitespace().collect::<Vec<_>>().join(" ");
        Cell { text, tone }
    }

    /// The cell outside a table.
    #[must_use]
    pub fn painted(&self, look: &Look) -> String {
        look.paint(self.tone, &self.text)
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Cell::new(Tone::Plain, text)
    }
}

/// Rows under headings.
#[derive(Debug, Clone)]
pub struct Table {
    heads: Vec<&'static str>,
    rows: Vec<Vec<Cell>>,
    indent: usize,
}

impl Table {
    /// An empty table with these headings.
    #[must_use]
    pub fn new(heads: &[&'static str]) -> Self {
        Table { heads: heads.to_vec(), rows: Vec::new(), indent: 0 }
    }

    /// The same table, so many columns to the right.
    #[must_use]
    pub fn indented(mut self, indent: usize) -> Self {
        self.indent = indent;
        self
    }

    /// Adds a row.
    pub fn row(&mut self, cells: impl IntoIterator<Item = Cell>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// Are there no rows?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The table's lines. On a terminal the last column is cut to fit; elsewhere everything is there.
    #[must_use]
    pub fn render(&self, look: &Look) -> String {
        let head: Vec<Cell> = self.heads.iter().map(|text| Cell::new(Tone::Dim, *text)).collect();
        let head = if self.heads.iter().all(|text| text.is_empty()) { None } else { Some(&head) };
        let rows: Vec<&Vec<Cell>> = head.into_iter().chain(&self.rows).collect();
        let columns = rows.iter().map(|row| row.len()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..columns)
            .map(|column| {
                rows.iter().filter_map(|row| row.get(column)).map(|c| width(&c.text)).max().unwrap_or(0)
            })
            .collect();
        let before_last: usize =
            widths.iter().rev().skip(1).map(|width| if *width == 0 { 0 } else { width + GAP }).sum::<usize>()
                + self.indent;
        let room = look.width.map(|total| total.saturating_sub(before_last).max(LEAST));
        let mut text = String::new();
        for row in rows {
            let mut line = " ".repeat(self.indent);
            let mut owed = 0;
            for (column, cell) in row.iter().enumerate() {
                let last = column + 1 == columns;
                let shown = match room {
                    Some(room) if last => cut(&cell.text, room),
                    Some(_) | None => cell.text.clone(),
                };
                if !shown.is_empty() {
                    line.push_str(&" ".repeat(owed));
                    owed = 0;
                    line.push_str(&look.paint(cell.tone, &shown));
                }
                // A column that is empty in every row takes no room.
                if widths[column] > 0 {
                    owed += widths[column].saturating_sub(width(&shown)) + GAP;
                }
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

fn width(text: &str) -> usize {
    console::measure_text_width(text)
}

fn cut(text: &str, room: usize) -> String {
    console::truncate_str(text, room, "…").into_owned()
}

#[cfg(test)]
mod tests {
    use farm::stamp::Stamp;

    use super::*;

    fn table() -> Table {
        let mut table = Table::new(&["ID", "STATE", "WHY"]);
        table.row(["1".into(), Cell::new(Tone::Good, "fine"), "".into()]);
        table.row(["22".into(), Cell::new(Tone::Bad, "broken"), "a reason that goes on\nand on".into()]);
        table
    }

    #[test]
    fn columns_are_aligned_and_lines_end_without_blanks() {
        assert_eq!(
            table().render(&Look::plain(Stamp::ZERO)),
            "ID  STATE   WHY\n1   fine\n22  broken  a reason that goes on and on\n"
        );
    }

    #[test]
    fn a_terminal_gets_the_last_column_cut_and_colours() {
        let look = Look { colour: true, width: Some(32), now: Stamp::ZERO };
        let text = table().render(&look);
        assert!(text.contains("\x1b[31mbroken\x1b[0m  a reason that goes …"), "{text}");
    }
}
